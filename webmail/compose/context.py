"""What every page knows of mail on its way."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from webmail.accounts.models import User
from webmail.compose.models import MOVING_STATES, WAITING_STATES, Outgoing, State


def outbox(request: HttpRequest) -> dict[str, Any]:
    """``outbox_waiting`` and ``pending_undo`` (the youngest mail inside its undo window)."""
    user = getattr(request, "user", None)
    if not isinstance(user, User) or user.activated_at is None:
        return {"outbox_waiting": 0, "pending_undo": None}
    # Read when a template asks for it: a fragment does without.
    read = cache(partial(_on_the_way, user))
    return {
        "outbox_waiting": SimpleLazyObject(lambda: read()[0]),
        "pending_undo": SimpleLazyObject(lambda: read()[1]),
    }


def _on_the_way(user: User) -> tuple[int, dict[str, Any] | None]:
    """How many mails wait, and the youngest that can be called back."""
    now = timezone.now()
    mine = Outgoing.objects.filter(user=user)
    waiting = mine.filter(state__in=[*MOVING_STATES, *WAITING_STATES]).count()
    youngest = (
        mine.filter(state=State.QUEUED, due_at__gt=now)
        .filter(Q(claim__isnull=True) | Q(claim_until__lt=now))
        .order_by("-queued_at")
        .first()
        if waiting
        else None
    )
    pending = None
    if youngest is not None and (youngest.due_at - now).total_seconds() <= 120:
        pending = {
            "id": youngest.pk,
            "seconds_left": max(1, round((youngest.due_at - now).total_seconds())),
            "undo_url": reverse("compose:undo", args=[youngest.pk]),
            "encrypted": youngest.will_encrypt,
        }
    return waiting, pending
