"""``seal_fields`` and ``open_fields``: small values of list rows, readable by their owner alone."""

from __future__ import annotations

from typing import Any, Final

from crypto_agent.errors import ErrorCode, ProtocolError
from crypto_agent.operations.context import FIELDS, KeyAccess, require

ITEMS_LIMIT: Final = 2_000
"""Rows of a page, or of one step of a search."""
ITEM_LIMIT: Final = 1024 * 1024


def _items(payload: dict[str, Any]) -> list[bytes]:
    items = payload.get("items")
    if not isinstance(items, list) or len(items) > ITEMS_LIMIT:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "items")
    if not all(isinstance(item, bytes) and len(item) <= ITEM_LIMIT for item in items):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "item")
    return items


def seal_fields(keys: KeyAccess | None, payload: dict[str, Any]) -> dict[str, Any]:
    """``{"items": [bytes]}`` → the same, sealed. Raises ProtocolError (bad_request)."""
    keys = require(keys)
    return {"items": [keys.seal(FIELDS, item) for item in _items(payload)]}


def open_fields(keys: KeyAccess | None, payload: dict[str, Any]) -> dict[str, Any]:
    """The reverse. Raises ProtocolError (forged) when one was not sealed under this vault."""
    keys = require(keys)
    return {"items": [keys.unseal(FIELDS, item) for item in _items(payload)]}
