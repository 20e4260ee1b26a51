"""Recipient entries: how the content key travels to each reader (RFC 5652 §6.2).

Reading an entry touches no key; opening one does, and has a single way to fail: it then returns
None, and the caller goes on with a random key (RFC 3218 §2.3.2).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.mlkem import (
    MLKEM768PublicKey,
    MLKEM1024PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crypto_agent.cms import der, oids
from crypto_agent.cms.certificate import Parts, issuer_and_serial, public_key
from crypto_agent.cms.errors import CERTIFICATE, TOO_COMPLEX, UNSUPPORTED, CmsError
from crypto_agent.cms.keys import DecryptionKey, KemKey, OaepParameters
from crypto_agent.cms.signature_check import hash_named
from crypto_agent.cms.structures import oaep_parameters
from crypto_agent.cms.tlv import Algorithm, Cursor

RECIPIENT_LIMIT: Final = 1000
"""Entries read and written (1,000 RSA-3072 entries are 0.5 MB)."""

RSA_MINIMUM_BITS: Final = 2048
"""Smaller keys are not encrypted to (RFC 8551 §1.5, RFC 8550 §4.4)."""

_WRAPS: Final = {
    oids.AES_128_WRAP: 16,
    oids.AES_192_WRAP: 24,
    oids.AES_256_WRAP: 32,
    oids.CMS_3DES_WRAP: 24,
}
"""Key wrap to octets of its key (RFC 3565 §2.3.2, RFC 3370 §4.3.1)."""

_3DES_WRAP_VECTOR: Final = bytes.fromhex("4adda22c79e82105")  # RFC 3217 §3.2

_ZERO_TAG: Final = der.CONTEXT
_EXPLICIT_0: Final = der.CONTEXT_CONSTRUCTED
_EXPLICIT_1: Final = der.CONTEXT_CONSTRUCTED | 1


# --------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class Recipient:
    """Whom an entry is for: by issuer and serial number, or by key identifier."""

    issuer: bytes | None
    serial: int
    key_identifier: bytes | None

    def means(self, certificate: Parts) -> bool:
        if self.key_identifier is not None:
            return certificate.has_key_identifier(self.key_identifier)
        return certificate.is_named(self.issuer or b"", self.serial)


@dataclass(frozen=True)
class Transport:
    """KeyTransRecipientInfo (RFC 5652 §6.2.1)."""

    recipient: Recipient
    algorithm: Algorithm
    encrypted: bytes


@dataclass(frozen=True)
class Agreement:
    """One recipient of a KeyAgreeRecipientInfo with an ephemeral originator key (§6.2.2)."""

    recipient: Recipient
    originator: Algorithm
    point: bytes
    """The originator's public key octets."""
    material: bytes | None
    """ukm."""
    algorithm: Algorithm
    encrypted: bytes


@dataclass(frozen=True)
class Encapsulation:
    """KEMRecipientInfo (RFC 9629 §3)."""

    recipient: Recipient
    kem: Algorithm
    ciphertext: bytes
    derivation: Algorithm
    key_size: int
    material: bytes | None
    wrap: Algorithm
    encrypted: bytes


Entry = Transport | Agreement | Encapsulation


def read_entries(cursor: Cursor) -> tuple[list[Entry], int]:
    """RecipientInfos: ``(entries for certificates, number of all entries)``.

    Password and symmetric-key entries are counted only. Raises CmsError (damaged, too_complex).
    """
    entries: list[Entry] = []
    count = 0
    cursor.enter(der.SET)
    while not cursor.at_end():
        for entry in _read_entry(cursor):
            if (count := count + 1) > RECIPIENT_LIMIT:
                raise CmsError(TOO_COMPLEX)
            if entry is not None:
                entries.append(entry)
    cursor.leave()
    return entries, count


def _read_entry(cursor: Cursor) -> Iterator[Entry | None]:
    tag = cursor.peek()
    if tag == der.SEQUENCE:
        cursor.enter()
        cursor.small_integer()
        recipient = _read_recipient(cursor)
        algorithm = cursor.algorithm()
        encrypted = cursor.octets()
        cursor.leave()
        yield Transport(recipient, algorithm, encrypted)
    elif tag == _EXPLICIT_1:
        yield from _read_agreement(cursor)
    elif tag == der.CONTEXT_CONSTRUCTED | 4:
        yield _read_other(cursor)
    else:
        cursor.skip()
        yield None


