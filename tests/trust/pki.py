"""A public key infrastructure in miniature: authorities, people and their defects, made on demand.

Keys are P-256 so that hundreds of certificates cost nothing; openssl judges the same files.
"""

from __future__ import annotations

import datetime as dt
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

NOW = dt.datetime(2026, 6, 1, 12, 0, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
EMAIL = ExtendedKeyUsageOID.EMAIL_PROTECTION
SERVER = ExtendedKeyUsageOID.SERVER_AUTH
DER = serialization.Encoding.DER
UNSET: Any = object()


def ms(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def usage(**on: bool) -> x509.KeyUsage:
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    ).split()
    return x509.KeyUsage(**{name: on.get(name, False) for name in names})


def name(common_name: str, **more: str) -> x509.Name:
    oids = {
        "organisation": NameOID.ORGANIZATION_NAME,
        "country": NameOID.COUNTRY_NAME,
        "email": NameOID.EMAIL_ADDRESS,
        "given": NameOID.GIVEN_NAME,
        "surname": NameOID.SURNAME,
    }
    attributes = [x509.NameAttribute(oids[key], value) for key, value in more.items()]
    if common_name:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(attributes)


def smtp_utf8(address: str) -> x509.OtherName:
    raw = address.encode()
    return x509.OtherName(ObjectIdentifier("1.3.6.1.5.5.7.8.9"), bytes([0x0C, len(raw)]) + raw)


@dataclass
class Entity:
    """A certificate with its key; an authority may issue with it."""

    key: Any
    certificate: x509.Certificate
    revoked: list[x509.RevokedCertificate] = field(default_factory=list)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(DER)

    def issue(
        self,
        subject: x509.Name | str,
        *,
        key: Any = None,
        ca: bool = False,
        path_length: int | None = None,
        basic: bool = True,
        key_usage: x509.KeyUsage | None = UNSET,
        extended: Sequence[ObjectIdentifier] | None = UNSET,
        extended_critical: bool = False,
        alternative: Sequence[x509.GeneralName] = (),
        policies: Sequence[str] = (),
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
        not_before: dt.datetime = NOW - 100 * DAY,
        not_after: dt.datetime = NOW + 100 * DAY,
        digest: hashes.HashAlgorithm | None = None,
        self_signed: bool = False,
        crl_url: str = "",
    ) -> Entity:
        key = key or new_key()
        subject = name(subject) if isinstance(subject, str) else subject
        issuer_name = subject if self_signed else self.certificate.subject
        issuer_key = key if self_signed else self.key
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before)
            .not_valid_after(not_after)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False
            )
        )
        if basic:
            builder = builder.add_extension(x509.BasicConstraints(ca, path_length), True)
        if key_usage is UNSET:
            key_usage = (
                usage(key_cert_sign=True, crl_sign=True) if ca else usage(digital_signature=True)
            )
        if key_usage is not None:
            builder = builder.add_extension(key_usage, True)
        if extended is UNSET:
            extended = None if ca else [EMAIL]
        if extended is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), extended_critical)
        if alternative:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternative), False)
        if policies:
            builder = builder.add_extension(
                x509.CertificatePolicies(
                    [x509.PolicyInformation(ObjectIdentifier(oid), None) for oid in policies]
                ),
                False,
            )
        if crl_url:
            builder = builder.add_extension(
                x509.CRLDistributionPoints(
                    [
                        x509.DistributionPoint(
                            [x509.UniformResourceIdentifier(crl_url)], None, None, None
                        )
                    ]
                ),
                False,
            )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        signature_digest = digest or (None if _is_edwards(issuer_key) else hashes.SHA256())
        return Entity(key, builder.sign(issuer_key, signature_digest))

    def person(self, address: str = "bob@example.test", **options: Any) -> Entity:
        options.setdefault("alternative", [x509.RFC822Name(address)])
        subject = options.pop("subject", "Bob Builder")
        return self.issue(subject, **options)

    def revoke(
        self,
        entity: Entity,
        at: dt.datetime,
        reason: x509.ReasonFlags | None = None,
        invalid_since: dt.datetime | None = None,
    ) -> None:
        builder = (
            x509.RevokedCertificateBuilder()
            .serial_number(entity.certificate.serial_number)
            .revocation_date(at)
        )
        if reason is not None:
            builder = builder.add_extension(x509.CRLReason(reason), False)
        if invalid_since is not None:
            builder = builder.add_extension(x509.InvalidityDate(invalid_since), False)
        self.revoked.append(builder.build())

    def crl(
        self,
        *,
        at: dt.datetime = NOW - DAY,
        until: dt.datetime | None = None,
        key: Any = None,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
        digest: hashes.HashAlgorithm | None = None,
    ) -> bytes:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(at)
            .next_update(until or at + 7 * DAY)
            .add_extension(x509.CRLNumber(1), False)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        for entry in self.revoked:
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(key or self.key, digest or hashes.SHA256()).public_bytes(DER)

    def ocsp(
        self,
        entity: Entity,
        status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
        *,
        at: dt.datetime = NOW - DAY,
        until: dt.datetime | None = None,
        revoked_at: dt.datetime | None = None,
        responder: Entity | None = None,
        issuer: Entity | None = None,
    ) -> bytes:
        signer = responder or self
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=entity.certificate,
            issuer=(issuer or self).certificate,
            algorithm=hashes.SHA256(),
            cert_status=status,
            this_update=at,
            next_update=until or at + 7 * DAY,
            revocation_time=revoked_at,
            revocation_reason=None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
        if responder is not None:
            builder = builder.certificates([responder.certificate])
        return builder.sign(signer.key, hashes.SHA256()).public_bytes(DER)


