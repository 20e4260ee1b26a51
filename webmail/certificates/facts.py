"""What a certificate says of itself, for lists and look-up; judging it is the agent's work."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from asn1crypto.core import UTF8String
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    NameOID,
)

from webmail.message import addresses

SIZE_LIMIT: Final = 100_000
"""Bytes. A certificate with ML-DSA key and signature has about 8 KB; larger ones are attacks."""

ADDRESS_COUNT_LIMIT: Final = 100
"""Names in one certificate that are looked at."""

_SMTP_UTF8_MAILBOX: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9")  # RFC 9598 §3
_EMAIL_PROTECTION: Final = {
    ExtendedKeyUsageOID.EMAIL_PROTECTION,
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}
_LEVEL_BY_POLICY: Final = {
    # CA/Browser Forum S/MIME BR §7.1.6.1: 2.23.140.1.5.<kind>.<generation>
    "2.23.140.1.5.1.": "V1",
    "2.23.140.1.5.4.": "V2",
    "2.23.140.1.5.2.": "V3",
    "2.23.140.1.5.3.": "V4",
}


class NotACertificate(ValueError):
    """The bytes are no certificate that we could use. Holds no content."""


@dataclass(frozen=True)
class Facts:
    """``addresses`` are in comparing form; times are aware UTC."""

    der: bytes
    sha256: str
    name: str
    organisation: str
    country: str
    subject: str
    issuer: str
    serial: str
    level: str
    key: str
    addresses: tuple[str, ...]
    is_authority: bool
    self_issued: bool
    can_sign: bool
    can_encrypt: bool
    not_before: datetime
    not_after: datetime
    crl_urls: tuple[str, ...]
    issuer_urls: tuple[str, ...]


def address_key(address: str) -> str:
    """The form in which addresses are looked up here: domain as A-label, all in lower case.

    "" for what is no address. RFC 8550 §3 lets local parts compare without case.
    """
    return addresses.normalise(address).lower()


def fingerprint(der: bytes) -> str:
    """SHA-256 over the DER, lower-case hexadecimal."""
    return hashlib.sha256(der).hexdigest()


def from_pem_or_der(data: bytes) -> bytes:
    """The DER of the one certificate in ``data``. Raises NotACertificate."""
    if len(data) > SIZE_LIMIT:
        raise NotACertificate("too large")
    try:
        if b"-----BEGIN" not in data:
            return x509.load_der_x509_certificate(data).public_bytes(Encoding.DER)
        found = x509.load_pem_x509_certificates(data)
    except Exception as error:  # the library has several exceptions for unreadable input
        raise NotACertificate("unreadable") from error
    if len(found) != 1:
        raise NotACertificate("more than one")
    return found[0].public_bytes(Encoding.DER)


def read(der: bytes) -> Facts:
    """Raises NotACertificate when it cannot be read in full."""
    if len(der) > SIZE_LIMIT:
        raise NotACertificate("too large")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            return _read(x509.load_der_x509_certificate(der), der)
    except NotACertificate:
        raise
    except Exception as error:  # ditto; a field that cannot be parsed makes the whole unusable
        raise NotACertificate("unreadable") from error


def _read(certificate: x509.Certificate, der: bytes) -> Facts:
    extensions = {extension.oid: extension.value for extension in certificate.extensions}
    constraints = extensions.get(x509.BasicConstraints.oid)
    is_authority = isinstance(constraints, x509.BasicConstraints) and constraints.ca
    for_mail = _for_mail(extensions)
    common_name = _first(certificate.subject, NameOID.COMMON_NAME)
    return Facts(
        der=der,
        sha256=fingerprint(der),
        name="" if "@" in common_name else common_name[:200],
        organisation=_first(certificate.subject, NameOID.ORGANIZATION_NAME)[:200],
        country=_first(certificate.subject, NameOID.COUNTRY_NAME)[:2],
        subject=certificate.subject.rfc4514_string()[:400],
        issuer=certificate.issuer.rfc4514_string()[:400],
        serial=f"{certificate.serial_number:x}"[:64],
        level=_level(extensions),
        key=_key_words(certificate)[:40],
        addresses=_addresses(certificate, extensions),
        is_authority=is_authority,
        self_issued=certificate.subject == certificate.issuer,
        can_sign=not is_authority and for_mail and _allows_signing(extensions),
        can_encrypt=not is_authority and for_mail and _allows_encryption(certificate, extensions),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        crl_urls=_crl_urls(extensions),
        issuer_urls=_issuer_urls(extensions),
    )


_Extensions = dict[x509.ObjectIdentifier, x509.ExtensionType]


def _first(name: x509.Name, oid: x509.ObjectIdentifier) -> str:
    values = name.get_attributes_for_oid(oid)
    text = values[0].value if values else ""
    # Control characters in a name would disturb the page it is shown on.
    return "".join(c for c in str(text) if c.isprintable()) if isinstance(text, str) else ""


def _level(extensions: _Extensions) -> str:
    policies = extensions.get(x509.CertificatePolicies.oid)
    if isinstance(policies, x509.CertificatePolicies):
        for policy in policies:
            for prefix, level in _LEVEL_BY_POLICY.items():
                if policy.policy_identifier.dotted_string.startswith(prefix):
                    return level
    return ""


def _key_words(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    return type(key).__name__.removesuffix("PublicKey").lstrip("_")


def _addresses(certificate: x509.Certificate, extensions: _Extensions) -> tuple[str, ...]:
    found: list[str] = []
    names = extensions.get(x509.SubjectAlternativeName.oid)
    if isinstance(names, x509.SubjectAlternativeName):
        for name in names:
            if isinstance(name, x509.RFC822Name):
                found.append(name.value)
            elif isinstance(name, x509.OtherName) and name.type_id == _SMTP_UTF8_MAILBOX:
                found.append(str(UTF8String.load(name.value, strict=True).native))
    if not found:
        # RFC 8550 §3: the legacy place, read only where the proper one is empty.
        for attribute in certificate.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
            found.append(str(attribute.value))
    keys = (address_key(text) for text in found[:ADDRESS_COUNT_LIMIT] if "\0" not in text)
    return tuple(dict.fromkeys(key for key in keys if key))


def _for_mail(extensions: _Extensions) -> bool:
    usage = extensions.get(x509.ExtendedKeyUsage.oid)
    return not isinstance(usage, x509.ExtendedKeyUsage) or bool(_EMAIL_PROTECTION & set(usage))


def _allows_signing(extensions: _Extensions) -> bool:
    usage = extensions.get(x509.KeyUsage.oid)
    if not isinstance(usage, x509.KeyUsage):
        return True
    return usage.digital_signature or usage.content_commitment  # RFC 8550 §4.4.2


def _allows_encryption(certificate: x509.Certificate, extensions: _Extensions) -> bool:
    kind = type(certificate.public_key()).__name__
    if (
        "Ed25519" in kind
        or "Ed448" in kind
        or "MLDSA" in kind
        or "DSA" in kind.split("PublicKey")[0]
    ):
        return False
    usage = extensions.get(x509.KeyUsage.oid)
    if not isinstance(usage, x509.KeyUsage):
        return True
    agrees = isinstance(certificate.public_key(), ec.EllipticCurvePublicKey) or "X25519" in kind
    # RFC 8551 §4: keyEncipherment for key transport, keyAgreement for key agreement.
    return usage.key_agreement if agrees or "X448" in kind else usage.key_encipherment


def _crl_urls(extensions: _Extensions) -> tuple[str, ...]:
    points = extensions.get(x509.CRLDistributionPoints.oid)
    found: list[str] = []
    if isinstance(points, x509.CRLDistributionPoints):
        for point in points:
            for name in point.full_name or []:
                if isinstance(name, x509.UniformResourceIdentifier):
                    found.append(name.value)
    return tuple(found[:8])


def _issuer_urls(extensions: _Extensions) -> tuple[str, ...]:
    access = extensions.get(x509.AuthorityInformationAccess.oid)
    found: list[str] = []
    if isinstance(access, x509.AuthorityInformationAccess):
        for description in access:
            if description.access_method == AuthorityInformationAccessOID.CA_ISSUERS:
                location = description.access_location
                if isinstance(location, x509.UniformResourceIdentifier):
                    found.append(location.value)
    return tuple(found[:4])
