"""What will happen to a mail, in one sentence, and the promise that it then does happen.

The page shows the sentence; the form carries a signed note of what it was based on. At Send the
state is looked at again: when it became weaker than what was shown, nothing is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.core import signing
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from webmail.certificates import match
from webmail.certificates.facts import address_key
from webmail.certificates.match import RecipientState
from webmail.certificates.words import level_words
from webmail.compose.drafts import Content

if TYPE_CHECKING:
    from webmail.accounts.models import User

SALT: Final = "sealpost compose promise"
PROMISE_AGE: Final = 24 * 3600
"""Seconds; an older page shows what it was based on anew before anything is sent."""
NAMED: Final = 2
"""Recipients named in the sentence; more are counted."""


@dataclass(frozen=True)
class Outlook:
    """States in the order of the recipients, and what they come to."""

    people: tuple[tuple[RecipientState, str, str], ...]
    """State, kind ("to", "cc", "bcc") and the name typed."""
    wanted: str
    """"encrypt" or "clear"."""

    @property
    def blocked(self) -> list[str]:
        return [
            state["address"] for state, _k, _n in self.people if state["state"] != "certificate"
        ]

    @property
    def encrypts(self) -> bool:
        return self.wanted == "encrypt" and bool(self.people) and not self.blocked


def look(user: User, content: Content, wanted: str) -> Outlook:
    """The outlook of ``content`` now."""
    recipients = content.recipients
    states = match.recipients_state(user.pk, [mailbox.address for mailbox, _kind in recipients])
    return Outlook(
        tuple(
            (state, kind, mailbox.name)
            for state, (mailbox, kind) in zip(states, recipients, strict=True)
        ),
        wanted,
    )


def promise(user: User, outlook: Outlook) -> str:
    """A signed note of what the user is shown."""
    shown = {
        address_key(state["address"]): state["fingerprints"] for state, _k, _n in outlook.people
    }
    note = {"user": user.pk.hex, "encrypts": outlook.encrypts, "shown": shown}
    return signing.dumps(note, salt=SALT, compress=True)


def weaker(user: User, note: str, outlook: Outlook) -> list[str]:
    """Addresses for which ``outlook`` is less than what ``note`` promised; empty when it holds.

    A note that cannot be read promises nothing. Another certificate than the one shown counts as
    less: the user saw a different key. Recipients added since are judged by the caller's rule that
    unencrypted mail needs the user's explicit word.
    """
    try:
        told = signing.loads(note, salt=SALT, max_age=PROMISE_AGE)
    except signing.BadSignature:
        return []
    if told.get("user") != user.pk.hex:
        return []
    shown: dict[str, list[str]] = told.get("shown", {})
    found: list[str] = []
    for state, _kind, _name in outlook.people:
        before = shown.get(address_key(state["address"]))
        if not before:
            continue
        gone = state["state"] != "certificate"
        if gone or not set(state["fingerprints"]) <= set(before):
            found.append(state["address"])
    return found


# --------------------------------------------------------------------------- for the page


def context(user: User, outlook: Outlook) -> dict[str, Any]:
    """``recipients`` as the templates want it."""
    return {
        "people": [
            {
                "address": state["address"],
                "kind": kind,
                "name": state["name"] or name,
                "state": state["state"],
                "level_words": level_words(state["level"])
                if state["state"] == "certificate"
                else "",
                "sentence": state["sentence"],
                "pending": state["pending"],
            }
            for state, kind, name in outlook.people
        ],
        "outcome": outcome(outlook),
        "promise": promise(user, outlook),
    }


def outcome(outlook: Outlook) -> dict[str, Any]:
    """Tone, the one sentence, and its second line."""
    blocked = outlook.blocked
    told: dict[str, Any] = {
        "encrypts": outlook.encrypts,
        "hides_subject": outlook.encrypts,
        "blocked": blocked,
        "detail": "",
    }
    if not outlook.people:
        sentence = _(
            "Will be signed and timestamped, and encrypted to everybody with a certificate."
        )
        return {**told, "tone": "neutral", "sentence": sentence, "hides_subject": True}
    if outlook.wanted == "clear":
        sentence = _("Signed and timestamped, not encrypted: mail servers on the way can read it.")
        return {**told, "tone": "amber", "sentence": sentence}
    if blocked:
        return {
            **told,
            "tone": "amber",
            "sentence": _blocked_sentence(blocked),
            "detail": _first_reason(outlook),
        }
    copies = sum(1 for _state, kind, _name in outlook.people if kind == "bcc")
    detail = _("Each Bcc recipient gets a copy encrypted separately.") if copies else ""
    return {**told, "tone": "calm", "sentence": _calm_sentence(outlook), "detail": detail}


def _calm_sentence(outlook: Outlook) -> str:
    count = len(outlook.people)
    if count <= NAMED:
        names = _and([state["name"] or state["address"] for state, _k, _n in outlook.people])
        return _("Signed, timestamped and encrypted to %(names)s") % {"names": names}
    return ngettext(
        "Signed, timestamped and encrypted to %(count)d recipient",
        "Signed, timestamped and encrypted to all %(count)d",
        count,
    ) % {"count": count}


def _blocked_sentence(blocked: Sequence[str]) -> str:
    if len(blocked) <= NAMED:
        return ngettext(
            "Not encrypted: %(names)s has no usable certificate.",
            "Not encrypted: %(names)s have no usable certificate.",
            len(blocked),
        ) % {"names": _and(blocked)}
    return _("Not encrypted: %(count)d recipients have no usable certificate.") % {
        "count": len(blocked)
    }


def _first_reason(outlook: Outlook) -> str:
    for state, _kind, _name in outlook.people:
        if state["state"] != "certificate":
            return state["sentence"]
    return ""


def _and(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return _("%(first)s and %(second)s") % {"first": names[0], "second": names[1]}
