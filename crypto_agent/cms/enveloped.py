"""EnvelopedData (RFC 5652 §6) and AuthEnvelopedData (RFC 5083)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from crypto_agent.cms.keys import DecryptionKey, OaepParameters

ContentCipher = Literal["aes-256-cbc", "aes-256-gcm"]


@dataclass(frozen=True)
class Decrypted:
    """An opened envelope."""

    content: bytes = field(repr=False)
    content_type: str
    """Dotted OID of what is inside; id-data in mail."""
    cipher: str
    """Such as ``AES-256-GCM``, ``AES-128-CBC``, ``3DES-CBC``, ``RC2-128-CBC``."""
    authenticated: bool
    """Whether the cipher proves that nobody changed the content (AuthEnvelopedData)."""
    key_transport: str
    """Such as ``RSA-PKCS1-v1.5``, ``RSA-OAEP-SHA-256``, ``ECDH-P-256``, ``X25519``."""
    weak: bool
    """An algorithm that is only read for old mail (3DES, RC2, RSA below 2048 bits)."""
    key_id: str
    recipients: int
    """How many recipient entries the envelope has."""


def encrypt(
    content: bytes,
    certificates: Sequence[bytes],
    *,
    content_cipher: ContentCipher,
    oaep: OaepParameters | None = None,
) -> bytes:
    """ContentInfo DER with one recipient entry per certificate (1 to 1,000, DER each).

    RSA keys get PKCS#1 v1.5 key transport, or OAEP when ``oaep`` is given; P-256/384/521 ECDH
    (RFC 5753); X25519 (RFC 8418). Raises CmsError (certificate.refused, cms.too_complex).
    """
    raise NotImplementedError


def decrypt(data: bytes | memoryview, keys: Sequence[DecryptionKey]) -> Decrypted:
    """Open an envelope with whichever of ``keys`` it is for.

    Raises CmsError: decrypt.no_key when it is for none of them, decrypt.failed for every other way
    in which opening fails; and before any key is used cms.damaged, cms.unsupported,
    cms.too_complex.
    """
    raise NotImplementedError
