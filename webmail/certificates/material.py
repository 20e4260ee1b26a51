"""Everything the agent needs to judge certificates, for one user (``TrustMaterial``).

The shared part is read from the database once in a few seconds per process: a page of mails is
judged from one reading. What is revoked or distrusted therefore takes effect within seconds.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

from django.apps import apps

from webmail.certificates.models import Intermediate, Pin, RevocationList, TrustedRoot

FRESH_SECONDS: Final = 5.0
INTERMEDIATES_LIMIT: Final = 200
"""Most recently used first; path building looks at each."""
LISTS_LIMIT: Final = 200
LIST_BYTES_LIMIT: Final = 8 * 1024 * 1024
"""Of all lists together: they travel sealed with every request."""


@dataclass(frozen=True)
class _Shared:
    read_at: float
    anchors: list[bytes]
    intermediates: list[bytes]
    crls: list[bytes]


_lock = threading.Lock()
_shared: _Shared | None = None


def trust_material(user_id: uuid.UUID | str | None) -> dict[str, Any]:
    """``{"anchors", "intermediates", "crls", "ocsp", "pins"}``; pins only with a user."""
    shared = _current()
    return {
        "anchors": shared.anchors,
        "intermediates": shared.intermediates,
        "crls": shared.crls,
        "ocsp": [],
        "pins": _pins(user_id) if user_id else {},
    }


def forget() -> None:
    """Read everything anew at the next request of this process (after a change by an admin)."""
    global _shared
    with _lock:
        _shared = None


def _current() -> _Shared:
    global _shared
    now = time.monotonic()
    with _lock:
        if _shared is None or now - _shared.read_at > FRESH_SECONDS:
            _shared = _read(now)
        return _shared


def _read(now: float) -> _Shared:
    authority = apps.get_model("authority", "AuthorityCertificate")
    anchors = [bytes(row.der) for row in authority.objects.filter(kind="root")]
    anchors += [bytes(row.der) for row in TrustedRoot.objects.filter(enabled=True)]
    # The authority's time-stamping certificate is named in every token we make ourselves.
    own = authority.objects.exclude(kind__in=["root", "postmaster"])
    intermediates = [bytes(row.der) for row in own]
    recent = Intermediate.objects.order_by("-used_at")[:INTERMEDIATES_LIMIT]
    intermediates += [bytes(row.der) for row in recent]
    return _Shared(now, anchors, intermediates, _own_lists() + _foreign_lists())


def _own_lists() -> list[bytes]:
    newest: dict[Any, bytes] = {}
    lists = apps.get_model("authority", "Crl").objects.order_by("issuer_id", "-number")
    for issuer, der in lists.values_list("issuer_id", "der"):
        newest.setdefault(issuer, bytes(der))
    return list(newest.values())


def _foreign_lists() -> list[bytes]:
    found: list[bytes] = []
    left = LIST_BYTES_LIMIT
    rows = RevocationList.objects.filter(der__isnull=False).order_by("-asked_at")[:LISTS_LIMIT]
    for row in rows.iterator(chunk_size=20):
        der = bytes(row.der or b"")
        if len(der) <= left:
            left -= len(der)
            found.append(der)
    return found


def _pins(user_id: uuid.UUID | str) -> dict[str, list[str]]:
    """What the user accepted themselves: good for this address although no root vouches for it."""
    pins: dict[str, list[str]] = defaultdict(list)
    rows = Pin.objects.filter(user_id=user_id, accepted_at__isnull=False)
    for address, sha256 in rows.values_list("address", "certificate__sha256"):
        pins[address].append(sha256)
    return dict(pins)
