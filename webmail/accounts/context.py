"""What every template knows about locking."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def site(request: HttpRequest) -> dict[str, Any]:
    """``site``: ``{"organisation": str}``."""
    return {"site": {"organisation": settings.ORGANISATION_NAME}}


def lock_state(request: HttpRequest) -> dict[str, Any]:
    """``lock_state``: ``{"state": "unlocked", "idle_left_s": int, "absolute_left_s": int,
    "locks_in_s": int}``, ``{"state": "locked"}`` when signed in without keys, or None when nobody
    with a mailbox is signed in.
    """
    user = getattr(request, "user", None)
    if user is None or getattr(user, "activated_at", None) is None:
        return {"lock_state": None}
    state = getattr(request, "lock_state", None)
    if getattr(request, "holder", None) is None or state is None:
        return {"lock_state": {"state": "locked"}}
    return {
        "lock_state": {
            "state": "unlocked",
            "idle_left_s": int(state.idle_left_s),
            "absolute_left_s": int(state.absolute_left_s),
            "locks_in_s": int(min(state.idle_left_s, state.absolute_left_s)),
        }
    }
