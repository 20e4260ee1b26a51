"""Continuity: how often an address signed its mail to this user, and with which certificate.

"Not signed - this sender normally signs" protects people better than any seal does.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import IntegrityError, transaction
from django.db.models import F

from webmail.certificates.facts import address_key
from webmail.certificates.models import Correspondent, SeenMail

USUAL_AFTER: Final = 3
"""Signed mails before the absence of a signature says anything."""


@dataclass(frozen=True)
class History:
    """What was seen of one address before, by one user."""

    signed: int = 0
    unsigned: int = 0
    last_signer: str = ""
    first_signed_at: datetime | None = None
    last_signed_at: datetime | None = None
    colleague: bool = False
    """One of our own people, whose mail leaves here signed."""

    @property
    def usually_signs(self) -> bool:
        """At least three signed mails, and no more unsigned than signed ones.

        Anybody can send unsigned mail in this name: a few forgeries that were opened must not
        silence the warning about the next one. In the name of a colleague the first one is told.
        """
        return self.colleague or (self.signed >= USUAL_AFTER and self.signed >= self.unsigned)


def of(user_id: uuid.UUID | str, address: str) -> History:
    """The history of ``address``; all zero for one never seen."""
    rows = Correspondent.objects.filter(user_id=user_id, address=address_key(address))
    return _history(rows.first())


def of_mail(
    user_id: uuid.UUID | str, address: str, *, message_id: str, signer: str
) -> tuple[History, bool]:
    """The history of ``address``, and whether this very mail is among those it counts."""
    counted = SeenMail.objects.filter(
        correspondent__user_id=user_id,
        correspondent__address=address_key(address),
        digest=_digest(message_id, signer),
    ).select_related("correspondent")
    for seen in counted[:1]:
        return _history(seen.correspondent), True
    return of(user_id, address), False


def _history(row: Correspondent | None) -> History:
    if row is None:
        return History()
    return History(
        signed=row.signed,
        unsigned=row.unsigned,
        last_signer=row.last_signer,
        first_signed_at=row.first_signed_at,
        last_signed_at=row.last_signed_at,
    )


def usual_signers(user_id: uuid.UUID | str, addresses: Iterable[str]) -> set[str]:
    """Those of ``addresses`` (as given) whose owners usually sign."""
    keys = {address_key(address): address for address in addresses}
    rows = Correspondent.objects.filter(
        user_id=user_id, address__in=list(keys), signed__gte=USUAL_AFTER
    )
    return {
        keys[row.address]
        for row in rows
        if History(signed=row.signed, unsigned=row.unsigned).usually_signs
    }


def _digest(message_id: str, signer: str) -> str:
    return hashlib.sha256(f"{message_id}\0{signer}".encode()).hexdigest()[:32]


def count(
    user_id: uuid.UUID | str, address: str, *, message_id: str, signer: str, when: datetime
) -> bool:
    """Count one mail once. ``signer``: fingerprint of a verified signature, "" for unsigned mail.

    Returns whether it was new. Opening the same mail again changes nothing.
    """
    key = address_key(address)
    if not key or of_mail(user_id, key, message_id=message_id, signer=signer)[1]:
        return False
    digest = _digest(message_id, signer)
    with transaction.atomic():
        row, _made = Correspondent.objects.get_or_create(user_id=user_id, address=key)
        try:
            with transaction.atomic():
                SeenMail.objects.create(correspondent=row, digest=digest)
        except IntegrityError:
            return False
        counted = Correspondent.objects.filter(pk=row.pk)
        if not signer:
            counted.update(unsigned=F("unsigned") + 1)
            return True
        counted.update(signed=F("signed") + 1)
        counted.filter(first_signed_at__isnull=True).update(first_signed_at=when)
        counted.filter(first_signed_at__gt=when).update(first_signed_at=when)
        newest = counted.filter(last_signed_at__isnull=True) | counted.filter(
            last_signed_at__lt=when
        )
        newest.update(last_signed_at=when, last_signer=signer)
    return True
