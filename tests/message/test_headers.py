"""Header fields of hostile mail are read without raising, in linear time, and in one way only."""

from __future__ import annotations

import time

import pytest

from webmail.message import addresses, headers
from webmail.message.addresses import Mailbox


def names(value: str) -> list[tuple[str, str]]:
    return [(box.name, box.address) for box in addresses.parse(value.encode())]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("alice@acme.example", [("", "alice@acme.example")]),
        ("Alice <alice@ACME.example>", [("Alice", "alice@acme.example")]),
        ('"Ruiz, Ana" <ana@x.example>', [("Ruiz, Ana", "ana@x.example")]),
        ("=?utf-8?q?J=C3=B6rg?= <j@x.example>", [("Jörg", "j@x.example")]),
        ("a@x.example, b@y.example", [("", "a@x.example"), ("", "b@y.example")]),
        ("Team: a@x.example, b@y.example;", [("", "a@x.example"), ("", "b@y.example")]),
        ("Bob (at (work)) <bob@x.example>", [("Bob", "bob@x.example")]),
        ("Bob <bob@bücher.example>", [("Bob", "bob@xn--bcher-kva.example")]),
        ("", []),
        ("undisclosed-recipients:;", []),
    ],
)
def test_ordinary_addresses(value: str, expected: list[tuple[str, str]]) -> None:
    assert names(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        '"X" <valid@a.example>:<evil@b.example>',
        "<a@x.example><b@y.example>",
        "a@x.example b@y.example",
        "alice@a.example)bob@b.example",
        "Bob <bob@x.example> trailing",
        "a@b@c.example",
        "@x.example",
        "bob@",
        "Bob <bob\r\nX@x.example>",
    ],
)
def test_what_can_be_read_in_two_ways_names_nobody(value: str) -> None:
    assert all(address == "" for _name, address in names(value)) or names(value) == []


def test_an_encoded_word_cannot_add_a_mailbox() -> None:
    word = "=?utf-8?q?ceo=40bank=2Eexample=3E=2C_?="
    assert names(f"{word} <evil@x.example>") == [("ceo@bank.example>,", "evil@x.example")]


def test_direction_and_invisible_characters_are_taken_out() -> None:
    assert headers.decode_words("=?utf-8?b?4oCuZ25wLmV4ZQ==?=") == "gnp.exe"
    assert headers.clean("a\u200bb\u2066c\x07d\te\nf") == "abcd e f"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        (b"=?utf-8?b?5pel?= =?utf-8?b?5pys?=", "日本"),
        (b"=?utf-8?b?5pc=?= =?utf-8?b?pQ==?=", "日"),
        (b"=?iso-8859-1?q?caf=E9?= au lait", "café au lait"),
        (b"Gr\xc3\xbc\xc3\x9fe", "Grüße"),
        (b"caf\xe9", "café"),
        (b"=?utf-7?q?+ADw-script+AD4-?=", "+ADw-script+AD4-"),
        (b"=?no-such?q?abc?=", "abc"),
        (b"=?utf-8?b?!!!?=", "=?utf-8?b?!!!?="),
    ],
)
def test_words_are_decoded(value: bytes, expected: str) -> None:
    assert (
        headers.decode_words(value) in {expected, "!!!", ""}
        if b"!!!" in value
        else (headers.decode_words(value) == expected)
    )


HOSTILE = [
    b"(" * 100_000,
    b"<" * 100_000,
    b'"' * 100_000,
    b"\\" * 100_000,
    b"a@" * 50_000,
    b"," * 100_000,
    b"=?utf-8?q?" * 20_000,
    b"=?" * 50_000,
    b"\xff" * 100_000,
    b":" * 100_000,
]


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_cost_little_and_raise_nothing(value: bytes) -> None:
    started = time.process_time()
    addresses.parse(value)
    headers.decode_words(value)
    headers.message_ids(value)
    headers.content_type(value)
    headers.date(value)
    headers.Headers(b"From: " + value + b"\r\n\r\n")
    assert time.process_time() - started < 1


def test_fields_are_unfolded_and_the_first_counts() -> None:
    block = headers.Headers(
        b"Subject: one\r\n two\r\nFROM : a@x.example\r\nSubject: other\r\nbad line\r\n"
        b"\r\nBody: no\r\n"
    )
    assert block.text("subject") == "one two"
    assert block.count("subject") == 2
    assert block.first("from") == b"a@x.example"
    assert block.first("body") == b""


@pytest.mark.parametrize(
    ("value", "year"),
    [
        (b"Tue, 24 Nov 2026 08:00:00 +0100", 2026),
        (b"24 Nov 2026 08:00 GMT", 2026),
        (b"nonsense", None),
        (b"", None),
        (b"Mon, 99 Foo 99999 99:99:99 +9999", None),
    ],
)
def test_dates_are_read_or_left_out(value: bytes, year: int | None) -> None:
    found = headers.date(value)
    assert (found.year if found else None) == year


def test_addresses_are_compared_by_domain_label() -> None:
    assert addresses.same("Bob@BÜCHER.example", "bob@xn--bcher-kva.example")
    assert not addresses.same("bob@x.example", "bob@x.example.evil.example")
    assert not addresses.same("", "")


def test_an_address_inside_a_name_is_found() -> None:
    assert addresses.address_in("CEO ceo@Bank.example (real)") == "ceo@bank.example"
    assert addresses.address_in("Ana Ruiz") == ""


def test_a_name_that_poses_as_another_address_is_not_shown() -> None:
    assert addresses.shown("Ana Ruiz", "ana@bank.example") == "Ana Ruiz"
    assert addresses.shown("ana@bank.example", "ana@bank.example") == "ana@bank.example"
    assert addresses.shown("Bank <ana@bank.example>", "x@evil.example") == "x@evil.example"
    assert addresses.shown("", "x@evil.example") == "x@evil.example"
    assert addresses.shown("ana＠bank.example", "x@evil.example") == "x@evil.example"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("✓ Bob Brown", "Bob Brown"),
        ("🔒 Bob ✅\ufe0f Brown 🛡", "Bob Brown"),
        ("☑✔", "x@evil.example"),
        ("✓ ana@bank.example", "x@evil.example"),
        ("Anna 🌸", "Anna 🌸"),
    ],
)
def test_a_name_carries_no_sign_that_looks_like_our_word(name: str, said: str) -> None:
    assert addresses.shown(name, "x@evil.example") == said
    assert addresses.single(b"Ana <a@x.example>") == Mailbox("Ana", "a@x.example")
    assert addresses.single(b"a@x.example, b@x.example") is None
