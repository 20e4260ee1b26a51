"""Who a certificate speaks of: addresses, names and level, read from the certificate alone.

The From display name plays no part here, and nothing here says that the certificate is to be
believed: that is the path's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from crypto_agent.cms.facts import Fact, failed, passed, unknown
from crypto_agent.trust.addresses import (
    AddressError,
    Match,
    canonical_address,
    holds_control,
    match_addresses,
)
from crypto_agent.trust.certificate import Certificate, PathError, printable
from crypto_agent.trust.constraints import smtp_utf8_mailbox
from crypto_agent.trust.levels import level_of, level_of_policy
from crypto_agent.trust.path import Path, milliseconds
from crypto_agent.trust.revocation import source_urls
from crypto_agent.trust.strength import key_name

ADDRESSES_LIMIT: Final = 100
"""Addresses of one certificate that are looked at; mailing robots have a dozen."""


@dataclass(frozen=True)
class Addresses:
    """Mail addresses of a certificate."""

    vouched: tuple[str, ...]
    """rfc822Name and SmtpUTF8Mailbox of the subjectAltName, in comparable form."""
    subject_only: tuple[str, ...]
    """emailAddress of the subject that is not among them: an old place, with no rules for it."""


def check_names(certificate: Certificate) -> None:
    """No name carries NUL, CR, LF or another control character.

    "alice@example.test\\0.mallory.test" is one address to a C program and another one to us. Raises
    PathError (``certificate.name_injection``).
    """
    texts: list[str] = []
    for attribute in certificate.parsed.subject:
        if isinstance(attribute.value, str):
            texts.append(attribute.value)
    found = certificate.extension(x509.SubjectAlternativeName)
    for name in found or ():
        if isinstance(name, x509.OtherName):
            texts.append(smtp_utf8_mailbox(name) or "")
        elif isinstance(name.value, str):
            texts.append(name.value)
    if any(holds_control(text) for text in texts):
        raise PathError("certificate.name_injection", certificate.named())


def addresses_of(certificate: Certificate) -> Addresses:
    """Malformed ones are left out. Raises PathError (``certificate.damaged``)."""
    found = certificate.extension(x509.SubjectAlternativeName)
    vouched: dict[str, None] = {}
    for name in found or ():
        text: str | None = None
        if isinstance(name, x509.RFC822Name):
            text = name.value
        elif isinstance(name, x509.OtherName):
            # RFC 9598 §3: for non-ASCII local parts only, or two forms of one address would exist
            text = smtp_utf8_mailbox(name)
            if text is not None and text.isascii():
                text = None
        _take(vouched, text)
    subject_only: dict[str, None] = {}
    for attribute in certificate.parsed.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
        _take(subject_only, str(attribute.value))
    return Addresses(
        tuple(vouched), tuple(address for address in subject_only if address not in vouched)
    )


def _take(found: dict[str, None], text: str | None) -> None:
    if text is None or len(found) >= ADDRESSES_LIMIT:
        return
    try:
        found[canonical_address(text)] = None
    except AddressError:
        return


def match_address(certificate: Certificate, address: str) -> Fact:
    """Whether ``address`` belongs to the certificate (RFC 8550 §3).

    passed ``address.match`` or ``address.match_case`` (letters of the local part differ in case;
    ``params["certificate"]`` names the certified spelling); unknown ``address.subject_only`` or
    ``address.none_in_certificate``; failed ``address.mismatch``.
    """
    addresses = addresses_of(certificate)
    spelling = ""
    for candidate in addresses.vouched:
        match = match_addresses(candidate, address)
        if match is Match.EXACT:
            return passed("address.match", address=candidate)
        if match is Match.LOCAL_CASE:
            spelling = candidate
    if spelling:
        return passed("address.match_case", address=address, certificate=spelling)
    if any(match_addresses(one, address) is not Match.NONE for one in addresses.subject_only):
        # CAs check the alternative name; the subject's emailAddress has no such promise
        return unknown("address.subject_only", address=address)
    if not addresses.vouched and not addresses.subject_only:
        return unknown("address.none_in_certificate", address=address)
    known = ", ".join((addresses.vouched or addresses.subject_only)[:5])
    return failed("address.mismatch", address=address, certificate=known)


# --------------------------------------------------------------------------- names and level


@dataclass(frozen=True)
class Identity:
    """What the certificate says of its holder; empty where it says nothing."""

    name: str
    organisation: str
    country: str
    addresses: tuple[str, ...]
    level: str


def _first(subject: x509.Name, oid: x509.ObjectIdentifier) -> str:
    for attribute in subject.get_attributes_for_oid(oid):
        if isinstance(attribute.value, str) and attribute.value.strip():
            return printable(attribute.value.strip())
    return ""


def _person(subject: x509.Name, level: str, *, known_policy: bool) -> str:
    if level == "V3" or (level == "V1" and known_policy):
        return ""  # these levels check no person: whatever the common name says is no name
    given, surname = _first(subject, NameOID.GIVEN_NAME), _first(subject, NameOID.SURNAME)
    if given and surname:
        return f"{given} {surname}"
    name = _first(subject, NameOID.PSEUDONYM) or _first(subject, NameOID.COMMON_NAME)
    return "" if "@" in name else name  # an address as common name is not a person


def identify(certificate: Certificate, path: Path | None) -> Identity:
    """Names, addresses and level. Without a trusted ``path`` there is no level (empty).

    Only policies which every CA on the path allows count: a CA for mailboxes cannot make its
    customers more than that by writing another policy into their certificates.
    """
    policies = path.policies if path is not None else frozenset(certificate.policies)
    level = level_of(policies)
    known_policy = any(level_of_policy(policy) for policy in policies)
    subject = certificate.parsed.subject
    addresses = addresses_of(certificate)
    organisation = _first(subject, NameOID.ORGANIZATION_NAME)
    if level == "V2" or (level == "V1" and known_policy):
        organisation = ""  # nobody checked one
    return Identity(
        name=_person(subject, level, known_policy=known_policy),
        organisation=organisation,
        country=_first(subject, NameOID.COUNTRY_NAME)[:2],
        addresses=addresses.vouched or addresses.subject_only,
        level=level if path is not None else "",
    )


def describe(certificate: Certificate, path: Path | None) -> dict[str, Any]:
    """The ``signer`` of a verdict, as plain values; see ``docs/agent-protocol.md``.

    Raises PathError (``certificate.damaged``).
    """
    identity = identify(certificate, path)
    parsed = certificate.parsed
    try:
        key = key_name(certificate.public_key)
    except PathError:
        key = ""
    chain = path.certificates[1:] if path is not None else ()
    urls: dict[str, None] = {}
    for one in (certificate, *chain):
        urls.update(dict.fromkeys(source_urls(one)))
    return {
        "name": identity.name,
        "organisation": identity.organisation,
        "country": identity.country,
        "addresses": list(identity.addresses),
        "level": identity.level,
        "fingerprint": certificate.fingerprint,
        "issuer": certificate.issuer_display,
        "serial": certificate.serial,
        "not_before": milliseconds(parsed.not_valid_before_utc),
        "not_after": milliseconds(parsed.not_valid_after_utc),
        "der": certificate.der,
        "chain": [one.der for one in chain],
        "key": key,
        "crl_urls": list(urls),
    }
