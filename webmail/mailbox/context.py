"""What the folder rail of every page is given."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from webmail.accounts.models import User
from webmail.mailbox import lists


def folders(request: HttpRequest) -> dict[str, Any]:
    """``folders``: id, name, role, unread, total, url, active and depth of each; [] for staff."""
    user = getattr(request, "user", None)
    if not isinstance(user, User):
        return {"folders": []}
    match = request.resolver_match
    active = match.kwargs.get("folder_id") if match is not None else None
    # Read when a template asks for it: a fragment may do without.
    return {"folders": SimpleLazyObject(lambda: rail(user, active))}


def rail(user: User, active: int | None) -> list[dict[str, Any]]:
    """The folders of a person; ``active`` is the one that is shown."""
    return [
        {
            "id": folder.pk,
            "name": folder.label,
            "role": folder.role,
            "unread": folder.unread,
            "total": folder.total,
            "url": reverse("reading:folder", kwargs={"folder_id": folder.pk}),
            "active": folder.pk == active,
            "depth": 0 if folder.role else folder.depth,
        }
        for folder in lists.folders(user)
    ]
