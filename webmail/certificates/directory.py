"""The organisation's directory: everybody here has certificates, so everybody can be written to."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from django.apps import apps
from django.db.models.functions import Upper

from webmail.certificates import own
from webmail.certificates.facts import address_key
from webmail.certificates.models import Certificate

REVOKED: Final = "revoked"


def lookup(address: str) -> list[Certificate]:
    """Encryption certificates of the local person with this address, newest first, none revoked."""
    key = address_key(address)
    found = own.encryption_certificates_of(key) if key else []
    if not found:
        return []
    issued = apps.get_model("authority", "IssuedCertificate")
    revoked = set(
        issued.objects.filter(
            fingerprint__in=[row.sha256 for row in found], status=REVOKED
        ).values_list("fingerprint", flat=True)
    )
    return [row for row in found if row.sha256 not in revoked]


def seals_since(addresses: Iterable[str]) -> dict[str, datetime]:
    """Since when those of ``addresses`` that belong to our people have keys: what they write here
    since then is signed. Both are in the form of :func:`address_key`."""
    owners = apps.get_model("accounts", "Address").objects.annotate(key=Upper("address"))
    found = owners.filter(
        key__in={address.upper() for address in addresses}, user__activated_at__isnull=False
    )
    return {
        address_key(row): since for row, since in found.values_list("address", "user__activated_at")
    }


def is_local(address: str) -> bool:
    """Whether the address belongs to one of our people."""
    key = address_key(address)
    owners = apps.get_model("accounts", "Address")
    return bool(key) and owners.objects.filter(address__iexact=key).exists()