def _is_edwards(key: Any) -> bool:
    return type(key).__name__.startswith(("Ed25519", "Ed448"))


def new_root(common_name: str = "Root", **options: Any) -> Entity:
    """A self-signed authority, valid long before and after everything else."""
    key = options.pop("key", None) or new_key()
    issuer = Entity(key, None)  # type: ignore[arg-type]
    options.setdefault("not_before", NOW - 2000 * DAY)
    options.setdefault("not_after", NOW + 2000 * DAY)
    return issuer.issue(common_name, key=key, ca=True, self_signed=True, **options)


def new_intermediate(root: Entity, common_name: str = "Issuing", **options: Any) -> Entity:
    options.setdefault("not_before", NOW - 1000 * DAY)
    options.setdefault("not_after", NOW + 1000 * DAY)
    return root.issue(common_name, ca=True, **options)


# --------------------------------------------------------------------------- the oracle


def _pem(*ders: bytes) -> bytes:
    return b"".join(
        x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM) for der in ders
    )


def openssl_verify(
    folder: Path,
    leaf: bytes,
    *,
    intermediates: Sequence[bytes] = (),
    anchors: Sequence[bytes],
    at: dt.datetime = NOW,
    purpose: str = "smimesign",
    crls: Sequence[bytes] = (),
    arguments: Sequence[str] = (),
) -> tuple[bool, str]:
    """What ``openssl verify`` says: ``(accepted, its words)``."""
    (folder / "leaf.pem").write_bytes(_pem(leaf))
    (folder / "anchors.pem").write_bytes(_pem(*anchors))
    command = [
        "openssl", "verify", "-purpose", purpose, "-attime", str(int(at.timestamp())),
        "-auth_level", "2", "-CAfile", str(folder / "anchors.pem"), *arguments,
    ]  # fmt: skip
    if intermediates:
        (folder / "untrusted.pem").write_bytes(_pem(*intermediates))
        command += ["-untrusted", str(folder / "untrusted.pem")]
    if crls:
        (folder / "crls.pem").write_bytes(
            b"".join(
                x509.load_der_x509_crl(crl).public_bytes(serialization.Encoding.PEM) for crl in crls
            )
        )
        command += ["-crl_check", "-CRLfile", str(folder / "crls.pem")]
    done = subprocess.run(
        [*command, str(folder / "leaf.pem")], capture_output=True, text=True, check=False
    )
    return done.returncode == 0, done.stdout + done.stderr


def signed_with_sha1(entity: Entity, issuer: Entity) -> Entity:
    """The same certificate under sha1WithRSAEncryption: cryptography refuses to sign so."""
    sha256, sha1 = (bytes.fromhex(f"06092a864886f70d0101{last}0500") for last in ("0b", "05"))
    tbs = entity.certificate.tbs_certificate_bytes.replace(sha256, sha1)
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / "ca.key"
        key.write_bytes(
            issuer.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        signature = subprocess.run(
            ["openssl", "dgst", "-sha1", "-sign", str(key)],
            input=tbs,
            capture_output=True,
            check=True,
        ).stdout
    bits = b"\x00" + signature
    content = tbs + b"\x30" + bytes([len(sha1)]) + sha1
    content += b"\x03\x82" + len(bits).to_bytes(2, "big") + bits
    der = b"\x30\x82" + len(content).to_bytes(2, "big") + content
    return Entity(entity.key, x509.load_der_x509_certificate(der))
