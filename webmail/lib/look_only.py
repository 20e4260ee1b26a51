"""Rows of the admin that are looked at and never typed."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest


class LookOnly:
    """Before a ``ModelAdmin`` whose rows Sealpost makes itself: a hand-made one would only lie."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
