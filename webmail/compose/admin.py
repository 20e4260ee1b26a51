"""Outgoing mail for administrators: states, never content, recipients or subjects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

from webmail.compose.models import Outgoing
from webmail.lib.look_only import LookOnly

if TYPE_CHECKING:
    OutgoingBase = admin.ModelAdmin[Outgoing]
else:  # Django's classes take no parameters at run time
    OutgoingBase = admin.ModelAdmin


@admin.register(Outgoing)
class OutgoingAdmin(LookOnly, OutgoingBase):
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
