"""A user's vault: one random key, wrapped once per way in, over every private key of the user.

The record is opaque to the web. Its parts are authenticated together by a MAC under the vault key,
so that nobody who can write to the database can slip in another key's certificate, to which our
own copies would then be encrypted. Putting an older record back is not noticed.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto_agent.errors import ErrorCode, ProtocolError
from crypto_agent.keyring import ways
from crypto_agent.keyring.generate import PrivateKey, generate, to_pkcs8, to_spki
from crypto_agent.protocol import derive, pack, unpack, wipe

RECORD_VERSION: Final = 1
RECORD_LIMIT: Final = 4 * 1024 * 1024
"""Octets of a record: hundreds of keys with their chains."""

SIGN: Final = "sign"
ENCRYPT: Final = "encrypt"
PURPOSES: Final = (SIGN, ENCRYPT)

_ID_BYTES: Final = 16
_NONCE_BYTES: Final = 12


@dataclass(frozen=True)
class SealedKey:
    """A private key as the record keeps it."""

    id: bytes
    purpose: str
    algorithm: str
    created: int
    """Milliseconds since the epoch."""
    spki: bytes
    """DER SubjectPublicKeyInfo."""
    nonce: bytes = field(repr=False)
    sealed: bytes = field(repr=False)
    """PKCS#8 under AES-256-GCM; user, id, purpose and algorithm are associated data."""

    def context(self, user: str) -> bytes:
        return b"sealpost/1 key\0" + pack([user, self.id, self.purpose, self.algorithm, self.spki])


@dataclass(frozen=True)
class OwnCertificate:
    """A certificate for one of the vault's keys, with the chain above it."""

    key: bytes
    der: bytes
    chain: tuple[bytes, ...]


@dataclass(frozen=True)
class Record:
    """The parsed record; proven only once :class:`Vault` has checked its MAC."""

    user: str
    revision: int
    wraps: tuple[dict[str, Any], ...]
    keys: tuple[SealedKey, ...]
    certificates: tuple[OwnCertificate, ...]
    mac: bytes = b""

    def authenticated(self) -> bytes:
        return b"sealpost/1 record\0" + pack(self._fields())

    def _fields(self) -> list[Any]:
        return [
            RECORD_VERSION,
            self.user,
            self.revision,
            list(self.wraps),
            [
                [key.id, key.purpose, key.algorithm, key.created, key.spki, key.nonce, key.sealed]
                for key in self.keys
            ],
            [[own.key, own.der, list(own.chain)] for own in self.certificates],
        ]

    def to_bytes(self) -> bytes:
        return pack([*self._fields(), self.mac])

    @classmethod
    def from_bytes(cls, untrusted: object) -> Record:
        """Shape only. Raises ProtocolError (vault_damaged, unsupported_version)."""
        if not isinstance(untrusted, bytes) or len(untrusted) > RECORD_LIMIT:
            raise ProtocolError(ErrorCode.VAULT_DAMAGED, "record")
        try:
            version, user, revision, wraps, keys, certificates, mac = unpack(untrusted)
            if version != RECORD_VERSION:
                raise ProtocolError(ErrorCode.UNSUPPORTED_VERSION, "vault record")
            return cls(
                user=str(user),
                revision=int(revision),
                wraps=tuple(dict(wrapped) for wrapped in wraps),
                keys=tuple(SealedKey(*key) for key in keys),
                certificates=tuple(
                    OwnCertificate(key, der, tuple(chain)) for key, der, chain in certificates
                ),
                mac=bytes(mac),
            )
        except ProtocolError as error:
            if error.code is ErrorCode.UNSUPPORTED_VERSION:
                raise
            raise ProtocolError(ErrorCode.VAULT_DAMAGED, "record") from error
        except (TypeError, ValueError) as error:
            raise ProtocolError(ErrorCode.VAULT_DAMAGED, "record") from error


