"""What a user decides about the certificates of their correspondents."""

from __future__ import annotations

import uuid

from django.db import transaction
from django.utils import timezone

from webmail.certificates import judging
from webmail.certificates.facts import address_key
from webmail.certificates.models import Certificate, Pin


def accept_pending(user_id: uuid.UUID | str, address: str, sha256: str) -> bool:
    """Use the waiting certificate from now on. ``sha256`` is the one which the user was shown:
    when another one waits by now, nothing happens and False is returned."""
    with transaction.atomic():
        pin = Pin.objects.filter(user_id=user_id, address=address_key(address)).first()
        if pin is None or pin.pending is None or pin.pending.sha256 != sha256:
            return False
        changed = Pin.objects.filter(pk=pin.pk, pending_id=pin.pending_id).update(
            certificate_id=pin.pending_id,
            accepted_at=timezone.now(),
            first_seen=pin.pending_since or timezone.now(),
            pending=None,
            pending_since=None,
        )
    judging.forget()
    return bool(changed)


def keep_current(user_id: uuid.UUID | str, address: str) -> bool:
    """Drop the waiting certificate; the pinned one stays. A new mail may bring it again."""
    return bool(
        Pin.objects.filter(
            user_id=user_id, address=address_key(address), pending__isnull=False
        ).update(pending=None, pending_since=None)
    )


def accept(user_id: uuid.UUID | str, address: str, certificate: Certificate) -> Pin:
    """The user vouches for ``certificate`` although no root does; a waiting one is dropped."""
    pin, _made = Pin.objects.update_or_create(
        user_id=user_id,
        address=address_key(address),
        defaults={
            "certificate": certificate,
            "accepted_at": timezone.now(),
            "pending": None,
            "pending_since": None,
        },
    )
    judging.forget()
    return pin
