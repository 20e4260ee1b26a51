"""The ways into a vault: each wraps the vault key once, under a key stretched from a secret.

Argon2id (RFC 9106) stretches the secret, HKDF names the purpose, AES-256-GCM wraps. The wrap is
bound to user and way by its associated data, so that it cannot be moved to another account.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Final, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from crypto_agent.errors import ErrorCode, ProtocolError
from crypto_agent.protocol import derive, pack, wipe

PASSWORD: Final = "password"  # noqa: S105 - the name of a way in, not a secret
RECOVERY: Final = "recovery"
WAYS: Final = frozenset({PASSWORD, RECOVERY})

SECRET_LIMIT: Final = 1024
"""Octets of a password; a longer one only costs time."""

VAULT_KEY_BYTES: Final = 32
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_BASE32: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_RECOVERY_LENGTH: Final = 39
"""160 bit: 32 letters of base32 in eight groups of four, with hyphens between."""
_BETWEEN: Final = frozenset(b" -\t\r\n")
_READ_AS: Final = dict(zip(b"abcdefghijklmnopqrstuvwxyz018", _BASE32[:26] + b"OIB", strict=True))
"""How people write a code down."""


@dataclass(frozen=True)
class Cost:
    """Argon2id parameters, kept beside each wrap so that they can be raised later."""

    memory_kib: int = 64 * 1024
    passes: int = 3
    lanes: int = 4

    def check(self) -> None:
        """Raises ProtocolError (vault_damaged) for parameters that we never wrote.

        Weaker than the floor (OWASP's minimum for Argon2id): somebody prepared an easy guess.
        Dearer than the ceiling: somebody wants our memory or time.
        """
        if not (
            FLOOR.memory_kib <= self.memory_kib <= CEILING.memory_kib
            and FLOOR.passes <= self.passes <= CEILING.passes
            and FLOOR.lanes <= self.lanes <= CEILING.lanes
        ):
            raise ProtocolError(ErrorCode.VAULT_DAMAGED, "key stretching")


FLOOR: Final = Cost(memory_kib=19 * 1024, passes=2, lanes=1)
CEILING: Final = Cost(memory_kib=1024 * 1024, passes=16, lanes=16)
DEFAULT: Final = Cost()


def _wrapping_key(secret: bytes | bytearray, salt: bytes, cost: Cost, context: str) -> bytearray:
    stretched = bytearray(VAULT_KEY_BYTES)
    Argon2id(
        salt=salt,
        length=VAULT_KEY_BYTES,
        iterations=cost.passes,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    ).derive_into(cast(bytes, secret), stretched)  # takes any buffer; its stub says bytes
    key = derive(stretched, context)
    wipe(stretched)
    result = bytearray(key)
    wipe(key)
    return result


def _context(user: str, way: str) -> bytes:
    return b"sealpost/1 wrap\0" + pack([user, way])


def _normal(way: str, secret: bytes | bytearray) -> bytes | bytearray:
    """What is stretched. A recovery code is read with all that people do to codes on paper."""
    if not 1 <= len(secret) <= SECRET_LIMIT:
        raise ProtocolError(ErrorCode.WRONG_PASSWORD, "length")
    if way == PASSWORD:
        return secret
    # Sized once: a growing bytearray would leave its earlier, shorter copies behind.
    letters, length = bytearray(len(secret)), 0
    for octet in secret:
        if octet not in _BETWEEN:
            letters[length] = _READ_AS.get(octet, octet)
            length += 1
    del letters[length:]
    return letters


def new_recovery_code() -> bytearray:
    """160 random bits as ``XXXX-XXXX-…``: eight groups of the letters of base32."""
    code = bytearray(b"-" * _RECOVERY_LENGTH)
    for position in range(_RECOVERY_LENGTH):
        if position % 5 != 4:
            code[position] = secrets.choice(_BASE32)  # one at a time leaves no copy
    return code


def wrap(
    *, user: str, way: str, secret: bytes | bytearray, vault_key: bytes | bytearray, cost: Cost
) -> dict[str, Any]:
    """The vault key wrapped for one way in, as a plain value for the record."""
    cost.check()
    salt = secrets.token_bytes(_SALT_BYTES)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    normal = _normal(way, secret)
    key = _wrapping_key(normal, salt, cost, f"wrap {way}")
    sealed = AESGCM(key).encrypt(nonce, vault_key, _context(user, way))
    wipe(key)
    if normal is not secret and isinstance(normal, bytearray):
        wipe(normal)
    return {
        "way": way,
        "cost": [cost.memory_kib, cost.passes, cost.lanes],
        "salt": salt,
        "nonce": nonce,
        "sealed": sealed,
    }


def spend(secret: bytes | bytearray) -> None:
    """The work of a wrong guess, for a name that is nobody's: time must not tell them apart."""
    _normal(PASSWORD, secret)
    wipe(_wrapping_key(secret, bytes(_SALT_BYTES), DEFAULT, "nobody"))


def unwrap(wrapped: dict[str, Any], *, user: str, secret: bytes | bytearray) -> bytearray:
    """The vault key. Raises ProtocolError: wrong_password, or vault_damaged before any cost."""
    try:
        way = str(wrapped["way"])
        memory_kib, passes, lanes = (int(value) for value in wrapped["cost"])
        salt, nonce, sealed = wrapped["salt"], wrapped["nonce"], wrapped["sealed"]
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(ErrorCode.VAULT_DAMAGED, "wrap") from error
    if way not in WAYS or not all(isinstance(value, bytes) for value in (salt, nonce, sealed)):
        raise ProtocolError(ErrorCode.VAULT_DAMAGED, "wrap")
    if len(salt) != _SALT_BYTES or len(nonce) != _NONCE_BYTES:
        raise ProtocolError(ErrorCode.VAULT_DAMAGED, "wrap")
    cost = Cost(memory_kib, passes, lanes)
    cost.check()
    normal = _normal(way, secret)
    key = _wrapping_key(normal, salt, cost, f"wrap {way}")
    try:
        opened = AESGCM(key).decrypt(nonce, sealed, _context(user, way))
    except InvalidTag as error:
        raise ProtocolError(ErrorCode.WRONG_PASSWORD) from error
    finally:
        wipe(key)
        if normal is not secret and isinstance(normal, bytearray):
            wipe(normal)
    vault_key = bytearray(opened)
    wipe(opened)
    if len(vault_key) != VAULT_KEY_BYTES:
        raise ProtocolError(ErrorCode.VAULT_DAMAGED, "vault key")
    return vault_key
