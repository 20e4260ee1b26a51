"""Certificates as rows: what is read from a DER once, when it comes from the authority."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

from webmail.authority.models import AuthorityCertificate, IssuedCertificate, fingerprint_of

if TYPE_CHECKING:
    from webmail.accounts.models import User

SUBJECT_LIMIT = 400


def serial_of(certificate: x509.Certificate) -> str:
    """Lower-case hexadecimal without leading zeros, as rows and revocation lists name it."""
    return f"{certificate.serial_number:x}"


def keep_authority(
    der: bytes, *, kind: str, name: str, level: str = "", issuer: AuthorityCertificate | None = None
) -> AuthorityCertificate:
    """The row of one of the authority's own certificates; made when missing.

    Raises LookupError when another certificate has that name: the keys were replaced.
    """
    certificate = x509.load_der_x509_certificate(der)
    row, _made = AuthorityCertificate.objects.get_or_create(
        name=name,
        defaults={
            "kind": kind,
            "level": level,
            "subject": certificate.subject.rfc4514_string()[:SUBJECT_LIMIT],
            "fingerprint": fingerprint_of(der),
            "der": der,
            "not_before": certificate.not_valid_before_utc,
            "not_after": certificate.not_valid_after_utc,
            "issuer": issuer,
            "serial": serial_of(certificate),
        },
    )
    if row.fingerprint != fingerprint_of(der):
        raise LookupError(name)
    return row


def keep_issued(
    der: bytes,
    *,
    issuer: AuthorityCertificate,
    user: User,
    purpose: str,
    level: str,
    addresses: list[str],
) -> IssuedCertificate:
    """The row of a certificate just issued to ``user``."""
    certificate = x509.load_der_x509_certificate(der)
    row = IssuedCertificate.objects.create(
        user=user,
        issuer=issuer,
        serial=serial_of(certificate),
        fingerprint=fingerprint_of(der),
        purpose=purpose,
        level=level,
        address=addresses[0],
        addresses=addresses,
        der=der,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )
    return row
