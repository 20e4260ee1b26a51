"""The bounded reader: one pass, slices of the source, caps before work."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_agent.cms import der
from crypto_agent.cms.errors import DAMAGED, TOO_COMPLEX, CmsError
from crypto_agent.cms.tlv import DEPTH_LIMIT, ELEMENT_LIMIT, Cursor, dotted, is_der, milliseconds


def read_octets(encoded: bytes) -> bytes:
    cursor = Cursor(encoded)
    found = cursor.octets()
    cursor.finish()
    return found


def code_of(encoded: bytes) -> str:
    with pytest.raises(CmsError) as refused:
        read_octets(encoded)
    return refused.value.code


def test_a_primitive_string_is_handed_out_without_a_copy() -> None:
    encoded = der.octet_string(b"hello")
    (piece,) = Cursor(encoded).chunks()
    assert piece.obj is encoded
    assert piece == b"hello"


def test_pieces_of_a_streamed_string_are_joined_at_any_depth() -> None:
    inner = b"\x24\x80" + der.octet_string(b"b") + der.tlv(0x24, der.octet_string(b"c")) + b"\0\0"
    assert read_octets(b"\x24\x80" + der.octet_string(b"a") + inner + b"\0\0") == b"abc"


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\x04",
        b"\x04\x05hell",
        b"\x04\x85\x00\x00\x00\x00\x05hell",
        b"\x04\x89" + b"\xff" * 9,
        b"\x04\x80hello\0\0",  # primitive and indefinite
        b"\x24\x80" + der.octet_string(b"a"),  # no end
        b"\x24\x80" + der.octet_string(b"a") + b"\0\1",
        b"\x24\x80" + der.integer(1) + b"\0\0",  # something else among the pieces
        der.tlv(0x24, b"\x04\x06hello"),  # a piece longer than the whole
        der.octet_string(b"a") + b"!",  # something after it
        b"\x3f\x81\x01\x00",  # high tag number
    ],
)
def test_what_is_no_string_is_damaged(encoded: bytes) -> None:
    assert code_of(encoded) == DAMAGED


def test_nesting_is_capped_and_never_recurses() -> None:
    depth = 100_000
    assert code_of(b"\x24\x80" * depth + b"\0\0" * depth) == TOO_COMPLEX
    cursor = Cursor(b"\x30\x80" * depth + b"\0\0" * depth)
    with pytest.raises(CmsError):
        cursor.skip()
    assert not is_der(der.sequence(b"\x30\x80" * 40 + b"\0\0" * 40))
    deep = b""
    for _ in range(DEPTH_LIMIT + 2):
        deep = der.sequence(deep)
    assert not is_der(deep)


def test_within_the_cap_nesting_is_read() -> None:
    depth = DEPTH_LIMIT - 1
    encoded = b"\x24\x80" * depth + der.octet_string(b"x") + b"\0\0" * depth
    assert read_octets(encoded) == b"x"


def test_a_million_pieces_are_refused_before_they_cost_seconds() -> None:
    encoded = b"\x24\x80" + b"\x04\x00" * (ELEMENT_LIMIT * 2) + b"\0\0"
    begun = time.process_time()
    assert code_of(encoded) == TOO_COMPLEX
    assert time.process_time() - begun < 5


def test_strict_reading_takes_only_the_shortest_definite_lengths() -> None:
    for encoded in (b"\x30\x80\0\0", b"\x30\x81\x02\x05\x00", b"\x30\x82\x00\x02\x05\x00"):
        Cursor(encoded).skip()  # positive control: BER
        with pytest.raises(CmsError):
            Cursor(encoded, strict=True).skip()
        assert not is_der(encoded)
        assert not is_der(der.sequence(encoded))
    assert is_der(der.sequence(der.integer(1), der.sequence(der.octet_string(b"x" * 300))))


@given(st.integers(min_value=-(2**300), max_value=2**300))
def test_integers_survive(number: int) -> None:
    assert Cursor(der.integer(number), strict=True).integer() == number


@given(
    st.integers(0, 2),
    st.integers(0, 39),
    st.lists(st.integers(min_value=0, max_value=2**60), max_size=6),
)
def test_object_identifiers_survive(first: int, second: int, rest: list[int]) -> None:
    name = ".".join(map(str, [first, second, *rest]))
    assert Cursor(der.oid(name)).oid() == name


@pytest.mark.parametrize("contents", [b"", b"\x80", b"\x2a\x86", b"\x01" * 65])
def test_broken_object_identifiers_are_damaged(contents: bytes) -> None:
    with pytest.raises(CmsError):
        dotted(contents)


@given(st.binary(max_size=200))
def test_arbitrary_octets_raise_nothing_but_our_error(data: bytes) -> None:
    for attempt in ("skip", "chunks", "algorithm", "integer", "oid"):
        try:
            getattr(Cursor(data), attempt)()
        except CmsError:
            pass
    is_der(data)


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        (der.tlv(der.UTC_TIME, b"700101000000Z"), 0),
        (der.tlv(der.UTC_TIME, b"491231235959Z"), 2524607999000),
        (der.tlv(der.GENERALIZED_TIME, b"20500101000000Z"), 2524608000000),
        (der.tlv(der.GENERALIZED_TIME, b"20260101000000.25Z"), 1767225600250),
        (der.time(1_790_000_000_123), 1_790_000_000_000),
        (der.generalized_time(1_790_000_000_120), 1_790_000_000_120),
        (der.time(2_600_000_000_000), 2_600_000_000_000),
    ],
)
def test_times_are_read_to_the_millisecond(encoded: bytes, expected: int) -> None:
    assert milliseconds(encoded) == expected


@pytest.mark.parametrize(
    "encoded",
    [
        der.tlv(der.UTC_TIME, b"7001010000Z"),
        der.tlv(der.UTC_TIME, b"700101000000+0100"),
        der.tlv(der.UTC_TIME, b"701301000000Z"),
        der.tlv(der.GENERALIZED_TIME, b"20260101000000"),
        der.tlv(der.GENERALIZED_TIME, b"20260101000000.Z"),
        der.tlv(der.GENERALIZED_TIME, b"20260101000000." + b"1" * 60 + b"Z"),
        der.tlv(der.GENERALIZED_TIME, "２０２６0101000000Z".encode()),
        der.integer(5),
        b"",
    ],
)
def test_times_of_other_forms_are_damaged(encoded: bytes) -> None:
    with pytest.raises(CmsError):
        milliseconds(encoded)
