"""A certificate as read from the wire: each part parsed at most once, damage reported by code.

Nothing here is trusted; :mod:`crypto_agent.trust.path` decides that.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from crypto_agent.trust import der as tlv

CERTIFICATE_LIMIT: Final = 100_000
"""Octets. ML-DSA-87 with a long chain of names stays below 15 KB; megabytes are an attack."""

SMTP_UTF8_MAILBOX: Final = "1.3.6.1.5.5.7.8.9"
NO_REV_AVAIL: Final = "2.5.29.56"

E = TypeVar("E", bound=x509.ExtensionType)


class PathError(Exception):
    """Why a certificate or path is not accepted. ``code`` is one of ``protocol.FACT_CODES``."""

    def __init__(self, code: str, params: dict[str, Any] | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.params: dict[str, Any] = params or {}


class Certificate:
    """One X.509 certificate. Raises PathError (``certificate.damaged``) when it cannot be one."""

    def __init__(self, der: bytes) -> None:
        if not isinstance(der, bytes) or len(der) > CERTIFICATE_LIMIT:
            raise PathError("certificate.damaged")
        try:
            self.issuer_der, self.subject_der, self.spki_der, agree = tlv.certificate_parts(der)
        except (tlv.DerError, IndexError) as error:
            raise PathError("certificate.damaged") from error
        if not agree:
            raise PathError("certificate.damaged")
        self.der = der
        self.issuer_name = tlv.folded(self.issuer_der)
        self.subject_name = tlv.folded(self.subject_der)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the DER, lower-case hexadecimal."""
        return hashlib.sha256(self.der).hexdigest()

    @cached_property
    def parsed(self) -> x509.Certificate:
        try:
            return x509.load_der_x509_certificate(self.der)
        except Exception as error:  # pyca raises several kinds for damaged structures
            raise PathError("certificate.damaged") from error

    @cached_property
    def public_key(self) -> Any:
        """pyca's key object. PathError: damaged (off-curve points included) or unknown kind."""
        parsed = self.parsed
        try:
            return parsed.public_key()
        except UnsupportedAlgorithm as error:
            raise PathError("chain.algorithm_unknown", self.named()) from error
        except Exception as error:
            raise PathError("certificate.damaged") from error

    @cached_property
    def extensions(self) -> x509.Extensions:
        parsed = self.parsed
        try:
            return parsed.extensions
        except Exception as error:  # duplicates, unparsable values
            raise PathError("certificate.damaged", self.named()) from error

    def extension(self, kind: type[E]) -> E | None:
        found = self.find(kind)
        return None if found is None else found.value

    def find(self, kind: type[E]) -> x509.Extension[E] | None:
        """The extension with its criticality, or None."""
        try:
            return self.extensions.get_extension_for_class(kind)
        except x509.ExtensionNotFound:
            return None

    def has_extension(self, oid: str) -> bool:
        return any(extension.oid.dotted_string == oid for extension in self.extensions)

    @cached_property
    def self_issued(self) -> bool:
        return self.issuer_name == self.subject_name

    @cached_property
    def serial(self) -> str:
        return f"{self.parsed.serial_number:x}"

    @cached_property
    def authority_key(self) -> bytes | None:
        found = self.extension(x509.AuthorityKeyIdentifier)
        return None if found is None else found.key_identifier

    @cached_property
    def subject_key(self) -> bytes | None:
        found = self.extension(x509.SubjectKeyIdentifier)
        return None if found is None else found.digest

    @cached_property
    def policies(self) -> tuple[str, ...]:
        found = self.extension(x509.CertificatePolicies)
        return () if found is None else tuple(p.policy_identifier.dotted_string for p in found)

    def named(self, **more: Any) -> dict[str, Any]:
        """Parameters of a reason: which certificate is meant."""
        return {"certificate": self.display, **more}

    @cached_property
    def display(self) -> str:
        """The subject for people: common name, else organisation, else all of it."""
        try:
            return display_name(self.parsed.subject)
        except Exception:  # a damaged name must not hide the reason it is shown with
            return ""

    @cached_property
    def issuer_display(self) -> str:
        try:
            return display_name(self.parsed.issuer)
        except Exception:
            return ""


def printable(text: str, *, limit: int = 200) -> str:
    """Text of a stranger, fit for one line: no control or direction characters, limited."""
    cleaned = "".join(c for c in text if c.isprintable())
    return cleaned[:limit]


def display_name(name: x509.Name) -> str:
    for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in name.get_attributes_for_oid(oid):
            if isinstance(attribute.value, str) and attribute.value.strip():
                return printable(attribute.value)
    return printable(name.rfc4514_string())
