"""The few parts of a certificate that CMS needs, cut out of its octets. Nothing is trusted here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import load_der_public_key

from crypto_agent.cms import der, oids
from crypto_agent.cms.errors import CERTIFICATE, CmsError
from crypto_agent.cms.tlv import Cursor

SIZE_LIMIT: Final = 100_000
"""Octets. ML-DSA-87 with a long list of names stays below 15 KB; megabytes are an attack."""

# A-Z to a-z, and every string type that a name may use to one of them, so that issuers which a
# sender re-encoded still match. Matching decides nothing: the signature or the key does.
_FOLD: Final = bytes(
    0x0C
    if octet in (0x13, 0x14, 0x16, 0x1A)  # Printable, Teletex, IA5, Visible -> UTF8
    else octet + 32
    if 0x41 <= octet <= 0x5A
    else octet
    for octet in range(256)
)


@dataclass(frozen=True)
class Parts:
    """``issuer`` and ``spki`` as they stand in the certificate, ``serial`` the INTEGER's value."""

    encoded: bytes
    issuer: bytes
    serial: int
    subject: bytes
    spki: bytes
    key_identifier: bytes | None
    """The SubjectKeyIdentifier extension's value, if there is one."""
    key_algorithm: str
    """Dotted OID of the SubjectPublicKeyInfo's algorithm."""
    key_parameters: bytes
    """Its parameters element, empty when absent."""
    timestamping_only: bool
    """EKU critical and timeStamping alone (RFC 3161 §2.3)."""

    @property
    def folded_issuer(self) -> bytes:
        return self.issuer.translate(_FOLD)

    @property
    def self_issued(self) -> bool:
        return self.issuer == self.subject

    def is_named(self, issuer: bytes, serial: int) -> bool:
        """Whether an IssuerAndSerialNumber means this certificate."""
        return self.serial == serial and (
            self.issuer == issuer or self.folded_issuer == issuer.translate(_FOLD)
        )

    def has_key_identifier(self, identifier: bytes) -> bool:
        """Whether a SubjectKeyIdentifier means this certificate's key.

        Without the extension, RFC 5280 §4.2.1.2 method (1) is tried: SHA-1 of the key's bits.
        """
        if self.key_identifier is not None:
            return self.key_identifier == identifier
        bits = key_bits(self.spki)
        return hashlib.sha1(bits, usedforsecurity=False).digest() == identifier


def key_bits(spki: bytes) -> bytes:
    """The octets of a SubjectPublicKeyInfo's subjectPublicKey."""
    cursor = Cursor(spki)
    cursor.enter()
    cursor.skip()
    return cursor.value(der.BIT_STRING)[1:]


@lru_cache(maxsize=128)
def parts(encoded: bytes) -> Parts:
    """Cut a certificate (RFC 5280 §4.1). Raises CmsError (certificate.refused)."""
    try:
        return _parts(encoded)
    except (CmsError, IndexError) as error:
        raise CmsError(CERTIFICATE) from error


def _parts(encoded: bytes) -> Parts:
    if len(encoded) > SIZE_LIMIT:
        raise CmsError(CERTIFICATE)
    cursor = Cursor(encoded, strict=True)
    cursor.enter()
    cursor.enter()
    if cursor.at(der.CONTEXT_CONSTRUCTED):  # version
        cursor.skip()
    serial = cursor.integer()
    cursor.skip()  # signature
    issuer = cursor.raw(der.SEQUENCE)
    cursor.skip()  # validity
    subject = cursor.raw(der.SEQUENCE)
    spki = cursor.raw(der.SEQUENCE)
    for unique_identifier in (0x81, 0x82, 0xA1, 0xA2):
        if cursor.at(unique_identifier):
            cursor.skip()
    key_identifier = None
    timestamping_only = False
    if cursor.at(der.CONTEXT_CONSTRUCTED | 3):
        cursor.enter(der.CONTEXT_CONSTRUCTED | 3)
        cursor.enter()
        while not cursor.at_end():
            cursor.enter()
            name = cursor.oid()
            critical = cursor.at(der.BOOLEAN) and cursor.value(der.BOOLEAN) == b"\xff"
            value = cursor.value(der.OCTET_STRING)
            cursor.leave()
            if name == oids.SUBJECT_KEY_IDENTIFIER:
                key_identifier = Cursor(value, strict=True).value(der.OCTET_STRING)
            elif name == oids.EXTENDED_KEY_USAGE:
                only = der.sequence(der.oid(oids.TIME_STAMPING))
                timestamping_only = critical and value == only
        cursor.leave()
        cursor.leave()
    cursor.leave()
    cursor.skip()  # signatureAlgorithm
    cursor.skip()  # signature
    cursor.leave()
    cursor.finish()
    key = Cursor(spki, strict=True)
    key.enter()
    algorithm = key.algorithm()
    return Parts(
        encoded=encoded,
        issuer=issuer,
        serial=serial,
        subject=subject,
        spki=spki,
        key_identifier=key_identifier,
        key_algorithm=algorithm.name,
        key_parameters=algorithm.parameters,
        timestamping_only=timestamping_only,
    )


@lru_cache(maxsize=128)
def public_key(spki: bytes) -> Any:
    """pyca's public key. Raises CmsError (certificate.refused): damaged, off-curve, unknown."""
    try:
        return load_der_public_key(spki)
    except Exception as error:  # pyca raises several kinds
        raise CmsError(CERTIFICATE) from error


def issuer_and_serial(certificate: Parts) -> bytes:
    """IssuerAndSerialNumber (RFC 5652 §10.2.4)."""
    return der.sequence(certificate.issuer, der.integer(certificate.serial))
