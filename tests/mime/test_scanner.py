"""The scanner: exact offsets, defects by name, bombs refused in no time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_agent.mime.scanner import (
    DUPLICATE_TYPE,
    NO_BOUNDARY,
    UNCLOSED,
    Budget,
    Part,
    TooComplexError,
    scan,
)

TWO_PARTS = (
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\npreamble\r\n'
    b"--b\r\nContent-Type: text/plain\r\n\r\none\r\n\r\n--b\r\n\r\ntwo\r\n--b--\r\nepilogue\r\n"
)


def quickly(message: bytes, *, seconds: float = 0.5) -> Part:
    started = time.perf_counter()
    try:
        return scan(message)
    finally:
        assert time.perf_counter() - started < seconds


def test_a_part_is_cut_without_the_line_break_that_belongs_to_the_delimiter() -> None:
    root = scan(TWO_PARTS)
    first, second = root.children
    assert first.octets() == b"Content-Type: text/plain\r\n\r\none\r\n"
    assert second.octets() == b"\r\ntwo"
    assert [part.id for part in root.walk()] == ["0", "1", "2"]


def test_a_source_with_bare_lf_is_cut_as_it_is() -> None:
    root = scan(TWO_PARTS.replace(b"\r\n", b"\n"))
    assert root.children[0].octets() == b"Content-Type: text/plain\n\none\n"


def test_an_empty_part_between_two_delimiters_is_empty() -> None:
    root = scan(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n--b\r\n\r\nx\r\n--b--")
    assert [part.octets() for part in root.children] == [b"", b"\r\nx"]


def test_a_message_without_body_has_an_empty_one() -> None:
    root = scan(b"Subject: x\r\n")
    assert (root.content(), root.headers.text("subject")) == (b"", "x")


def test_a_boundary_that_begins_like_another_is_not_taken_for_it() -> None:
    inner = b"Content-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n\r\nx\r\n--bb--\r\n"
    root = scan(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + inner + b"--b--\r\n")
    assert [part.id for part in root.walk()] == ["0", "1", "1.1"]
    assert root.children[0].children[0].octets() == b"\r\nx"


def test_a_multipart_that_was_cut_off_keeps_what_came_and_says_so() -> None:
    root = scan(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhalf a let")
    assert root.children[0].content() == b"half a let"
    assert UNCLOSED in root.defects


@pytest.mark.parametrize(
    "boundary", [b"", b"; boundary=never", b'; boundary=""', b"; boundary=" + b"x" * 300]
)
def test_a_multipart_without_delimiters_is_one_opaque_part(boundary: bytes) -> None:
    root = scan(b"Content-Type: multipart/mixed" + boundary + b"\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n")
    assert not root.children
    assert NO_BOUNDARY in root.defects


def test_of_two_content_types_the_first_counts_and_the_defect_is_named() -> None:
    root = scan(b"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\n<b>")
    assert root.type == "text/plain"
    assert DUPLICATE_TYPE in root.defects


def test_a_mail_in_a_mail_is_a_leaf() -> None:
    inner = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"
    root = scan(b"Content-Type: message/rfc822\r\n\r\n" + inner)
    assert not root.children
    assert root.content() == inner


def test_parts_of_a_digest_are_mails_by_default() -> None:
    root = scan(b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: x\r\n--b--")
    assert root.children[0].type == "message/rfc822"


@pytest.mark.parametrize(
    ("encoding", "body", "decoded"),
    [
        (b"base64", b"aGVs\r\nbG8=\r\n", b"hello"),
        (b"base64", b"aGVsbG8", b"hello"),
        (b"base64", b"aG!!Vs bG8=", b"hello"),
        (b"base64", b"aGVsbG8=aGVsbG8=", b"hellohello"),
        (b"BASE64", b"aGVsbG8=", b"hello"),
        (b"quoted-printable", b"a=3Db=\r\nc=ZZ", b"a=bc=ZZ"),
        (b"x-uuencode", b"begin 644 a\r\n%:&5L;&\\\r\n`\r\nend\r\n", b"hello"),
        (b"8bit", b"\xff\x00", b"\xff\x00"),
        (b"unheard-of", b"x", b"x"),
    ],
)
def test_transfer_encodings_are_undone_as_far_as_they_can_be(
    encoding: bytes, body: bytes, decoded: bytes
) -> None:
    root = scan(b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n" + body)
    assert root.content() == decoded


@pytest.mark.parametrize(
    ("charset", "octets", "text"),
    [
        ("utf-8", "你好".encode(), "你好"),
        ("gb2312", "囍".encode("gb18030"), "囍"),
        ("iso-8859-1", b"\x80", "€"),
        ("unknown-8bit", "ü".encode(), "ü"),
        ("unknown-8bit", b"\xfc", "ü"),
        ("us-ascii", "ü".encode(), "ü"),
        ("utf-7", b"+ADw-script+AD4-", "+ADw-script+AD4-"),
        ("unicode_escape", b"\\x3cscript", "\\x3cscript"),
        ("iso-2022-jp", "日本".encode("iso-2022-jp"), "日本"),
        ("no such thing", b"x", "x"),
    ],
)
def test_charsets_are_an_allow_list_with_a_fallback(charset: str, octets: bytes, text: str) -> None:
    root = scan(f'Content-Type: text/plain; charset="{charset}"\r\n\r\n'.encode() + octets)
    assert root.text() == text


# --------------------------------------------------------------------------- bombs


def test_a_thousand_nested_multiparts_are_too_complex() -> None:
    message = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n)
        for n in range(1000)
    )
    with pytest.raises(TooComplexError):
        quickly(message)


def test_nineteen_nested_multiparts_are_read() -> None:
    message = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(19)
    )
    assert len(list(scan(message + b"\r\nx").walk())) == 20


def test_a_hundred_thousand_parts_are_too_complex() -> None:
    with pytest.raises(TooComplexError):
        quickly(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 100_000)


def test_a_header_beyond_256_kilobytes_is_too_complex() -> None:
    with pytest.raises(TooComplexError):
        quickly(b"X: " + b"a" * 300_000 + b"\r\n\r\nx")
    assert quickly(b"X: " + b"a" * 250_000 + b"\r\n\r\nx").content() == b"x"


def test_millions_of_lines_that_are_almost_delimiters_are_too_complex() -> None:
    with pytest.raises(TooComplexError):
        quickly(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b-x\r\n" * 3_000_000)


def test_layers_share_one_budget() -> None:
    budget = Budget()
    scan(TWO_PARTS, budget=budget)
    before = budget.parts
    scan(TWO_PARTS, budget=budget, inside="1")
    assert budget.parts == before - 3


@pytest.mark.parametrize(
    "message",
    [
        b"Message-ID: <<<<\r\n\r\nx",
        b"To: " + b"(" * 500 + b")" * 500 + b"\r\n\r\nx",
        b"Content-Type: text/plain" + b"(" * 500 + b"\r\n\r\nx",
        b'Content-Type: text/plain; charset="' + b"\\" * 5000 + b"\r\n\r\nx",
        b"\x00\x00: \x00\r\n\r\n\x00",
        b"Content-Type: text/plain; " + b"a;" * 4000 + b"\r\n\r\nx",
        b"Subject: " + b"=?utf-8?q?" * 20_000 + b"\r\n\r\nx",
        b"",
        b"\n",
        b"\r\n\r\n",
    ],
)
def test_odd_headers_are_read_quickly_and_without_a_fuss(message: bytes) -> None:
    root = quickly(message)
    root.headers.text("subject")
    assert root.text() is not None


def test_a_message_of_20_megabytes_is_scanned_well_below_a_fifth_of_a_second() -> None:
    lines = (b"A" * 76 + b"\r\n") * (20 * 1024 * 1024 // 78)
    message = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n--b\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n" + lines + b"--b--\r\n"
    )
    assert quickly(message, seconds=0.1).children[1].size == 76 * (len(lines) // 78) * 3 // 4


# --------------------------------------------------------------------------- whatever comes

_piece = st.sampled_from(
    [
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"Content-Type: text/html; charset=utf-7\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"\r\n",
        b"\n",
        b"--b\r\n",
        b"--b--",
        b" ",
        b"x",
        b"\x00",
        b"\xff",
        b'"',
        b"(",
        b"=?",
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(_piece, st.binary(max_size=20)), max_size=40))
def test_any_octets_give_parts_that_lie_within_their_parents(pieces: list[bytes]) -> None:
    root = scan(b"".join(pieces))
    for part in root.walk():
        assert 0 <= part.start <= part.body <= part.end <= len(part.source) or part.body == part.end
        part.content()
        part.text()
        assert "\n" not in part.name
        for child in part.children:
            assert part.body <= child.start <= child.end <= part.end
