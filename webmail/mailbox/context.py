"""What the folder rail of every page is given."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from webmail.accounts.models import MailAccount, User
from webmail.mailbox import lists


def folders(request: HttpRequest) -> dict[str, Any]:
    """``folders``: id, name, role, unread, total, url, active and depth of each; [] for staff."""
    user = getattr(request, "user", None)
    if not isinstance(user, User):
        return {"folders": []}
    account = MailAccount.objects.filter(user=user).first()
    if account is None:
        return {"folders": []}
    match = request.resolver_match
    active = match.kwargs.get("folder_id") if match is not None else None
    return {
        "folders": [
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
            for folder in lists.folders(account)
        ]
    }
