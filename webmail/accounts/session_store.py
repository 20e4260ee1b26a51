"""Django sessions whose rows do not open them.

Django writes the cookie's value into the table as it is: whoever reads the database, or a backup of
last night, could put it into a browser and be that person. Here the row is found by a digest of
it, as with invitations.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Final

from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.base_session import AbstractBaseSession
from django.contrib.sessions.models import Session
from django.utils import timezone

_OCTETS: Final = 30
"""Forty characters in base64, which is what the column holds."""


def row_key(cookie: str) -> str:
    """What stands in the table for the session that ``cookie`` opens."""
    digest = hashlib.sha256(b"session\0" + cookie.encode()).digest()
    return base64.urlsafe_b64encode(digest[:_OCTETS]).decode("ascii")


class SessionStore(DatabaseStore):
    """The value in the cookie is ``session_key``; only its digest reaches the database."""

    def load(self) -> dict[str, Any]:
        row = Session.objects.filter(
            session_key=row_key(str(self.session_key)), expire_date__gt=timezone.now()
        ).first()
        if row is None:
            self._session_key = None  # an id that we did not give out is not taken over
            return {}
        data: dict[str, Any] = self.decode(row.session_data)
        return data

    def exists(self, session_key: str) -> bool:
        return super().exists(row_key(session_key))

    def create_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        row = super().create_model_instance(data)
        row.session_key = row_key(row.session_key)
        return row

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key:
            super().delete(row_key(key))
