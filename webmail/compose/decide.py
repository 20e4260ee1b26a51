"""What a person may do with a mail on its way: take it back, try again, say what happened.

Each is one conditional update on the state it needs; False means the mail moved on meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from webmail.compose import outbox
from webmail.compose.models import Copy, Outgoing, Recipient, State

if TYPE_CHECKING:
    import uuid

    from webmail.accounts.models import User


def _free(user: User, pk: uuid.UUID, *states: str) -> QuerySet[Outgoing]:
    """The user's row, when no worker has it in hand; locked where the database can lock rows."""
    now = timezone.now()
    rows = Outgoing.objects.select_for_update().filter(pk=pk, user=user, state__in=states)
    return rows.filter(Q(claim__isnull=True) | Q(claim_until__lt=now))


def undo(user: User, pk: uuid.UUID) -> bool:
    """Take it back before anything left: the draft is as it was."""
    return cancel(user, pk)


def cancel(user: User, pk: uuid.UUID) -> bool:
    """Do not send it. Only while nobody accepted anything and nothing is unknown."""
    with transaction.atomic():
        rows = _free(
            user, pk, State.QUEUED, State.PREPARED, State.REJECTED, State.QUARANTINED
        ).exclude(copies__state__in=[Copy.State.ACCEPTED, Copy.State.UNKNOWN, Copy.State.DOT])
        # A recipient accepted while others wait: the mail is on its way already.
        rows = rows.exclude(recipients__state=Recipient.State.ACCEPTED)
        found = rows.values_list("pk", flat=True).first()
        if found is None:
            return False
        return _cancelled(found)


def _cancelled(pk: uuid.UUID) -> bool:
    changed = Outgoing.objects.filter(pk=pk).update(
        state=State.CANCELLED,
        held="",
        problem="",
        held_blob=None,
        sent_sealed=None,
        claim=None,
        claim_until=None,
    )
    Copy.objects.filter(outgoing_id=pk).update(sealed=None)
    return bool(changed)


def retry(user: User, pk: uuid.UUID) -> bool:
    """Try again with the very same bytes; what was prepared is never signed anew."""
    now = timezone.now()
    with transaction.atomic():
        rows = _free(user, pk, State.REJECTED, State.QUARANTINED, State.QUEUED, State.PREPARED)
        row = rows.first()
        if row is None:
            return False
        state = _state_for_retry(row)
        if state == State.PREPARED:
            refused = row.recipients.filter(state=Recipient.State.REFUSED)
            refused.update(state=Recipient.State.WAITING, reply="")
            waiting = row.recipients.filter(state=Recipient.State.WAITING)
            row.copies.filter(position__in=list(waiting.values_list("position", flat=True))).update(
                state=Copy.State.WAITING
            )
        changed = rows.filter(state=row.state).update(
            state=state,
            held="",
            problem="",
            crashes=0,
            claim=None,
            claim_until=None,
            next_at=max(now, row.due_at),
            queued_at=now if row.state == State.REJECTED else row.queued_at,
        )
        if changed:
            transaction.on_commit(lambda: outbox.ring(pk))
    return bool(changed)


def _state_for_retry(row: Outgoing) -> str:
    if row.prepared_at is None:
        return State.QUEUED
    states = set(row.copies.values_list("state", flat=True))
    if row.filed_at is not None:
        return State.FILED
    if Copy.State.UNKNOWN in states and Copy.State.WAITING not in states:
        return State.UNKNOWN
    if states <= {Copy.State.ACCEPTED, Copy.State.REJECTED} and Copy.State.ACCEPTED in states:
        return State.ACCEPTED
    return State.PREPARED


def arrived(user: User, pk: uuid.UUID) -> bool:
    """The user found out that an ``unknown`` mail arrived."""
    with transaction.atomic():
        row = _free(user, pk, State.UNKNOWN, State.QUARANTINED).first()
        if row is None or not row.copies.filter(state=Copy.State.UNKNOWN).exists():
            return False
        row.recipients.filter(state=Recipient.State.UNKNOWN).update(state=Recipient.State.ACCEPTED)
        row.copies.filter(state=Copy.State.UNKNOWN).update(state=Copy.State.ACCEPTED)
        return _go_on(row, State.ACCEPTED)


def resend(user: User, pk: uuid.UUID) -> bool:
    """The user wants an ``unknown`` mail sent again: the same bytes under the same Message-ID, so
    that a mail program which got both shows one."""
    with transaction.atomic():
        row = _free(user, pk, State.UNKNOWN, State.QUARANTINED).first()
        if row is None or not row.copies.filter(state=Copy.State.UNKNOWN).exists():
            return False
        row.recipients.filter(state=Recipient.State.UNKNOWN).update(state=Recipient.State.WAITING)
        row.copies.filter(state=Copy.State.UNKNOWN).update(state=Copy.State.WAITING)
        return _go_on(row, State.PREPARED)


def not_sent(user: User, pk: uuid.UUID) -> bool:
    """The user found out that an ``unknown`` mail did not arrive and does not want it sent."""
    with transaction.atomic():
        row = _free(user, pk, State.UNKNOWN, State.QUARANTINED).first()
        if row is None or not row.copies.filter(state=Copy.State.UNKNOWN).exists():
            return False
        row.recipients.filter(state=Recipient.State.UNKNOWN).update(state=Recipient.State.REFUSED)
        row.copies.filter(state=Copy.State.UNKNOWN).update(state=Copy.State.REJECTED)
        if row.copies.filter(state=Copy.State.ACCEPTED).exists():
            return _go_on(row, State.ACCEPTED)
        return _cancelled(row.pk)


def _go_on(row: Outgoing, state: str) -> bool:
    now = timezone.now()
    columns = {"accepted_at": now} if state == State.ACCEPTED else {}
    changed = Outgoing.objects.filter(pk=row.pk, state=row.state).update(
        state=state,
        held="",
        problem="",
        crashes=0,
        claim=None,
        claim_until=None,
        next_at=now,
        **columns,
    )
    if changed:
        transaction.on_commit(lambda: outbox.ring(row.pk))
    return bool(changed)


ACTIONS: Final = {
    "retry": retry,
    "cancel": cancel,
    "arrived": arrived,
    "resend": resend,
    "not_sent": not_sent,
}
"""What the outbox page may ask for; anything else is refused."""