def _read_recipient(cursor: Cursor) -> Recipient:
    if cursor.at(der.SEQUENCE):
        cursor.enter()
        issuer, serial = cursor.raw(der.SEQUENCE), cursor.integer()
        cursor.leave()
        return Recipient(issuer, serial, None)
    return Recipient(None, 0, cursor.octets(_ZERO_TAG))


def _read_agreement(cursor: Cursor) -> Iterator[Entry | None]:
    cursor.enter(_EXPLICIT_1)
    cursor.small_integer()
    cursor.enter(_EXPLICIT_0)
    originator, point = None, b""
    if cursor.at(_EXPLICIT_1):  # originatorKey [1] IMPLICIT OriginatorPublicKey
        cursor.enter(_EXPLICIT_1)
        originator = cursor.algorithm()
        point = cursor.value(der.BIT_STRING)[1:]
        cursor.leave()
    else:
        cursor.skip()  # static keys of the sender: RFC 5753 §3.1 is ephemeral-static only
    cursor.leave()
    material = None
    if cursor.at(_EXPLICIT_1):
        cursor.enter(_EXPLICIT_1)
        material = cursor.octets()
        cursor.leave()
    algorithm = cursor.algorithm()
    cursor.enter()
    while not cursor.at_end():
        cursor.enter()
        if cursor.at(_EXPLICIT_0):  # rKeyId [0] IMPLICIT RecipientKeyIdentifier
            cursor.enter(_EXPLICIT_0)
            recipient = Recipient(None, 0, cursor.octets())
            while not cursor.at_end():
                cursor.skip()
            cursor.leave()
        else:
            recipient = _read_recipient(cursor)
        encrypted = cursor.octets()
        cursor.leave()
        if originator is None:
            yield None
        else:
            yield Agreement(recipient, originator, point, material, algorithm, encrypted)
    cursor.leave()
    cursor.leave()


def _read_other(cursor: Cursor) -> Entry | None:
    cursor.enter(der.CONTEXT_CONSTRUCTED | 4)
    if cursor.oid() != oids.ORI_KEM:
        while not cursor.at_end():
            cursor.skip()
        cursor.leave()
        return None
    cursor.enter()
    cursor.small_integer()
    recipient = _read_recipient(cursor)
    kem = cursor.algorithm()
    ciphertext = cursor.octets()
    derivation = cursor.algorithm()
    key_size = cursor.small_integer()
    material = None
    if cursor.at(_EXPLICIT_0):
        cursor.enter(_EXPLICIT_0)
        material = cursor.octets()
        cursor.leave()
    wrap = cursor.algorithm()
    encrypted = cursor.octets()
    cursor.leave()
    cursor.leave()
    return Encapsulation(
        recipient, kem, ciphertext, derivation, key_size, material, wrap, encrypted
    )


# --------------------------------------------------------------------------- opening


@dataclass(frozen=True)
class Way:
    """An entry that one of our keys can open, all its algorithms known."""

    key: DecryptionKey
    entry: Entry
    name: str
    """Key transport in words."""
    weak: bool
    oaep: OaepParameters | None = None
    peer_spki: bytes = b""
    wrap: Algorithm | None = None

    def content_key(self) -> bytes | None:
        """The content key, or None for every kind of failure."""
        try:
            if isinstance(self.entry, Transport):
                return self.key.rsa_decrypt(self.entry.encrypted, oaep=self.oaep)
            if isinstance(self.entry, Agreement):
                return self._agreed(self.entry)
            return self._decapsulated(self.entry)
        except Exception:  # what a key holder raises must not tell anybody anything
            return None

    def _agreed(self, entry: Agreement) -> bytes | None:
        secret = self.key.agree(self.peer_spki)
        if self.wrap is None or not any(secret):  # RFC 8418 §2: all-zero MUST be refused
            return None
        for key in _agreement_keys(entry.algorithm.name, self.wrap, secret, entry.material):
            try:
                return _unwrap(self.wrap.name, key, entry.encrypted)
            except Exception:  # noqa: S112 - the wrap proves itself; the next encoding may fit
                continue
        return None

    def _decapsulated(self, entry: Encapsulation) -> bytes | None:
        if not isinstance(self.key, KemKey):
            return None
        secret = self.key.decapsulate(entry.ciphertext)
        key = _kem_key(secret, entry.wrap.encoded, entry.key_size, entry.material)
        return _unwrap(entry.wrap.name, key, entry.encrypted)


