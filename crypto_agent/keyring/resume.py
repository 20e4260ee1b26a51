"""Session as split knowledge: the database keeps a blob, the browser's cookie keeps C.

The blob is the vault key under AES-256-GCM with a key from HKDF(C, session id). Until when it may
be used is inside, so that who writes the database cannot prolong a session.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto_agent.errors import ErrorCode, ProtocolError
from crypto_agent.keyring.ways import VAULT_KEY_BYTES
from crypto_agent.protocol import SESSION_SECRET_BYTES, derive, pack, unpack, wipe

_NONCE_BYTES: Final = 12


@dataclass(frozen=True)
class Resumed:
    """What a resume blob held."""

    vault_key: bytearray
    expires: int
    """Absolute end of the session, milliseconds since the epoch."""


def check_secret(session_secret: object) -> bytes:
    """Raises ProtocolError (bad_request) unless this can be a session secret C."""
    if not isinstance(session_secret, bytes) or len(session_secret) != SESSION_SECRET_BYTES:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "session secret")
    return session_secret


def seal_resume(
    vault_key: bytearray, *, user: str, session: str, session_secret: bytes, expires: int
) -> bytes:
    """The blob for the database."""
    key = derive(session_secret, f"resume {session}")
    nonce = secrets.token_bytes(_NONCE_BYTES)
    content = pack([vault_key, expires])
    blob = nonce + AESGCM(key).encrypt(nonce, content, _context(user, session))
    wipe(key, content)
    return blob


def open_resume(
    blob: object, *, user: str, session: str, session_secret: bytes, now: int
) -> Resumed:
    """Raises ProtocolError: wrong_session, or expired past the absolute end."""
    if not isinstance(blob, bytes) or len(blob) <= _NONCE_BYTES:
        raise ProtocolError(ErrorCode.WRONG_SESSION, "resume blob")
    key = derive(session_secret, f"resume {session}")
    try:
        opened = AESGCM(key).decrypt(
            blob[:_NONCE_BYTES], blob[_NONCE_BYTES:], _context(user, session)
        )
    except InvalidTag as error:
        raise ProtocolError(ErrorCode.WRONG_SESSION, "resume blob") from error
    finally:
        wipe(key)
    vault_key, expires = unpack(opened)
    wipe(opened)
    owned = bytearray(vault_key)
    wipe(vault_key)
    if len(owned) != VAULT_KEY_BYTES:
        raise ProtocolError(ErrorCode.VAULT_DAMAGED, "resume blob")
    if now >= expires:
        wipe(owned)
        raise ProtocolError(ErrorCode.EXPIRED, "session")
    return Resumed(owned, expires)


def _context(user: str, session: str) -> bytes:
    return b"sealpost/1 resume\0" + pack([user, session])
