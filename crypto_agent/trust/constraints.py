"""Name constraints (RFC 5280 §4.2.1.10) over the names of a certificate.

Mail addresses in every place they can stand (rfc822Name, SmtpUTF8Mailbox, emailAddress of the
subject), directory names, host names, URIs and IP addresses. A kind of name that a constraint
mentions and we cannot compare is refused where the certificate carries such a name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from crypto_agent.trust.addresses import AddressError, canonical_domain
from crypto_agent.trust.certificate import SMTP_UTF8_MAILBOX, Certificate, PathError

COMPARISONS_LIMIT: Final = 20_000
"""Names times constraints along one path; more is an attack on our time."""

_COMPARABLE: Final = (
    x509.RFC822Name,
    x509.DirectoryName,
    x509.DNSName,
    x509.UniformResourceIdentifier,
    x509.IPAddress,
)


def smtp_utf8_mailbox(name: x509.OtherName) -> str | None:
    """The address of an SmtpUTF8Mailbox (RFC 9598 §3), or None for other otherNames.

    Raises PathError (``certificate.damaged``) for a broken one.
    """
    if name.type_id.dotted_string != SMTP_UTF8_MAILBOX:
        return None
    value = name.value
    try:
        # UTF8String; an address never needs more than one length octet beyond the short form
        if value[0] != 0x0C:
            raise ValueError
        if value[1] < 0x80:
            start, length = 2, value[1]
        elif value[1] == 0x81:
            start, length = 3, value[2]
        else:
            raise ValueError
        if start + length != len(value):
            raise ValueError
        return value[start:].decode("utf-8")
    except (ValueError, IndexError) as error:
        raise PathError("certificate.damaged") from error


def names_of(certificate: Certificate) -> list[x509.GeneralName]:
    """Every name to which constraints apply.

    The emailAddress of the subject counts always, not only where there is no rfc822Name as RFC 5280
    asks: programs exist that read it first.
    """
    found = certificate.extension(x509.SubjectAlternativeName)
    names: list[x509.GeneralName] = [] if found is None else list(found)
    subject = certificate.parsed.subject
    if list(subject):
        names.append(x509.DirectoryName(subject))
    for attribute in subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
        try:
            names.append(x509.RFC822Name(str(attribute.value)))
        except ValueError as error:
            raise PathError("chain.name_constraint", certificate.named()) from error
    return names


def _rfc822_within(address: str, base: str, *, ascii_local: bool = True) -> bool:
    """``base`` is a mailbox, a host, or a domain with a leading dot (RFC 5280 §4.2.1.10)."""
    local, _, host = address.rpartition("@")
    try:
        domain = canonical_domain(host)
        if "@" in base:
            # RFC 9598 §6: a mailbox constraint is ASCII, it never means an SmtpUTF8Mailbox
            base_local, _, base_host = base.rpartition("@")
            return ascii_local and local == base_local and domain == canonical_domain(base_host)
        if base.startswith("."):
            return domain.endswith("." + canonical_domain(base[1:]))
        return domain == canonical_domain(base) if base else True
    except AddressError as error:
        raise PathError("chain.name_constraint") from error


def _host_within(host: str, base: str) -> bool:
    host, base = host.lower().rstrip("."), base.lower().rstrip(".")
    if base.startswith("."):
        return host.endswith(base)
    return not base or host == base or host.endswith("." + base)


def _uri_within(uri: str, base: str) -> bool:
    host = urlsplit(uri).hostname
    if not host:
        raise PathError("chain.name_constraint")
    if base.startswith("."):
        return host.lower().endswith(base.lower())
    return host.lower() == base.lower()


def _fold(rdn: x509.RelativeDistinguishedName) -> frozenset[tuple[str, str]]:
    return frozenset(
        (
            attribute.oid.dotted_string,
            " ".join(attribute.value.casefold().split())
            if isinstance(attribute.value, str)
            else attribute.value.hex(),
        )
        for attribute in rdn
    )


def _directory_within(name: x509.Name, base: x509.Name) -> bool:
    prefix = [_fold(rdn) for rdn in base.rdns]
    return [_fold(rdn) for rdn in name.rdns[: len(prefix)]] == prefix


def _within(name: x509.GeneralName, base: x509.GeneralName) -> bool:
    if isinstance(name, x509.OtherName) and isinstance(base, x509.RFC822Name):
        mailbox = smtp_utf8_mailbox(name)
        return mailbox is not None and _rfc822_within(mailbox, base.value, ascii_local=False)
    if isinstance(name, x509.RFC822Name) and isinstance(base, x509.RFC822Name):
        return _rfc822_within(name.value, base.value)
    if isinstance(name, x509.DirectoryName) and isinstance(base, x509.DirectoryName):
        return _directory_within(name.value, base.value)
    if isinstance(name, x509.DNSName) and isinstance(base, x509.DNSName):
        return _host_within(name.value, base.value)
    if isinstance(name, x509.UniformResourceIdentifier) and isinstance(
        base, x509.UniformResourceIdentifier
    ):
        return _uri_within(name.value, base.value)
    if isinstance(name, x509.IPAddress) and isinstance(base, x509.IPAddress):
        address, network = name.value, base.value
        return (
            isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address)
            and isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network)
            and address.version == network.version
            and address in network
        )
    return False


def _same_kind(name: x509.GeneralName, base: x509.GeneralName) -> bool:
    if isinstance(name, x509.OtherName):
        if isinstance(base, x509.RFC822Name):
            return name.type_id.dotted_string == SMTP_UTF8_MAILBOX
        return isinstance(base, x509.OtherName) and base.type_id == name.type_id
    return type(name) is type(base)


def _label(name: x509.GeneralName) -> str:
    if isinstance(name, x509.OtherName):
        return smtp_utf8_mailbox(name) or ""
    if isinstance(name, x509.RFC822Name | x509.DNSName | x509.UniformResourceIdentifier):
        return name.value
    return ""


def check_constraints(
    constraints: Sequence[tuple[Certificate, x509.NameConstraints]],
    certificate: Certificate,
    names: Iterable[x509.GeneralName],
) -> None:
    """Every name within every CA's permitted names, and none within excluded ones.

    Raises PathError: ``chain.name_constraint`` (the name in ``params["name"]``, the constraining CA
    in ``params["by"]``) or ``chain.too_complex``.
    """
    names = list(names)
    comparisons = 0
    for authority, extension in constraints:
        permitted = list(extension.permitted_subtrees or ())
        excluded = list(extension.excluded_subtrees or ())
        comparisons += len(names) * (len(permitted) + len(excluded))
        if comparisons > COMPARISONS_LIMIT:
            raise PathError("chain.too_complex")
        for name in names:
            reason = certificate.named(name=_label(name), by=authority.display)
            same_permitted = [base for base in permitted if _same_kind(name, base)]
            same_excluded = [base for base in excluded if _same_kind(name, base)]
            if (same_permitted or same_excluded) and not (
                isinstance(name, _COMPARABLE)
                or (
                    isinstance(name, x509.OtherName)
                    and name.type_id.dotted_string == SMTP_UTF8_MAILBOX
                )
            ):
                raise PathError("chain.name_constraint", reason)
            try:
                inside = not same_permitted or any(_within(name, base) for base in same_permitted)
                outside = any(_within(name, base) for base in same_excluded)
            except PathError as error:
                raise PathError(error.code, reason) from error
            if not inside or outside:
                raise PathError("chain.name_constraint", reason)