def way_in(entry: Entry, key: DecryptionKey, certificate: Parts) -> Way | None:
    """How ``key`` opens ``entry``; None when it uses something that we do not read."""
    try:
        if isinstance(entry, Transport):
            return _transport_way(entry, key, certificate)
        if isinstance(entry, Agreement):
            return _agreement_way(entry, key, certificate)
        if (
            certificate.key_algorithm == entry.kem.name in (oids.ML_KEM_768, oids.ML_KEM_1024)
            and entry.derivation.name == oids.HKDF_SHA256  # RFC 9936 §2.2: MUST
            and _WRAPS.get(entry.wrap.name) == entry.key_size
        ):
            name = "ML-KEM-768" if entry.kem.name == oids.ML_KEM_768 else "ML-KEM-1024"
            return Way(key, entry, name, weak=False)
    except CmsError:
        pass
    return None


def _transport_way(entry: Transport, key: DecryptionKey, certificate: Parts) -> Way | None:
    if certificate.key_algorithm not in (oids.RSA, oids.RSA_OAEP):
        return None
    public = public_key(certificate.spki) if certificate.key_algorithm == oids.RSA else None
    weak = isinstance(public, RSAPublicKey) and public.key_size < RSA_MINIMUM_BITS
    if entry.algorithm.name == oids.RSA and entry.algorithm.bare:
        return Way(key, entry, "RSA-PKCS1-v1.5", weak)
    if entry.algorithm.name == oids.RSA_OAEP:
        oaep = oaep_parameters(entry.algorithm.parameters)
        return Way(key, entry, f"RSA-OAEP-{oaep.hash.upper()}", weak, oaep)
    return None


def _agreement_way(entry: Agreement, key: DecryptionKey, certificate: Parts) -> Way | None:
    wrap_cursor = Cursor(entry.algorithm.parameters)
    wrap = wrap_cursor.algorithm()
    wrap_cursor.finish()
    if wrap.name not in _WRAPS or not wrap.bare:
        return None
    scheme = entry.algorithm.name
    if scheme not in oids.X963_SCHEMES and scheme not in oids.HKDF_SCHEMES:
        return None
    if certificate.key_algorithm == oids.X25519:
        if entry.originator.name != oids.X25519:
            return None
        name = "X25519"
    elif certificate.key_algorithm == oids.EC_PUBLIC_KEY:
        # RFC 5753 §7.1.2: parameters absent, NULL, or the recipient's curve
        if entry.originator.name != oids.EC_PUBLIC_KEY or not (
            entry.originator.bare or entry.originator.parameters == certificate.key_parameters
        ):
            return None
        name = f"ECDH-{_CURVE_NAMES.get(certificate.key_parameters, 'other curve')}"
    else:
        return None
    algorithm = der.algorithm(certificate.key_algorithm, certificate.key_parameters)
    peer_spki = der.sequence(algorithm, der.bit_string(entry.point))
    weak = wrap.name == oids.CMS_3DES_WRAP
    return Way(key, entry, name, weak, peer_spki=peer_spki, wrap=wrap)


def _agreement_keys(
    scheme: str, wrap: Algorithm, secret: bytes, material: bytes | None
) -> Iterator[bytes]:
    """Key-wrapping keys to try: as the RFCs say, and as peers read them.

    RFC 5753 §7.2 has the wrap's AlgorithmIdentifier in the KDF's input. Some senders write NULL
    parameters there and none in the message, or the other way round.
    """
    size = _WRAPS[wrap.name]
    other = der.algorithm(wrap.name, b"" if wrap.parameters else der.NULL_VALUE)
    for identifier in (wrap.encoded, other):
        info = _shared_info(identifier, size, material)
        if scheme in oids.X963_SCHEMES:
            yield X963KDF(hash_named(oids.X963_SCHEMES[scheme]), size, info).derive(secret)
        else:
            digest = hash_named(oids.HKDF_SCHEMES[scheme])
            # RFC 8418 §2.2: ukm, when there is one, is also the salt
            for salt in {material, None}:
                yield HKDF(digest, size, salt, info).derive(secret)


