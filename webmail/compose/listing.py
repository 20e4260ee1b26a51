"""The outbox page: every mail on its way, its steps, why it stands still, what can be done."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from crypto_agent.protocol import ProtocolError
from webmail.agent import door
from webmail.compose.models import (
    MOVING_STATES,
    WAITING_STATES,
    Copy,
    Outgoing,
    Recipient,
    State,
)
from webmail.compose.sentences import explain

if TYPE_CHECKING:
    from webmail.accounts.models import User
    from webmail.agent.door import KeyHolderSession

SHOWN_LIMIT: Final = 100
SHOWN_FOR: Final = timedelta(days=1)
"""How long mail that went well stays on the page."""
REFUSED_FOR: Final = timedelta(days=14)
"""How long a sent mail stays there when somebody did not get it."""

_TONE: Final = {
    State.REJECTED: "red",
    State.QUARANTINED: "red",
    State.UNKNOWN: "amber",
    State.DONE: "calm",
}


def shown(user: User) -> list[Outgoing]:
    """Rows of the page, newest first."""
    now = timezone.now()
    unmoved = Q(state__in=[*MOVING_STATES, *WAITING_STATES])
    sent = Q(state=State.DONE, queued_at__gt=now - SHOWN_FOR)
    partly = Q(
        state=State.DONE,
        queued_at__gt=now - REFUSED_FOR,
        recipients__state=Recipient.State.REFUSED,
    )
    rows = Outgoing.objects.filter(user=user).filter(unmoved | sent | partly).distinct()
    return list(
        rows.defer("held_blob", "sent_sealed")
        .prefetch_related("recipients")
        .order_by("-queued_at")[:SHOWN_LIMIT]
    )


def context(user: User, holder: KeyHolderSession | None) -> dict[str, Any]:
    """``items``, ``moving`` and ``list_url`` for the page and its fragment."""
    rows = shown(user)
    subjects = _subjects(holder, rows)
    return {
        "items": [_item(row, subject) for row, subject in zip(rows, subjects, strict=True)],
        "moving": any(row.state in MOVING_STATES for row in rows),
        "list_url": reverse("compose:outbox"),
    }


def _subjects(holder: KeyHolderSession | None, rows: list[Outgoing]) -> list[str]:
    sealed = [bytes(row.sealed_summary or b"") for row in rows]
    if holder is None or not all(sealed) or not sealed:
        return [""] * len(rows)
    try:
        opened = door.call(holder, "open_fields", {"items": sealed})["items"]
    except ProtocolError:
        return [""] * len(rows)
    return [bytes(each).decode("utf-8", "replace") for each in opened]


def _item(row: Outgoing, subject: str) -> dict[str, Any]:
    now = timezone.now()
    people = list(row.recipients.all())
    refused = [each for each in people if each.state == Recipient.State.REFUSED]
    sentence, hint = explain(row.problem if row.state != State.DONE else "")
    if refused and row.state in {State.ACCEPTED, State.FILED, State.DONE}:
        sentence = ngettext(
            "%(count)d recipient was refused by the mail server.",
            "%(count)d recipients were refused by the mail server.",
            len(refused),
        ) % {"count": len(refused)}
        hint = _("The others got it. Write anew to those who did not.")
    seconds = (row.due_at - now).total_seconds() if row.state == State.QUEUED else 0
    tone = _TONE.get(State(row.state), "neutral")
    if (row.held or refused) and tone in {"neutral", "calm"}:
        tone = "amber"
    return {
        "id": row.pk,
        "subject": subject,
        "to_words": ", ".join(each.address for each in people[:3])
        + (f" +{len(people) - 3}" if len(people) > 3 else ""),
        "state": row.state,
        "state_words": _state_words(row),
        "tone": tone,
        "at": row.accepted_at or row.due_at,
        "steps": _steps(row),
        "reason": sentence,
        "hint": hint,
        "encrypted": row.encrypted if row.prepared_at else row.will_encrypt,
        "timestamped": row.timestamped,
        "recipients": [
            {"address": each.address, "state": each.state, "reply": each.reply} for each in people
        ],
        "actions": _actions(row),
        "act_url": reverse("compose:outbox_act", args=[row.pk]),
        "undo_url": reverse("compose:undo", args=[row.pk]) if seconds > 0 else "",
        "seconds_left": max(0, round(seconds)),
    }


def _state_words(row: Outgoing) -> str:
    if row.held == "locked":
        return _("Waits for unlock")
    if row.state == State.QUEUED and row.due_at > timezone.now():
        return _("Will be sent soon")
    if row.held and row.state in MOVING_STATES:
        return _("Will be tried again")
    return str(State(row.state).label)


def _steps(row: Outgoing) -> list[dict[str, str]]:
    order = [State.QUEUED, State.PREPARED, State.ACCEPTED, State.FILED]
    reached = {
        State.QUEUED: 0,
        State.PREPARED: 1,
        State.SUBMITTING: 1,
        State.REJECTED: 1,
        State.UNKNOWN: 1,
        State.QUARANTINED: 1 if row.prepared_at else 0,
        State.ACCEPTED: 2,
        State.FILED: 3,
        State.DONE: 4,
        State.CANCELLED: 0,
    }[State(row.state)]
    signed = _("Signed")
    if row.prepared_at:
        extra = [_("timestamped")] if row.timestamped else [_("without timestamp")]
        extra += [_("encrypted")] if row.encrypted else []
        signed = ", ".join([signed, *extra])
    words = [signed, _("Handed over"), _("In the Sent folder")]
    failed = row.state in WAITING_STATES
    steps = []
    for index, word in enumerate(words[: len(order)]):
        if index < reached:
            state = "done"
        elif index == reached:
            state = "failed" if failed else "now"
        else:
            state = "todo"
        steps.append({"words": word, "state": state})
    return steps


def _actions(row: Outgoing) -> list[dict[str, Any]]:
    unknown = (
        row.state in {State.UNKNOWN, State.QUARANTINED}
        and row.copies.filter(state=Copy.State.UNKNOWN).exists()
    )
    if unknown:
        return [
            _action("arrived", _("It arrived"), primary=True),
            _action("resend", _("Send it again")),
            _action("not_sent", _("It did not arrive; do not send it")),
        ]
    accepted = any(each.state == Recipient.State.ACCEPTED for each in row.recipients.all())
    actions = []
    if row.state in {State.REJECTED, State.QUARANTINED}:
        actions.append(_action("retry", _("Try again"), primary=True))
    elif row.held == "retry":
        actions.append(_action("retry", _("Try now"), primary=True))
    cancellable = {State.QUEUED, State.PREPARED, State.REJECTED, State.QUARANTINED}
    if row.state in cancellable and not accepted:
        actions.append(_action("cancel", _("Take back and edit")))
    return actions


def _action(name: str, words: str, *, primary: bool = False) -> dict[str, Any]:
    return {"action": name, "words": words, "primary": primary}
