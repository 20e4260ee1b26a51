"""``ping``: does the process answer? Returns the payload's ``echo``, if any."""

from __future__ import annotations

from typing import Any


def ping(context: Any, payload: dict[str, Any]) -> dict[str, Any]:
    return {"echo": payload.get("echo")}
