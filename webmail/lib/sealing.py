"""Seal small secrets that the server itself must open again: IMAP and SMTP credentials.

Background sync signs in to the mail server while nobody is there, so these cannot wait for a
person's password. They are sealed under the server key ring (``SEALPOST_SERVER_KEYS_FILE``), which
lives outside the database: a copy of the database alone opens none of them.

Rotation: put a new key on the first line of the ring, run ``manage.py reseal_credentials``, then
take the old line away.

Format: version (1 byte) · key id (8) · nonce (12) · AES-256-GCM ciphertext with tag.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

_VERSION: Final = b"\x01"
_ID_BYTES: Final = 8
_NONCE_BYTES: Final = 12
_HEADER_BYTES: Final = 1 + _ID_BYTES + _NONCE_BYTES
_TAG_BYTES: Final = 16


class SealBroken(Exception):
    """No key of the ring opens this for this context: wrong place, changed, or the key is gone."""


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"sealpost server key id\0" + key).digest()[:_ID_BYTES]


def _cipher(key: bytes) -> AESGCM:
    return AESGCM(HKDF(hashes.SHA256(), 32, None, b"sealpost/1 server sealing").derive(key))


def seal(plaintext: bytes | bytearray, context: bytes) -> bytes:
    """Seal under the current key. ``context`` names the place; it must be the same at unseal."""
    key = settings.SERVER_KEY_RING[0]
    header = _VERSION + _key_id(key)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return header + nonce + _cipher(key).encrypt(nonce, plaintext, header + context)


def unseal(sealed: bytes, context: bytes) -> bytes:
    """What :func:`seal` was given. Raises SealBroken."""
    if len(sealed) < _HEADER_BYTES + _TAG_BYTES or sealed[:1] != _VERSION:
        raise SealBroken("not a sealed value")
    header, nonce = sealed[: 1 + _ID_BYTES], sealed[1 + _ID_BYTES : _HEADER_BYTES]
    for key in settings.SERVER_KEY_RING:
        if _key_id(key) == header[1:]:
            try:
                return _cipher(key).decrypt(nonce, sealed[_HEADER_BYTES:], header + context)
            except InvalidTag as error:
                raise SealBroken("changed, or sealed for another place") from error
    raise SealBroken("sealed under a key that is not in the ring")


def is_current(sealed: bytes) -> bool:
    """True when the first key of the ring sealed it, so that re-sealing would change nothing."""
    return sealed[: 1 + _ID_BYTES] == _VERSION + _key_id(settings.SERVER_KEY_RING[0])