def _unwrap(algorithm: str, key: bytes, wrapped: bytes) -> bytes:
    """Unwrap a content key. Raises when the wrapping key is another."""
    if algorithm != oids.CMS_3DES_WRAP:
        return aes_key_unwrap(key, wrapped)
    # RFC 3217 §3.2, for reading only
    if len(wrapped) != 40:
        raise ValueError("length")
    reverse = _3des_decrypt(key, _3DES_WRAP_VECTOR, wrapped)[::-1]
    plain = _3des_decrypt(key, reverse[:8], reverse[8:])
    content_key, checksum = plain[:24], plain[24:]
    if hashlib.sha1(content_key, usedforsecurity=False).digest()[:8] != checksum:
        raise ValueError("checksum")
    return content_key


def _3des_decrypt(key: bytes, vector: bytes, data: bytes) -> bytes:
    work = Cipher(TripleDES(key), modes.CBC(vector)).decryptor()
    return work.update(data) + work.finalize()


def _shared_info(identifier: bytes, size: int, material: bytes | None) -> bytes:
    """ECC-CMS-SharedInfo (RFC 5753 §7.2): keyInfo, entityUInfo, length of the key in bits."""
    party = b"" if material is None else der.explicit(0, der.octet_string(material))
    length = der.octet_string((size * 8).to_bytes(4, "big"))
    return der.sequence(identifier, party, der.explicit(2, length))


def _kem_key(secret: bytes, wrap: bytes, size: int, material: bytes | None) -> bytes:
    """RFC 9629 §5, RFC 9936 §2.2: HKDF-SHA256 without salt over CMSORIforKEMOtherInfo."""
    party = b"" if material is None else der.explicit(0, der.octet_string(material))
    info = der.sequence(wrap, der.integer(size), party)
    return HKDF(hashes.SHA256(), size, None, info).derive(secret)


# --------------------------------------------------------------------------- writing

_CURVES: Final = {
    # parameters: (curve, scheme of matching strength (RFC 5753 §8), hash)
    der.oid(oids.P256): ("1.3.132.1.11.1", "sha256"),
    der.oid(oids.P384): ("1.3.132.1.11.2", "sha384"),
    der.oid(oids.P521): ("1.3.132.1.11.3", "sha512"),
}
_CURVE_NAMES: Final = {
    der.oid(oids.P256): "P-256",
    der.oid(oids.P384): "P-384",
    der.oid(oids.P521): "P-521",
}
_HKDF_SCHEME: Final = "1.2.840.113549.1.9.16.3.19"  # RFC 8418 §2.2: HKDF with SHA-256 is a MUST
_WRAP: Final = der.algorithm(oids.AES_256_WRAP)  # RFC 3565 §2.3.2: parameters absent
_WRAP_SIZE: Final = 32  # RFC 8551 §2.7: as long as the content key


@dataclass(frozen=True)
class WrittenEntry:
    encoded: bytes
    version: int
    """Of the entry; decides the version of the envelope (RFC 5652 §6.1)."""


def write_entry(certificate: Parts, key: bytes, oaep: OaepParameters | None) -> WrittenEntry:
    """The RecipientInfo that carries ``key`` to a certificate's holder.

    Raises CmsError (certificate.refused): damaged, weak, or a kind of key that cannot receive.
    """
    public = public_key(certificate.spki)
    try:
        if certificate.key_algorithm == oids.RSA and isinstance(public, RSAPublicKey):
            return WrittenEntry(_write_transport(certificate, public, key, oaep), 0)
        if isinstance(public, ec.EllipticCurvePublicKey) and certificate.key_parameters in _CURVES:
            return WrittenEntry(_write_ecdh(certificate, public, key), 3)
        if isinstance(public, X25519PublicKey):
            return WrittenEntry(_write_x25519(certificate, public, key), 3)
        if isinstance(public, MLKEM768PublicKey | MLKEM1024PublicKey):
            return WrittenEntry(_write_kem(certificate, public, key), 4)
    except ValueError as error:  # a key that the library refuses to work with
        raise CmsError(CERTIFICATE) from error
    raise CmsError(CERTIFICATE)


