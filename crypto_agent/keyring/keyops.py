"""The keys of one open vault, and the only lines that use a private key.

A :class:`Keyring` is what operations get as their context. It hands out what keys can do (sign,
unwrap a content key, agree on a secret), never a key. A key is opened from the vault at its first
use and stays open in this process until the process ends; there is no operation that exports it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto_agent.cms import keys as cms_keys
from crypto_agent.errors import ErrorCode, ProtocolError
from crypto_agent.keyring.generate import PrivateKey, load_own_pkcs8
from crypto_agent.keyring.vault import ENCRYPT, SIGN, OwnCertificate, SealedKey, Vault
from crypto_agent.protocol import wipe

_NONCE_BYTES: Final = 12
_PSS_SALT_BYTES: Final = 32

_ECDSA_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    cms_keys.ECDSA_SHA256: hashes.SHA256(),
    cms_keys.ECDSA_SHA384: hashes.SHA384(),
    cms_keys.ECDSA_SHA512: hashes.SHA512(),
}
_OAEP_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - OAEP of other programs; not relied on for collisions
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


class _Opened:
    """Private keys of the vault, opened at first use."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._keys: dict[bytes, PrivateKey] = {}

    def get(self, sealed: SealedKey) -> PrivateKey:
        key = self._keys.get(sealed.id)
        if key is None:
            pkcs8 = self._vault.open_key(sealed)
            try:
                key = load_own_pkcs8(pkcs8)
            finally:
                wipe(pkcs8)
            self._keys[sealed.id] = key
        return key


@dataclass(frozen=True, repr=False)
class OwnKey:
    """One key of the vault with one of its certificates: a ``SigningKey`` and ``DecryptionKey``."""

    _opened: _Opened
    _sealed: SealedKey
    _own: OwnCertificate

    @property
    def key_id(self) -> str:
        return self._sealed.id.hex()

    @property
    def purpose(self) -> str:
        return self._sealed.purpose

    @property
    def certificate(self) -> bytes:
        return self._own.der

    @property
    def chain(self) -> tuple[bytes, ...]:
        return self._own.chain

    def sign(self, data: bytes, *, scheme: str) -> bytes:
        """Raises ProtocolError (bad_request): not a signing key, or not this key's scheme."""
        if self._sealed.purpose != SIGN:
            raise ProtocolError(ErrorCode.BAD_REQUEST, "key purpose")
        key = self._opened.get(self._sealed)
        if isinstance(key, rsa.RSAPrivateKey):
            if scheme == cms_keys.RSA_PKCS1V15_SHA256:
                return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
            if scheme == cms_keys.RSA_PSS_SHA256:
                pss = padding.PSS(padding.MGF1(hashes.SHA256()), _PSS_SALT_BYTES)
                return key.sign(data, pss, hashes.SHA256())
        elif scheme in _ECDSA_HASHES:
            return key.sign(data, ec.ECDSA(_ECDSA_HASHES[scheme]))
        raise ProtocolError(ErrorCode.BAD_REQUEST, "signature scheme")

    def rsa_decrypt(self, encrypted: bytes, *, oaep: cms_keys.OaepParameters | None) -> bytes:
        """PKCS#1 v1.5 here never fails on bad padding: OpenSSL answers with other octets (implicit
        rejection), so that neither result nor time tells a padding apart."""
        key = self._decrypting()
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ProtocolError(ErrorCode.NO_MATCHING_KEY, "key type")
        if oaep is None:
            return key.decrypt(encrypted, padding.PKCS1v15())
        return key.decrypt(
            encrypted,
            padding.OAEP(
                mgf=padding.MGF1(_OAEP_HASHES[oaep.mgf_hash]),
                algorithm=_OAEP_HASHES[oaep.hash],
                label=oaep.label or None,
            ),
        )

    def agree(self, peer_spki: bytes) -> bytes:
        key = self._decrypting()
        peer = serialization.load_der_public_key(peer_spki)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(
            peer, ec.EllipticCurvePublicKey
        ):
            raise ProtocolError(ErrorCode.NO_MATCHING_KEY, "key type")
        return key.exchange(ec.ECDH(), peer)  # refuses another curve and points off it

    def _decrypting(self) -> PrivateKey:
        if self._sealed.purpose != ENCRYPT:
            raise ProtocolError(ErrorCode.NO_MATCHING_KEY, "key purpose")
        return self._opened.get(self._sealed)


class Keyring:
    """Everything an operation may do with one user's keys (``operations.context.KeyAccess``)."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self._opened = _Opened(vault)
        self._own: dict[str, list[OwnKey]] = {}
        self._addresses: tuple[str, ...] | None = None
        self.reload()

    @property
    def user(self) -> str:
        return self.vault.user

    def reload(self) -> None:
        """Look at the vault's record anew, after it changed."""
        keys = {sealed.id: sealed for sealed in self.vault.record.keys}
        order = {sealed.id: place for place, sealed in enumerate(self.vault.record.keys)}
        found: dict[str, list[OwnKey]] = {SIGN: [], ENCRYPT: []}
        # Later keys are newer, and so are later certificates of the same key.
        certificates = enumerate(self.vault.record.certificates)
        for _, own in sorted(certificates, key=lambda item: (order.get(item[1].key, -1), item[0])):
            sealed = keys.get(own.key)
            if sealed is not None and sealed.purpose in found:
                found[sealed.purpose].insert(0, OwnKey(self._opened, sealed, own))
        self._own = found
        self._addresses = None

    def signing_key(self) -> cms_keys.SigningKey:
        """The newest signing key. Raises ProtocolError (no_matching_key) when there is none."""
        if not self._own[SIGN]:
            raise ProtocolError(ErrorCode.NO_MATCHING_KEY, "no signing certificate")
        return self._own[SIGN][0]

    def decryption_keys(self) -> Sequence[cms_keys.DecryptionKey]:
        """Every encryption key that has a certificate, newest first."""
        return tuple(self._own[ENCRYPT])

    def own_certificates(self) -> Sequence[bytes]:
        """The certificate that our own copies are encrypted to; empty while there is none."""
        return tuple(own.certificate for own in self._own[ENCRYPT][:1])

    def addresses(self) -> Sequence[str]:
        """E-mail addresses in the subjectAltName of the signing certificate."""
        if self._addresses is None:
            self._addresses = (
                _addresses_of(self._own[SIGN][0].certificate) if self._own[SIGN] else ()
            )
        return self._addresses

    def seal(self, purpose: str, data: bytes) -> bytes:
        """AES-256-GCM under the vault's subkey for ``purpose``: nonce, ciphertext, tag."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        key = self.vault.derived(f"data {purpose}")
        try:
            return nonce + AESGCM(key).encrypt(nonce, data, purpose.encode())
        finally:
            wipe(key)

    def unseal(self, purpose: str, data: bytes) -> bytes:
        """Raises ProtocolError (forged) for anything :meth:`seal` did not make for ``purpose``."""
        key = self.vault.derived(f"data {purpose}")
        try:
            nonce, sealed = data[:_NONCE_BYTES], data[_NONCE_BYTES:]
            return AESGCM(key).decrypt(nonce, sealed, purpose.encode())
        except (InvalidTag, ValueError, TypeError) as error:
            raise ProtocolError(ErrorCode.FORGED, "sealed blob") from error
        finally:
            wipe(key)


def _addresses_of(der: bytes) -> tuple[str, ...]:
    names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return tuple(names.value.get_values_for_type(x509.RFC822Name))
