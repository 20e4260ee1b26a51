"""Outgoing mail for administrators: states, never content, recipients or subjects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest

from webmail.compose.models import Outgoing

if TYPE_CHECKING:
    OutgoingBase = admin.ModelAdmin[Outgoing]
else:  # Django's classes take no parameters at run time
    OutgoingBase = admin.ModelAdmin


@admin.register(Outgoing)
class OutgoingAdmin(OutgoingBase):
    list_display = ["id", "user", "state", "held", "problem", "attempt", "crashes", "queued_at"]
    list_filter = ["state", "held"]
    search_fields = ["id", "user__username"]
    show_full_result_count = False
    fields = [
        "id",
        "user",
        "state",
        "held",
        "problem",
        "attempt",
        "crashes",
        "queued_at",
        "due_at",
        "next_at",
        "prepared_at",
        "accepted_at",
        "filed_at",
        "encrypted",
        "timestamped",
    ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
