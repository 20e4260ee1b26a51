"""Header values: decoded after they were cut, one line, broken programs included."""

from __future__ import annotations

import pytest

from crypto_agent.mime.headers import (
    Headers,
    date,
    decode_text,
    format_date,
    message_ids,
    structured,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"=?utf-8?B?5L2g5aW9?=", "你好"),
        (b"=?utf-8?q?a_b?= =?utf-8?q?c?=", "a bc"),
        (b"=?utf-8?B?5L2g5Q==?= =?utf-8?B?pb0=?=", "你好"),  # a letter split between two words
        (b"=?gb2312?B?xOO6ww==?=", "你好"),
        (b"=?utf-8*en?q?x?=", "x"),
        (b"a =?utf-8?q?b?= c", "a b c"),
        (b"=?utf-8?q?with blank inside?=", "with blank inside"),
        (b"=?x-unknown?q?=FC?=", "ü"),
        ("grün".encode(), "grün"),
        (b"gr\xfcn", "grün"),
        (b"=?utf-8?b?!!!?=", ""),
        (b"=?utf-8?q?a=0D=0ABcc:_x?=", "a  Bcc: x"),
        (b"=?utf-8?q?open", "=?utf-8?q?open"),
    ],
)
def test_encoded_words_are_read(value: bytes, text: str) -> None:
    assert decode_text(value) == text


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (b"a; name=x.pdf", "x.pdf"),
        (b'a; name="x y.pdf"', "x y.pdf"),
        (b"a; name=two words.pdf", "two words.pdf"),
        (b'a; name="=?utf-8?B?5L2g5aW9?="', "你好"),
        (b"a; name*=utf-8''%E4%BD%A0.pdf", "你.pdf"),
        (b"a; name*0*=utf-8''%E4%BD; name*1*=%A0; name*2=.pdf", "你.pdf"),
        (b"a; name*=utf-8''%E4%BD%A0.pdf; name=plain.pdf", "你.pdf"),
        (b"a; name=first; name=second", "first"),
        (b'a; name="q\\"q"', 'q"q'),
        (b'a; name="never closed', "never closed"),
        (b"a; name=x (comment)", "x"),
        (b"a; NAME = spaced", "spaced"),
        (b'a; name="a\r\nb"', "a  b"),
        (b"a; name*1=x", ""),
        (b"a; (name=no;) name=x", "x"),
    ],
)
def test_parameters_are_read(value: bytes, name: str) -> None:
    assert structured(value)[1].get("name", "") == name


def test_folded_fields_are_unfolded_and_garbage_is_skipped() -> None:
    found = Headers(b"From x\r\n y\r\nSubject : a\r\n\tb\r\nno colon here\r\n folded\r\nTo: c\r\n")
    assert [(field.name, field.value) for field in found.fields] == [
        ("Subject", b"a\tb"),
        ("To", b"c"),
    ]


def test_message_ids_of_nonsense_are_none() -> None:
    assert message_ids(b"<<<<") == []
    assert message_ids(b"<a@b> junk <c@d>") == ["<a@b>", "<c@d>"]


@pytest.mark.parametrize(
    "value", [b"", b"yesterday", b"Mon, 99 Foo 99999", b"Mon, 01 Jan 1900 00:00:00 +0000"]
)
def test_a_date_that_is_none_is_none(value: bytes) -> None:
    assert date(value) is None


def test_a_date_survives_writing_and_reading() -> None:
    assert date(format_date(1_795_517_116_789).encode()) == 1_795_517_116_000
    assert format_date(1_795_517_116_789) == "Tue, 24 Nov 2026 10:45:16 +0000"