class Vault:
    """An open vault. Exists only inside an agent; :meth:`close` overwrites its key."""

    def __init__(self, record: Record, vault_key: bytearray, *, user: str) -> None:
        """Takes ownership of ``vault_key``. Raises ProtocolError (vault_damaged) if ``record`` is
        not one that a holder of this key wrote for ``user``."""
        self.record = record
        self._key = vault_key
        if record.user != user or not hmac.compare_digest(record.mac, self._mac(record)):
            self.close()
            raise ProtocolError(ErrorCode.VAULT_DAMAGED, "record")

    @property
    def user(self) -> str:
        return self.record.user

    def _mac(self, record: Record) -> bytes:
        key = derive(self._key, "record")
        mac = hmac.digest(key, record.authenticated(), "sha256")
        wipe(key)
        return mac

    def derived(self, purpose: str) -> bytearray:
        """A subkey of the vault key for one purpose, for the caller to wipe."""
        key = derive(self._key, f"vault {purpose}")
        owned = bytearray(key)
        wipe(key)
        return owned

    def copy_key(self) -> bytearray:
        """The vault key itself, to seal the resume blob with; for the caller to wipe."""
        return bytearray(self._key)

    def prove(self, message: bytes) -> bytes:
        """A MAC which another process with the same vault open can check."""
        key = self.derived("join")
        mac = hmac.digest(key, message, "sha256")
        wipe(key)
        return mac

    def close(self) -> None:
        wipe(self._key)

    # ---------------------------------------------------------------- keys

    def _sealing_key(self, key_id: bytes) -> bytearray:
        return self.derived(f"key {key_id.hex()}")

    def open_key(self, sealed: SealedKey) -> bytearray:
        """PKCS#8 of one key, for the caller to wipe. Raises ProtocolError (vault_damaged)."""
        key = self._sealing_key(sealed.id)
        try:
            opened = AESGCM(key).decrypt(sealed.nonce, sealed.sealed, sealed.context(self.user))
        except (InvalidTag, ValueError, TypeError) as error:
            raise ProtocolError(ErrorCode.VAULT_DAMAGED, "key") from error
        finally:
            wipe(key)
        owned = bytearray(opened)
        wipe(opened)
        return owned

    def _seal_key(
        self, private: PrivateKey, *, purpose: str, algorithm: str, now: int
    ) -> SealedKey:
        bare = SealedKey(
            id=secrets.token_bytes(_ID_BYTES),
            purpose=purpose,
            algorithm=algorithm,
            created=now,
            spki=to_spki(private.public_key()),
            nonce=secrets.token_bytes(_NONCE_BYTES),
            sealed=b"",
        )
        key = self._sealing_key(bare.id)
        pkcs8 = to_pkcs8(private)
        sealed = AESGCM(key).encrypt(bare.nonce, pkcs8, bare.context(self.user))
        wipe(key, pkcs8)
        return replace(bare, sealed=sealed)

    # ---------------------------------------------------------------- changes

    def adopt(self, untrusted_record: object) -> bool:
        """Take over a later state of this vault, which another process wrote. True if it was later.

        Raises ProtocolError (vault_damaged) unless a holder of this vault's key wrote it.
        """
        record = Record.from_bytes(untrusted_record)
        if record.user != self.user or not hmac.compare_digest(record.mac, self._mac(record)):
            raise ProtocolError(ErrorCode.VAULT_DAMAGED, "record")
        if record.revision <= self.record.revision:
            return False
        self.record = record
        return True

    def _write(self, **changes: Any) -> None:
        changed = replace(self.record, revision=self.record.revision + 1, mac=b"", **changes)
        self.record = replace(changed, mac=self._mac(changed))

    def add_keys(self, *, algorithm: str, now: int) -> list[tuple[SealedKey, PrivateKey]]:
        """Make a signing and an encryption key. The private halves are for making requests."""
        made = []
        for purpose in PURPOSES:
            private = generate(algorithm)
            made.append(
                (
                    self._seal_key(private, purpose=purpose, algorithm=algorithm, now=now),
                    private,
                )
            )
        self._write(keys=(*self.record.keys, *(sealed for sealed, _ in made)))
        return made

    def add_key(self, private: PrivateKey, *, purpose: str, algorithm: str, now: int) -> SealedKey:
        """Take a key that was made elsewhere."""
        sealed = self._seal_key(private, purpose=purpose, algorithm=algorithm, now=now)
        self._write(keys=(*self.record.keys, sealed))
        return sealed

    def add_certificates(self, certificates: Sequence[OwnCertificate]) -> None:
        """Add certificates; one that is there already is replaced with its new chain."""
        kept = [
            own
            for own in self.record.certificates
            if all(own.der != added.der for added in certificates)
        ]
        self._write(certificates=(*kept, *certificates))

    def wrap_for(
        self, way: str, secret: bytes | bytearray, *, cost: ways.Cost = ways.DEFAULT
    ) -> None:
        """Open this vault with ``secret`` from now on, and no more with the way's earlier one."""
        wrapped = ways.wrap(user=self.user, way=way, secret=secret, vault_key=self._key, cost=cost)
        kept = [old for old in self.record.wraps if old.get("way") != way]
        self._write(wraps=(*kept, wrapped))


def found_vault(user: str, *, vault_key: bytearray | None = None) -> Vault:
    """A new, empty vault without any way in; follow with :meth:`Vault.wrap_for`.

    ``vault_key`` (its ownership passes) is random unless given.
    """
    if vault_key is None:
        random = secrets.token_bytes(ways.VAULT_KEY_BYTES)
        vault_key = bytearray(random)
        wipe(random)
    key = derive(vault_key, "record")
    bare = Record(user=user, revision=0, wraps=(), keys=(), certificates=())
    record = replace(bare, mac=hmac.digest(key, bare.authenticated(), "sha256"))
    wipe(key)
    return Vault(record, vault_key, user=user)


def open_vault(untrusted_record: object, *, user: str, way: str, secret: bytes) -> Vault:
    """Open by one way in. Raises ProtocolError: wrong_password, vault_damaged.

    No record at all is the name of nobody: refused after the same work as a wrong password.
    """
    if untrusted_record is None:
        ways.spend(secret)
        raise ProtocolError(ErrorCode.WRONG_PASSWORD)
    record = Record.from_bytes(untrusted_record)
    for wrapped in record.wraps:
        if wrapped.get("way") == way:
            return Vault(record, ways.unwrap(wrapped, user=user, secret=secret), user=user)
    raise ProtocolError(ErrorCode.WRONG_PASSWORD, "no such way in")
