"""What our middleware hangs on a request, with its types."""

from __future__ import annotations

from typing import cast

from django.http import HttpRequest

from webmail.agent.door import KeyHolderSession, LockState


class Request(HttpRequest):
    """A request behind our middleware, for type checkers; Django makes the real ones."""

    holder: KeyHolderSession | None
    """Who may use keys in this request; None while locked or not signed in."""
    lock_state: LockState | None
    """The seconds left until it locks; None with ``holder``."""
    error_id: str
    """Shown and logged only when something fails."""


def ours(request: HttpRequest) -> Request:
    """The same request, with the fields above known."""
    return cast(Request, request)
