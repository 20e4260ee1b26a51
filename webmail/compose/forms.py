"""The compose form: what was typed, as addresses and text, with every problem in a sentence."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from django.utils import timezone
from django.utils.translation import gettext as _

from webmail.certificates.facts import address_key
from webmail.compose.build import senders
from webmail.compose.drafts import Content, Mailbox
from webmail.lib.numbers import whole
from webmail.message import addresses, html
from webmail.message.headers import clean

if TYPE_CHECKING:
    from django.http import QueryDict

    from webmail.accounts.models import User

RECIPIENTS_LIMIT: Final = 1_000
TEXT_LIMIT: Final = 2_000_000
SUBJECT_LIMIT: Final = 900
SCHEDULE_LIMIT: Final = timedelta(days=366)


@dataclass(frozen=True)
class Written:
    """A form as it came. ``problems`` stop sending, never saving."""

    content: Content
    draft: uuid.UUID | None
    version: int
    send_id: uuid.UUID | None
    origin: str
    protection: str
    confirmed: frozenset[str]
    promise: str
    due: datetime | None
    typed: Mapping[str, str] = field(default_factory=dict)
    """To, Cc and Bcc as typed, to fill the form again."""
    problems: tuple[str, ...] = ()


def known_mailboxes(typed: str) -> tuple[Mailbox, ...]:
    """The clear addresses of a typed list; anything else is left out."""
    return tuple(
        Mailbox(clean(each.name), each.address)
        for each in addresses.parse(typed.encode("utf-8", "replace"))
        if each.address
    )


def read(data: QueryDict, user: User) -> Written:
    """Everything of the form; nothing raises."""
    problems: list[str] = []
    lists: dict[str, tuple[Mailbox, ...]] = {}
    for name in ("to", "cc", "bcc"):
        lists[name] = _mailboxes(data.get(name, ""), problems)
    if sum(map(len, lists.values())) > RECIPIENTS_LIMIT:
        problems.append(_("More than 1,000 recipients: send it in several mails."))
    sender = _sender(data.get("from", ""), user, problems)
    text = data.get("text", "").replace("\r\n", "\n").replace("\r", "\n")[:TEXT_LIMIT]
    marked_up = data.get("html", "")[:TEXT_LIMIT]
    rich: str | None = None
    if marked_up.strip() and data.get("mode_plain") != "1":
        rich = html.sanitise(marked_up).body
        text = html.to_text(marked_up)
    content = Content(
        sender=sender,
        to=lists["to"],
        cc=lists["cc"],
        bcc=lists["bcc"],
        # One line: a line break in a header starts another header.
        subject=clean(" ".join(data.get("subject", "").split()))[:SUBJECT_LIMIT],
        text=text,
        html=rich,
    )
    return Written(
        content=content,
        draft=_uuid(data.get("draft", "")),
        version=_int(data.get("version", "")),
        send_id=_uuid(data.get("send_id", "")),
        origin=data.get("origin", "")[:80],
        protection="clear" if data.get("protection") == "clear" else "encrypt",
        confirmed=frozenset(data.getlist("confirm")),
        promise=data.get("promise", "")[:200_000],
        due=_due(data.get("due", ""), user, problems),
        typed={name: data.get(name, "") for name in ("to", "cc", "bcc")},
        problems=tuple(problems),
    )


def show(mailboxes: tuple[Mailbox, ...]) -> str:
    """A list as people type it; :func:`known_mailboxes` reads it back."""
    return ", ".join(_show(each) for each in mailboxes)


def _show(mailbox: Mailbox) -> str:
    if not mailbox.name:
        return mailbox.address
    if all(c.isalnum() or c in " -_'" for c in mailbox.name):
        return f"{mailbox.name} <{mailbox.address}>"
    name = mailbox.name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{name}" <{mailbox.address}>'


def typed_mailboxes(typed: str) -> tuple[Mailbox, ...]:
    """Everything of a typed list, half-typed addresses too: a draft keeps what was written."""
    return tuple(
        Mailbox(clean(each.name) if each.address else "", each.address or clean(each.name))
        for each in addresses.parse(typed.encode("utf-8", "replace"))
        if each.address or clean(each.name)
    )


def is_address(text: str) -> bool:
    """Whether mail can be sent there, as far as its shape tells."""
    domain = text.rpartition("@")[2]
    return bool(address_key(text)) and ("." in domain or domain == "localhost")


def _mailboxes(typed: str, problems: list[str]) -> tuple[Mailbox, ...]:
    found = typed_mailboxes(typed)
    problems.extend(
        _("“%(typed)s” is not an address. Write it like name@example.org.")
        % {"typed": each.address[:80]}
        for each in found
        if not is_address(each.address)
    )
    return found


def _sender(typed: str, user: User, problems: list[str]) -> Mailbox:
    """One of the user's own addresses, whatever the form says."""
    own = senders(user)
    wanted = address_key(typed)
    for mailbox in own:
        if address_key(mailbox.address) == wanted:
            return mailbox
    if typed.strip() or not own:
        problems.append(_("You cannot send from this address. Choose one of your own."))
    return own[0] if own else Mailbox(user.display_name, "")


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _int(text: str) -> int:
    return min(whole(text) or 0, 2**31 - 1)


def _due(text: str, user: User, problems: list[str]) -> datetime | None:
    """The time to send at: local time as the browser's field gives it, in the user's zone."""
    if not text.strip():
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=ZoneInfo(user.time_zone or "UTC"))
    except (ValueError, KeyError, OSError):
        problems.append(_("The time to send at cannot be read. Choose it again."))
        return None
    now = timezone.now()
    if not now - timedelta(minutes=5) <= moment <= now + SCHEDULE_LIMIT:
        problems.append(_("Choose a time to send at within the next year."))
        return None
    return moment
