"""Writing DER (X.690 §10), without building trees.

Small structures are plain ``bytes``. Where content may be large, a value is a list of pieces
(:data:`Pieces`) which is joined once, at the very end: wrapping a 100 MB content in six levels then
copies it once and not six times.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

Pieces = list[bytes]

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
NULL: Final = 0x05
OBJECT_IDENTIFIER: Final = 0x06
UTF8_STRING: Final = 0x0C
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31
CONTEXT: Final = 0x80
"""[n] IMPLICIT of a primitive type; add n."""
CONTEXT_CONSTRUCTED: Final = 0xA0
"""[n] EXPLICIT, or IMPLICIT of a constructed type; add n."""

NULL_VALUE: Final = b"\x05\x00"


def header(tag: int, length: int) -> bytes:
    """Identifier and length octets."""
    if length < 0x80:
        return bytes((tag, length))
    count = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | count)) + length.to_bytes(count, "big")


def tlv(tag: int, *contents: bytes) -> bytes:
    """One element around the concatenation of ``contents``."""
    body = b"".join(contents)
    return header(tag, len(body)) + body


def wrap(tag: int, pieces: Pieces) -> Pieces:
    """One element around ``pieces``, not joined."""
    return [header(tag, sum(map(len, pieces))), *pieces]


def sequence(*contents: bytes) -> bytes:
    return tlv(SEQUENCE, *contents)


def set_of(members: Iterable[bytes], *, tag: int = SET) -> bytes:
    """SET OF in DER order (X.690 §11.6)."""
    return tlv(tag, *sorted(members))


def explicit(number: int, contents: bytes) -> bytes:
    return tlv(CONTEXT_CONSTRUCTED | number, contents)


def octet_string(value: bytes) -> bytes:
    return tlv(OCTET_STRING, value)


def bit_string(value: bytes) -> bytes:
    """A BIT STRING of whole octets."""
    return tlv(BIT_STRING, b"\0", value)


def integer(value: int) -> bytes:
    """INTEGER in two's complement, shortest form (X.690 §8.3)."""
    size = (value + (value < 0)).bit_length() // 8 + 1
    return tlv(INTEGER, value.to_bytes(size, "big", signed=True))


def boolean(value: bool) -> bytes:
    return tlv(BOOLEAN, b"\xff" if value else b"\0")


@lru_cache(maxsize=512)
def oid(dotted: str) -> bytes:
    """OBJECT IDENTIFIER (X.690 §8.19)."""
    arcs = [int(arc) for arc in dotted.split(".")]
    body = bytearray()
    for arc in (40 * arcs[0] + arcs[1], *arcs[2:]):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(0x80 | arc & 0x7F)
        body += bytes(reversed(septets))
    return tlv(OBJECT_IDENTIFIER, bytes(body))


def algorithm(dotted: str, parameters: bytes = b"") -> bytes:
    """AlgorithmIdentifier; without ``parameters`` the field is absent."""
    return sequence(oid(dotted), parameters)


def attribute(dotted: str, *values: bytes) -> bytes:
    """Attribute ::= SEQUENCE { attrType, attrValues SET OF }."""
    return sequence(oid(dotted), set_of(values))


def moment(milliseconds: int) -> datetime:
    """UTC datetime of milliseconds since the epoch, exact."""
    seconds, fraction = divmod(milliseconds, 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=fraction * 1000)


def _digits(at: datetime) -> str:
    """YYYYMMDDHHMMSS."""
    return "".join(f"{part:02d}" for part in at.timetuple()[:6])


def time(milliseconds: int) -> bytes:
    """Time: UTCTime through 2049, GeneralizedTime from 2050 on (RFC 5652 §11.3), whole seconds."""
    at = moment(milliseconds)
    if 1950 <= at.year < 2050:
        return tlv(UTC_TIME, f"{_digits(at)[2:]}Z".encode())
    return tlv(GENERALIZED_TIME, f"{_digits(at)}Z".encode())


def generalized_time(milliseconds: int) -> bytes:
    """GeneralizedTime with milliseconds when they are not zero (RFC 3161 §2.4.2: no trailing 0)."""
    at = moment(milliseconds)
    fraction = f".{at.microsecond // 1000:03d}".rstrip("0") if at.microsecond else ""
    return tlv(GENERALIZED_TIME, f"{_digits(at)}{fraction}Z".encode())
