"""The organisation's directory: everybody here has certificates, so everybody can be written to."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.apps import apps

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


def seals_since(address: str) -> datetime | None:
    """When our person with this address got keys: what they write here since then is signed."""
    key = address_key(address)
    owners = apps.get_model("accounts", "Address")
    since: datetime | None = (
        owners.objects.filter(address__iexact=key, user__activated_at__isnull=False)
        .values_list("user__activated_at", flat=True)
        .first()
        if key
        else None
    )
    return since


def is_local(address: str) -> bool:
    """Whether the address belongs to one of our people."""
    key = address_key(address)
    owners = apps.get_model("accounts", "Address")
    return bool(key) and owners.objects.filter(address__iexact=key).exists()
