"""A From names exactly one address, or none: whatever can be read in two ways has none."""

from __future__ import annotations

import time

import pytest

from crypto_agent.mime.addresses import normal, parse, same, single


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("Bob <bob@example.test>", "bob@example.test"),
        ("bob@example.test", "bob@example.test"),
        ("bob@example.test (Bob)", "bob@example.test"),
        ('"Bob, B." <bob@example.test>', "bob@example.test"),
        ("=?utf-8?q?mallory=40evil.test=2C?= <bob@example.test>", "bob@example.test"),
        ("Bob (of mallory@evil.test) <bob@Example.TEST>", "bob@example.test"),
        ("Bob <bob@münchen.test>", "bob@xn--mnchen-3ya.test"),
        ("Bob <bob@example.test>,", "bob@example.test"),
    ],
)
def test_one_clear_address_is_found(value: str, address: str) -> None:
    assert single([value.encode()]) == address


@pytest.mark.parametrize(
    "value",
    [
        '"X" <bob@example.test>:<mallory@evil.test>',
        "<bob@example.test><mallory@evil.test>",
        "<bob@example.test> mallory@evil.test",
        "bob@example.test mallory@evil.test",
        "bob@example.test, mallory@evil.test",
        "bob@example.test)mallory@evil.test",
        "bob@example.test@evil.test",
        "<@evil.test:bob@example.test>",
        "bob@example.test\x00@evil.test",
        "bob@example.test;",
        "<bob@example.test",
        '"bob@example.test',
        "bob @ example.test",
        '"bob"@example.test',
        "bob@[127.0.0.1]",
        "bob",
        "<>",
        "",
        "undisclosed-recipients:;",
        "Friends: bob@example.test, carol@example.test;",
        "=?utf-8?q?bob=40example.test?=",
        "bob(" + "(" * 30 + ")" * 31 + "@example.test",
    ],
)
def test_what_can_be_read_in_two_ways_has_no_address(value: str) -> None:
    assert single([value.encode()]) == ""


def test_two_from_fields_have_no_single_address() -> None:
    assert single([b"bob@example.test", b"mallory@evil.test"]) == ""
    assert single([b"bob@example.test", b""]) == ""


def test_groups_are_flattened() -> None:
    found = parse(b"Friends: Bob <b@x.test>, c@x.test;, d@x.test")
    assert [each.address for each in found] == ["b@x.test", "c@x.test", "d@x.test"]


def test_a_name_cannot_carry_a_line_break() -> None:
    found = parse(b"=?utf-8?q?a=0D=0ABcc=3A_x?= <b@x.test>")
    assert found[0].name == "a  Bcc: x"


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("bob@example.test", "BOB@EXAMPLE.test", True),
        ("bob@münchen.test", "bob@xn--mnchen-3ya.test", True),
        ("bob@example.test", "bob@example.test.evil.test", False),
        ("", "", False),
        ("bob", "bob", False),
    ],
)
def test_addresses_are_compared_by_a_label_and_ascii_case(
    one: str, other: str, alike: bool
) -> None:
    assert same(one, other) is alike


def test_an_address_with_a_control_character_is_none() -> None:
    assert normal("bob@example.test\r\nBcc: x@y.test") == ""
    assert normal("bo\tb@example.test") == ""


@pytest.mark.parametrize(
    "value", [b"<" * 60_000, b"(" * 60_000, b'"\\' * 30_000, b"a@b.test," * 60_000]
)
def test_hostile_lists_are_read_in_linear_time(value: bytes) -> None:
    started = time.perf_counter()
    assert len(parse(value)) <= 1000
    assert time.perf_counter() - started < 1
