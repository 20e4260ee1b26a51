"""The one form in which addresses of our own people are kept and compared."""

from __future__ import annotations

import re

import idna
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

ADDRESS_LIMIT = 254
"""A path in SMTP is at most 256 octets with its angle brackets (RFC 5321 §4.5.3.1.3)."""
LOCAL_LIMIT = 64
"""RFC 5321 §4.5.3.1.1."""

_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
"""dot-atom (RFC 5322 §3.2.3). Quoted local parts are legal and are nobody's address in practice."""


def normalise_domain(domain: str) -> str:
    """The domain as lower-case A-labels (RFC 5890 §2.3.2.1). Raises ValidationError."""
    try:
        return idna.encode(domain.strip().rstrip("."), uts46=True).decode("ascii").lower()
    except idna.IDNAError as error:
        raise ValidationError(
            _("%(domain)s is not a domain. Write it like example.org."),
            params={"domain": domain[:80]},
        ) from error


def normalise(address: str) -> str:
    """``local@domain``: domain as lower-case A-labels, local part in lower case.

    RFC 5321 §2.4 lets a host tell ``Ann`` from ``ann``; no mail system that people use does, and
    two people who differ in case alone would be a trap. Raises ValidationError.
    """
    local, at, domain = address.strip().rpartition("@")
    if not at or len(local) > LOCAL_LIMIT or not _ATOMS.fullmatch(local):
        raise ValidationError(_("This is not an address. Write it like name@example.org."))
    normal = f"{local.lower()}@{normalise_domain(domain)}"
    if len(normal) > ADDRESS_LIMIT:
        raise ValidationError(_("This address is too long; 254 characters are the most."))
    return normal
