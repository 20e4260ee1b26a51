"""Messages that our own writer would never make: Mallory's workshop.

Everything is put together from octets with real signatures, so that a test shows which rule, and
not which broken signature, refuses a message.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable

from crypto_agent.cms import der, oids
from crypto_agent.cms.certificate import issuer_and_serial, parts
from crypto_agent.cms.content_info import content_info
from crypto_agent.cms.tlv import Cursor
from tests.cms.people import Person

SHA256 = der.algorithm(oids.DIGEST_OIDS["sha256"])
RSA = der.algorithm(oids.RSA, der.NULL_VALUE)


def standard_attributes(
    content: bytes, *, content_type: str = oids.DATA, digest: str = "sha256"
) -> list[bytes]:
    """contentType and messageDigest, the two that must be there."""
    return [
        der.attribute(oids.CONTENT_TYPE, der.oid(content_type)),
        der.attribute(oids.MESSAGE_DIGEST, der.octet_string(hashlib.new(digest, content).digest())),
    ]


def signer_info(
    signer: Person,
    attributes: list[bytes] | None,
    *,
    content: bytes = b"",
    scheme: str = "rsa-pkcs1v15-sha256",
    digest_algorithm: bytes = SHA256,
    signature_algorithm: bytes = RSA,
    by_key_identifier: bool = False,
    named: Person | None = None,
    as_given: bool = False,
    signature: bytes | None = None,
    unsigned: Iterable[bytes] = (),
) -> bytes:
    """A SignerInfo. ``as_given``: the attributes in this order, not DER's. ``named``: whose
    certificate the sid names, if not the signer's. ``attributes`` None: over the content itself."""
    certificate = parts((named or signer).certificate)
    sid = issuer_and_serial(certificate)
    if by_key_identifier:
        assert certificate.key_identifier is not None
        sid = der.tlv(der.CONTEXT, certificate.key_identifier)
    signed_part = b""
    to_be_signed = content
    if attributes is not None:
        to_be_signed = der.tlv(der.SET, *attributes) if as_given else der.set_of(attributes)
        signed_part = bytes((der.CONTEXT_CONSTRUCTED,)) + to_be_signed[1:]
    if signature is None:
        signature = signer.sign(to_be_signed, scheme=scheme)
    unsigned_part = der.set_of(unsigned, tag=der.CONTEXT_CONSTRUCTED | 1) if unsigned else b""
    return der.sequence(
        der.integer(3 if by_key_identifier else 1),
        sid,
        digest_algorithm,
        signed_part,
        signature_algorithm,
        der.octet_string(signature),
        unsigned_part,
    )


def signed_data(
    content: bytes | None,
    signers: Iterable[bytes],
    certificates: Iterable[bytes],
    *,
    content_type: str = oids.DATA,
    lists: Iterable[bytes] = (),
    version: int = 1,
) -> bytes:
    """A SignedData ContentInfo of the given pieces."""
    inside = b"" if content is None else der.explicit(0, der.octet_string(content))
    bag = list(certificates)
    revocation = list(lists)
    return content_info(
        oids.SIGNED_DATA,
        [
            der.sequence(
                der.integer(version),
                der.set_of([SHA256]),
                der.sequence(der.oid(content_type), inside),
                der.set_of(bag, tag=der.CONTEXT_CONSTRUCTED) if bag else b"",
                der.set_of(revocation, tag=der.CONTEXT_CONSTRUCTED | 1) if revocation else b"",
                der.set_of(signers),
            )
        ],
    )


Path = tuple[int, ...]


def to_indefinite(encoded: bytes, levels: set[Path], chunks: dict[Path, list[int]]) -> bytes:
    """Rewrite DER as BER: elements at ``levels`` get indefinite lengths, primitive strings at
    ``chunks`` become constructed ones, split at the given offsets. Paths count children from 0."""
    return _rewrite(encoded, (), levels, chunks)


def _rewrite(encoded: bytes, at: Path, levels: set[Path], chunks: dict[Path, list[int]]) -> bytes:
    tag = encoded[0]
    if at in chunks:
        body = Cursor(encoded).value(tag)
        bounds = [0, *sorted(chunks[at]), len(body)]
        pieces = [body[a:b] for a, b in itertools.pairwise(bounds)]
        return (
            bytes((tag | 0x20, 0x80))
            + b"".join(der.octet_string(piece) for piece in pieces)
            + b"\0\0"
        )
    below = any(path[: len(at)] == at and len(path) > len(at) for path in (*levels, *chunks))
    if at not in levels and not below:
        return encoded
    cursor = Cursor(encoded)
    cursor.enter(tag)
    children = []
    while not cursor.at_end():
        children.append(_rewrite(cursor.raw(), (*at, len(children)), levels, chunks))
    if at in levels:
        return bytes((tag, 0x80)) + b"".join(children) + b"\0\0"
    return der.tlv(tag, *children)


SIGNED_LEVELS: set[Path] = {(), (1,), (1, 0), (1, 0, 2), (1, 0, 2, 1), (1, 0, 3), (1, 0, 4)}
"""Every level of an opaque SignedData that a streaming sender leaves open."""
SIGNED_CONTENT: Path = (1, 0, 2, 1, 0)
ENVELOPED_LEVELS: set[Path] = {(), (1,), (1, 0), (1, 0, 1), (1, 0, 2)}
ENVELOPED_CONTENT: Path = (1, 0, 2, 2)
