"""Key activity: a chain of rows per holder, written and committed before a result is released.

Each row's MAC covers its fields and the MAC before it, under a key that the database does not hold:
somebody who can only write the database can neither change, insert, nor drop a row unseen.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.db import IntegrityError, transaction

from crypto_agent.protocol import derive, pack
from webmail.agent.models import AuditHead, KeyUse

OK: Final = "ok"
_TRIES: Final = 5


@dataclass(frozen=True)
class Use:
    """What one row says besides who and when."""

    operation: str
    outcome: str = OK
    key: str = ""
    digest: str = ""


def _key() -> bytes:
    return derive(settings.DEPLOYMENT_SECRET, "audit")


def _mac(key: bytes, before: bytes, row: KeyUse) -> bytes:
    fields = [row.holder, row.number, row.at, row.session]
    fields += [row.key, row.operation, row.digest, row.outcome]
    return hmac.digest(key, before + pack(fields), "sha256")


def record(holder: str, session: str, uses: Iterable[Use]) -> None:
    """Append rows to the chain of ``holder`` and commit them.

    Raises RuntimeError inside a transaction of the caller's: the rows would then not be committed
    when the result is released.
    """
    uses = list(uses)
    if not uses:
        return
    for attempt in range(_TRIES):
        try:
            _append(holder, session, uses)
        except IntegrityError:
            # Two first rows at once, where there was no head yet to lock.
            if attempt == _TRIES - 1:
                raise
        else:
            return


def _append(holder: str, session: str, uses: list[Use]) -> None:
    key = _key()
    now = time.time_ns() // 1_000_000
    with transaction.atomic(durable=True):
        head = AuditHead.objects.select_for_update().filter(holder=holder).first()
        number, before = (head.number, bytes(head.mac)) if head else (0, b"")
        rows = []
        for use in uses:
            number += 1
            row = KeyUse(
                holder=holder,
                number=number,
                at=now,
                session=session,
                key=use.key,
                operation=use.operation,
                digest=use.digest,
                outcome=use.outcome,
            )
            row.mac = before = _mac(key, before, row)
            rows.append(row)
        KeyUse.objects.bulk_create(rows)
        if head is None:
            AuditHead.objects.create(holder=holder, number=number, mac=before)
        else:
            AuditHead.objects.filter(holder=holder).update(number=number, mac=before)


@dataclass(frozen=True)
class ChainState:
    """Whether a chain is whole. ``broken_at`` is the first row's number that does not fit."""

    rows: int
    broken_at: int | None = None

    @property
    def whole(self) -> bool:
        return self.broken_at is None


def verify_chain(holder: str) -> ChainState:
    """Recompute the chain of a holder (user id in hex, or ``service:<name>``)."""
    key = _key()
    before, number = b"", 0
    for row in KeyUse.objects.filter(holder=holder).order_by("number").iterator():
        number += 1
        if row.number != number or not hmac.compare_digest(bytes(row.mac), _mac(key, before, row)):
            return ChainState(number, broken_at=number)
        before = bytes(row.mac)
    head = AuditHead.objects.filter(holder=holder).first()
    expected = (head.number, bytes(head.mac)) if head else (0, b"")
    if expected != (number, before):
        return ChainState(number, broken_at=number + 1)
    return ChainState(number)
