"""Just enough DER (X.690) to cut names, keys and algorithm identifiers out of certificates.

pyca parses certificates, but hands out re-encoded or decoded forms of what must be compared octet
by octet, and costs more than a comparison is worth when a hundred anchors are looked through.
"""

from __future__ import annotations

from typing import Final


class DerError(ValueError):
    """Not the DER that was expected."""


CONTEXT_0: Final = 0xA0
SEQUENCE: Final = 0x30


def read(data: bytes, start: int, end: int) -> tuple[int, int, int]:
    """The element at ``start``: ``(tag, offset of its contents, offset after it)``.

    Short-form tags and definite lengths only, as DER has them. Raises DerError.
    """
    if start + 2 > end:
        raise DerError("truncated")
    tag, length = data[start], data[start + 1]
    body = start + 2
    if length >= 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4 or body + count > end:
            raise DerError("length")
        length = int.from_bytes(data[body : body + count], "big")
        body += count
    if body + length > end:
        raise DerError("truncated")
    return tag, body, body + length


def elements(data: bytes, start: int, end: int) -> list[tuple[int, int, int, int]]:
    """All elements between two offsets: ``(tag, start, offset of contents, offset after)``."""
    found = []
    while start < end:
        tag, body, after = read(data, start, end)
        found.append((tag, start, body, after))
        start = after
    return found


def certificate_parts(der: bytes) -> tuple[bytes, bytes, bytes, bool]:
    """``(issuer, subject, subjectPublicKeyInfo, inner and outer algorithm agree)``, each as DER.

    RFC 5280 §4.1: SEQUENCE { tbs { [0] version, serial, signature, issuer, validity, subject, spki
    ... }, signatureAlgorithm, signature }. Raises DerError.
    """
    tag, body, after = read(der, 0, len(der))
    if tag != SEQUENCE or after != len(der):
        raise DerError("certificate")
    _, tbs_body, tbs_after = read(der, body, after)
    position = tbs_body
    if der[position] == CONTEXT_0:
        position = read(der, position, tbs_after)[2]
    cuts = []
    for _ in range(6):  # serial, signature, issuer, validity, subject, spki
        element_after = read(der, position, tbs_after)[2]
        cuts.append(der[position:element_after])
        position = element_after
    _, inner, issuer, _, subject, spki = cuts
    outer = der[tbs_after : read(der, tbs_after, after)[2]]
    # RFC 5280 §4.1.1.2: both fields MUST be the same; the outer one is not signed
    return issuer, subject, spki, inner == outer


def list_parts(der: bytes) -> tuple[bytes, bool]:
    """``(issuer DER, inner and outer algorithm agree)`` of a CRL (RFC 5280 §5.1).

    Raises DerError.
    """
    tag, body, after = read(der, 0, len(der))
    if tag != SEQUENCE or after != len(der):
        raise DerError("list")
    _, position, tbs_after = read(der, body, after)
    if position < tbs_after and der[position] == 0x02:  # version
        position = read(der, position, tbs_after)[2]
    inner_after = read(der, position, tbs_after)[2]
    issuer_after = read(der, inner_after, tbs_after)[2]
    outer = der[tbs_after : read(der, tbs_after, after)[2]]
    return der[inner_after:issuer_after], der[position:inner_after] == outer


def key_bits(spki: bytes) -> bytes:
    """The subjectPublicKey octets of a SubjectPublicKeyInfo, as OCSP hashes them (RFC 6960 §4.1.1).

    Raises DerError.
    """
    _, body, after = read(spki, 0, len(spki))
    _, _, algorithm_after = read(spki, body, after)
    tag, bits, bits_after = read(spki, algorithm_after, after)
    if tag != 0x03 or bits >= bits_after:
        raise DerError("key")
    return spki[bits + 1 : bits_after]


def dotted(contents: bytes) -> str:
    """An OBJECT IDENTIFIER's contents in dotted form (X.690 §8.19). Raises DerError."""
    if not contents or contents[-1] & 0x80 or len(contents) > 64:
        raise DerError("object identifier")
    arcs: list[int] = []
    value = 0
    for octet in contents:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


# A-Z to a-z, and every string type that a name may use to one of them. Lengths and attribute types
# pass through the same table on both sides, so that equal names stay equal; that two unequal ones
# could become equal does no harm: a path only counts when the signatures along it verify.
_FOLD: Final = bytes(
    0x0C
    if octet in (0x13, 0x14, 0x16, 0x1A)  # Printable, Teletex, IA5, Visible -> UTF8
    else octet + 32
    if 0x41 <= octet <= 0x5A
    else octet
    for octet in range(256)
)


def folded(name: bytes) -> bytes:
    """A Name in a form in which case and string type do not matter (RFC 5280 §7.1)."""
    return name.translate(_FOLD)
