"""Invitations: made by an administrator, used once, and never by two tabs at a time.

The link holds 256 random bits; the database holds their SHA-256. Whoever copies the database can
therefore invite nobody. While one attempt works on it, an invitation is *claimed*; a claim that
was never finished (the process died) lapses by itself.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import timedelta
from enum import StrEnum
from typing import Final

from django.conf import settings
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from webmail.accounts.models import Invitation, User, new_token

CLAIM_LAPSES: Final = timedelta(minutes=2)
"""Two RSA keys and their certificates take seconds, waiting for a dead node half a minute."""


class State(StrEnum):
    """What an invitation link is worth now."""

    OPEN = "open"
    BUSY = "busy"
    USED = "used"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    UNKNOWN = "unknown"


def invite(user: User, *, invited_by: User | None = None) -> str:
    """A new invitation; earlier ones of this person end. Returns the whole link, known only now."""
    now = timezone.now()
    user.invitations.filter(used_at=None, withdrawn_at=None).update(withdrawn_at=now)
    token = new_token()
    Invitation.objects.create(
        user=user,
        invited_by=invited_by,
        token_hash=_hash(token),
        expires_at=now + timedelta(days=settings.INVITATION_DAYS),
    )
    # The host is a setting, never what a request said (host header poisoning).
    path = reverse("onboarding:invitation", kwargs={"token": token})
    return f"{settings.ORIGIN.rstrip('/')}{path}"


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def find(token: str) -> tuple[Invitation | None, State]:
    """The invitation of a link and what it is worth."""
    row = Invitation.objects.select_related("user", "invited_by").filter(token_hash=_hash(token))
    invitation = row.first()
    if invitation is None:
        return None, State.UNKNOWN
    now = timezone.now()
    if invitation.used_at is not None:
        return invitation, State.USED
    if invitation.withdrawn_at is not None or not invitation.user.is_active:
        return invitation, State.WITHDRAWN
    if invitation.expires_at <= now:
        return invitation, State.EXPIRED
    if invitation.claimed_at is not None and invitation.claimed_at > now - CLAIM_LAPSES:
        return invitation, State.BUSY
    return invitation, State.OPEN


def claim(invitation: Invitation) -> uuid.UUID | None:
    """One winner: the id of this attempt, or None when another is at it or it is over."""
    now, attempt = timezone.now(), uuid.uuid4()
    won = (
        Invitation.objects.filter(
            pk=invitation.pk, used_at=None, withdrawn_at=None, expires_at__gt=now
        )
        .filter(Q(claimed_at=None) | Q(claimed_at__lte=now - CLAIM_LAPSES))
        .update(claim=attempt, claimed_at=now)
    )
    return attempt if won else None


def consume(attempt: uuid.UUID) -> bool:
    """Used for good. False when the claim had lapsed and somebody else has it."""
    now = timezone.now()
    return bool(
        Invitation.objects.filter(claim=attempt, used_at=None, withdrawn_at=None).update(
            used_at=now, claim=None
        )
    )


def release(attempt: uuid.UUID) -> None:
    """The attempt failed; the link works again."""
    Invitation.objects.filter(claim=attempt, used_at=None).update(claim=None, claimed_at=None)
