"""Real keys and certificates for the cast, implementing the engine's key protocols."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import (
    ec,
    ed25519,
    mldsa,
    mlkem,
    padding,
    rsa,
    x25519,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from crypto_agent.cms import keys
from crypto_agent.cms.keys import OaepParameters
from crypto_agent.cms.signature_check import hash_named

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
END = dt.datetime(2036, 1, 1, tzinfo=dt.UTC)
NOW_MS = 1_790_000_000_000
"""A moment within every certificate's life."""


@dataclass(frozen=True)
class Person:
    """A private key with its certificate: signs, decrypts, agrees and decapsulates."""

    name: str
    private: Any = field(repr=False)
    certificate: bytes = field(repr=False)
    chain: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def key_id(self) -> str:
        return self.name.encode().hex()

    def sign(self, data: bytes, *, scheme: str) -> bytes:
        if scheme == keys.RSA_PKCS1V15_SHA256:
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        if scheme == keys.RSA_PSS_SHA256:
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
            return self.private.sign(data, pss, hashes.SHA256())
        if scheme.startswith("ecdsa-"):
            return self.private.sign(data, ec.ECDSA(hash_named(scheme.removeprefix("ecdsa-"))))
        assert scheme == keys.ED25519
        return self.private.sign(data)

    def rsa_decrypt(self, encrypted: bytes, *, oaep: OaepParameters | None) -> bytes:
        if oaep is None:
            return self.private.decrypt(encrypted, padding.PKCS1v15())
        generator = padding.MGF1(hash_named(oaep.mgf_hash))
        return self.private.decrypt(
            encrypted, padding.OAEP(generator, hash_named(oaep.hash), oaep.label or None)
        )

    def agree(self, peer_spki: bytes) -> bytes:
        peer = load_der_public_key(peer_spki)
        if isinstance(self.private, x25519.X25519PrivateKey):
            return self.private.exchange(peer)
        return self.private.exchange(ec.ECDH(), peer)

    def decapsulate(self, ciphertext: bytes) -> bytes:
        return self.private.decapsulate(ciphertext)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """``(certificate, key)`` as PEM files for foreign programs."""
        certificate, key = folder / f"{self.name}.crt", folder / f"{self.name}.key"
        parsed = x509.load_der_x509_certificate(self.certificate)
        certificate.write_bytes(parsed.public_bytes(Encoding.PEM))
        key.write_bytes(
            self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        return certificate, key


@cache
def private_key(kind: str, name: str) -> Any:
    """A key of its own for every name; made once per test run."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:]))
    if kind.startswith("p"):
        curve = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1}[kind]
        return ec.generate_private_key(curve())
    return {
        "ed25519": ed25519.Ed25519PrivateKey,
        "x25519": x25519.X25519PrivateKey,
        "ml-dsa-65": mldsa.MLDSA65PrivateKey,
        "ml-kem-768": mlkem.MLKEM768PrivateKey,
        "ml-kem-1024": mlkem.MLKEM1024PrivateKey,
    }[kind].generate()


def _names(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Acme Example"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


@cache
def root() -> tuple[Any, x509.Certificate]:
    key = private_key("rsa2048", "root")
    name = _names("Acme Root")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(START)
        .not_valid_after(END)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def root_der() -> bytes:
    return root()[1].public_bytes(Encoding.DER)


def _usage(**wanted: bool) -> x509.KeyUsage:
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: wanted.get(name, False) for name in names.split()})


@cache
def person(
    name: str,
    kind: str = "rsa2048",
    *,
    purpose: str = "mail",
    key_identifier: bool = True,
    serial: int = 0,
    key_usage: bool = True,
) -> Person:
    """Somebody with a key of ``kind``, certified by the root. ``purpose``: mail or timestamp."""
    key = private_key(kind, name)
    root_key, root_certificate = root()
    usage = ExtendedKeyUsageOID.EMAIL_PROTECTION
    if purpose == "timestamp":
        usage = ExtendedKeyUsageOID.TIME_STAMPING
    builder = (
        x509.CertificateBuilder()
        .subject_name(_names(name))
        .issuer_name(root_certificate.subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(START)
        .not_valid_after(END)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=purpose == "timestamp")
        .add_extension(
            x509.SubjectAlternativeName([x509.RFC822Name(f"{name}@acme.example")]), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()),
            critical=False,
        )
    )
    if key_usage:
        usages = _usage(
            digital_signature=not kind.startswith(("x25519", "ml-kem")),
            key_encipherment=kind.startswith(("rsa", "ml-kem")) and purpose == "mail",
            key_agreement=kind in ("p256", "p384", "p521", "x25519") and purpose == "mail",
        )
        builder = builder.add_extension(usages, critical=True)
    if key_identifier:
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
    certificate = builder.sign(root_key, hashes.SHA256())
    return Person(name, key, certificate.public_bytes(Encoding.DER), (root_der(),))
