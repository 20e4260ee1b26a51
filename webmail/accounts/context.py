"""What every template knows."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest


def lock_state(request: HttpRequest) -> dict[str, Any]:
    return {"lock_state": None}