def _write_transport(
    certificate: Parts, public: RSAPublicKey, key: bytes, oaep: OaepParameters | None
) -> bytes:
    if public.key_size < RSA_MINIMUM_BITS:
        raise CmsError(CERTIFICATE)
    if oaep is None:
        algorithm = der.algorithm(oids.RSA, der.NULL_VALUE)  # RFC 3370 §4.2.1
        encrypted = public.encrypt(key, padding.PKCS1v15())
    else:
        algorithm = der.algorithm(oids.RSA_OAEP, _oaep_encoded(oaep))
        encrypted = public.encrypt(
            key,
            padding.OAEP(
                padding.MGF1(hash_named(oaep.mgf_hash)), hash_named(oaep.hash), oaep.label or None
            ),
        )
    return der.sequence(
        der.integer(0), issuer_and_serial(certificate), algorithm, der.octet_string(encrypted)
    )


def _oaep_encoded(oaep: OaepParameters) -> bytes:
    """RSAES-OAEP-params (RFC 4055 §4.1), defaults left out as DER wants."""
    fields = b""
    if oaep.hash != "sha1":
        fields += der.explicit(0, _hash_identifier(oaep.hash))
    if oaep.mgf_hash != "sha1":
        generator = der.algorithm(oids.MGF1, _hash_identifier(oaep.mgf_hash))
        fields += der.explicit(1, generator)
    if oaep.label:
        source = der.algorithm(oids.P_SPECIFIED, der.octet_string(oaep.label))
        fields += der.explicit(2, source)
    return der.sequence(fields)


def _hash_identifier(name: str) -> bytes:
    if name not in oids.DIGEST_OIDS:
        raise CmsError(UNSUPPORTED)
    return der.algorithm(oids.DIGEST_OIDS[name], der.NULL_VALUE)


def _write_ecdh(certificate: Parts, public: ec.EllipticCurvePublicKey, key: bytes) -> bytes:
    scheme, digest = _CURVES[certificate.key_parameters]
    ephemeral = ec.generate_private_key(public.curve)  # RFC 5753 §3.1: fresh for every message
    secret = ephemeral.exchange(ec.ECDH(), public)
    info = _shared_info(_WRAP, _WRAP_SIZE, None)
    wrapping = X963KDF(hash_named(digest), _WRAP_SIZE, info).derive(secret)
    point = ephemeral.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    originator = der.algorithm(oids.EC_PUBLIC_KEY)
    return _agreement_entry(certificate, originator, point, scheme, aes_key_wrap(wrapping, key))


def _write_x25519(certificate: Parts, public: X25519PublicKey, key: bytes) -> bytes:
    ephemeral = X25519PrivateKey.generate()
    secret = ephemeral.exchange(public)  # refuses the all-zero secret (RFC 8418 §2)
    info = _shared_info(_WRAP, _WRAP_SIZE, None)
    wrapping = HKDF(hashes.SHA256(), _WRAP_SIZE, None, info).derive(secret)
    point = ephemeral.public_key().public_bytes_raw()
    originator = der.algorithm(oids.X25519)  # RFC 8418 §3: parameters absent
    wrapped = aes_key_wrap(wrapping, key)
    return _agreement_entry(certificate, originator, point, _HKDF_SCHEME, wrapped)


def _agreement_entry(
    certificate: Parts, originator: bytes, point: bytes, scheme: str, wrapped: bytes
) -> bytes:
    """KeyAgreeRecipientInfo, [1] IMPLICIT in RecipientInfo (RFC 5652 §6.2.2)."""
    recipient = der.sequence(issuer_and_serial(certificate), der.octet_string(wrapped))
    return der.tlv(
        _EXPLICIT_1,
        der.integer(3),
        der.explicit(0, der.tlv(_EXPLICIT_1, originator, der.bit_string(point))),
        der.algorithm(scheme, _WRAP),
        der.sequence(recipient),
    )


def _write_kem(
    certificate: Parts, public: MLKEM768PublicKey | MLKEM1024PublicKey, key: bytes
) -> bytes:
    """OtherRecipientInfo with KEMRecipientInfo, [4] IMPLICIT (RFC 9629 §3, RFC 9936 §2)."""
    secret, ciphertext = public.encapsulate()
    wrapping = _kem_key(secret, _WRAP, _WRAP_SIZE, None)
    value = der.sequence(
        der.integer(0),
        issuer_and_serial(certificate),
        der.algorithm(certificate.key_algorithm),
        der.octet_string(ciphertext),
        der.algorithm(oids.HKDF_SHA256),
        der.integer(_WRAP_SIZE),
        _WRAP,
        der.octet_string(aes_key_wrap(wrapping, key)),
    )
    return der.tlv(der.CONTEXT_CONSTRUCTED | 4, der.oid(oids.ORI_KEM), value)
