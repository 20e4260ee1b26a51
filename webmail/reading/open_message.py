"""Open one mail: fetch, let the right agent open and judge it, remember, and lay it out for a page.

Encrypted mail goes to the user's own agent, everything else to the verifier, which holds no keys;
so signed mail is judged for everybody, also while locked.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe

from crypto_agent.protocol import ErrorCode, ProtocolError
from webmail.agent import door as agent_door
from webmail.certificates import history
from webmail.certificates.history import History
from webmail.certificates.material import trust_material
from webmail.mailbox import fetch, judge, summary
from webmail.mailbox.colleagues import of_colleagues
from webmail.mailbox.models import Kind, Message
from webmail.message import addresses, text
from webmail.message.headers import clean
from webmail.reading import badges

if TYPE_CHECKING:
    from webmail.accounts.models import User
    from webmail.agent.door import KeyHolderSession

logger = logging.getLogger(__name__)

LOCKED_CODES: Final = frozenset(
    {ErrorCode.NOT_UNLOCKED, ErrorCode.WRONG_SESSION, ErrorCode.EXPIRED}
)
"""Answers of the agent that mean: ask the user to unlock."""

SUMMARY_LIFE: Final = timedelta(minutes=10)
"""A sealed summary is made anew at the next opening after it: the verdict may have changed."""

SAFE_IMAGES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""Raster types a browser shows without running anything."""


@dataclass(frozen=True)
class Mailbox:
    """A sender or recipient as displayed."""

    name: str
    address: str

    @property
    def label(self) -> str:
        return addresses.shown(self.name, self.address)


@dataclass(frozen=True)
class Body:
    """One text part. Each is shown in a document of its own: parts are never joined."""

    id: str
    type: str
    """"text/plain" or "text/html"."""
    text: str = field(repr=False)
    url: str
    protection: str
    """"unprotected", "signed-only", "encrypted-only", "signed-and-encrypted"."""
    root: bool
    remote_allowed: bool
    """False for parts whose remote content must never be loaded, whatever is clicked."""
    outside: bool
    """The mail has protected parts and this is none of them: drawn in a marked box."""

    @property
    def is_html(self) -> bool:
        return self.type == "text/html"

    @property
    def html(self) -> SafeString:
        """For plain text: safe HTML that may stand in our own page."""
        # Every character of the mail was escaped there; what is markup is ours.
        return mark_safe("" if self.is_html else text.to_html(self.text).body)  # noqa: S308


@dataclass(frozen=True)
class Attachment:
    """One attachment, as the mail describes it."""

    id: str
    name: str
    type: str
    size: int
    inline: bool
    protection: str
    url: str
    content_id: str = ""

    @property
    def is_image(self) -> bool:
        """Whether a preview may be shown from our own origin."""
        return self.type in SAFE_IMAGES

    @property
    def is_mail(self) -> bool:
        return self.type in {"message/rfc822", "message/global"}


@dataclass(frozen=True)
class OpenedMessage:
    """Everything a message page shows. ``result`` is the agent's own answer, for compose."""

    message: Message
    locked: bool
    subject: str
    senders: list[Mailbox]
    to: list[Mailbox]
    cc: list[Mailbox]
    bcc: list[Mailbox]
    reply_to: list[Mailbox]
    date: datetime | None
    received: datetime | None
    identity: badges.Identity
    time: badges.TimeLine
    protection: list[str]
    facts: list[badges.FactLine]
    notices: list[badges.Notice]
    encryption: Mapping[str, Any]
    signer: Mapping[str, Any] | None
    bodies: list[Body]
    alternatives: list[Body]
    """The same text in the other form, for people who prefer it."""
    attachments: list[Attachment]
    outer_subject: str
    """What the mail servers saw, when it differs."""
    layers: list[Mapping[str, Any]]
    header_protection: Mapping[str, str]
    unsubscribe: str
    result: dict[str, Any] = field(repr=False)

    @property
    def summary(self) -> summary.Summary | None:
        """What a list row says of a mail that was decrypted just now; None for all others, of which
        the row itself knows enough."""
        if not _was_decrypted(self.message, self.result):
            return None
        return summary.Summary.of(self.result)

    @property
    def encrypted(self) -> bool:
        return bool(self.encryption.get("encrypted")) or self.message.kind == Kind.ENCRYPTED

    @property
    def pending(self) -> bool:
        """Revocation data was asked for: judging again in a moment may say more."""
        return bool(self.result.get("urls")) and (
            self.result["verdict"].get("revocation") == "unknown"
        )

    @property
    def downloads(self) -> list[Attachment]:
        """Attachments that are not part of the text."""
        return [each for each in self.attachments if not each.inline]


def open_message(
    holder: KeyHolderSession | None, user: User, message: Message, *, learn: bool = True
) -> OpenedMessage:
    """Open ``message`` for its owner. ``learn``: keep its summary and consider its certificates;
    off where a page that did so asks for a part of the same mail.

    Raises MailServerError when it cannot be fetched and ProtocolError when no agent could look at
    it. An encrypted mail without ``holder`` gives a locked result, and nothing is fetched.
    """
    if message.kind == Kind.ENCRYPTED and holder is None:
        return locked(message)
    raw = fetch.raw_mail(message)
    result, by_owner = _ask(holder, user, message, raw)
    if _waits_for_unlock(result) and holder is None and message.kind == Kind.ENCRYPTED:
        return locked(message)
    past, counted = earlier(user, message, result)  # before this mail itself becomes history
    if learn:
        _remember(holder if by_owner else None, message, result, counted=counted)
    return lay_out(message, result, past)


def open_part(
    holder: KeyHolderSession | None, user: User, message: Message, part: str
) -> dict[str, Any]:
    """One part: {"name", "type", "data"}. Raises MailServerError and ProtocolError."""
    return open_parts(holder, user, message, [part])[part]


def open_parts(
    holder: KeyHolderSession | None,
    user: User,
    message: Message,
    parts: list[str],
    *,
    raw: fetch.RawMail | None = None,
) -> dict[str, dict[str, Any]]:
    """Several parts of one mail, which is fetched once."""
    raw = raw or fetch.raw_mail(message)
    trust: dict[str, Any] = {"anchors": [], "intermediates": [], "crls": [], "ocsp": [], "pins": {}}
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        payload = judge.open_payload(raw, trust, part=part)
        if holder is not None and message.kind != Kind.PLAIN:
            found[part] = agent_door.call(holder, "open", payload)
        else:
            found[part] = agent_door.service("verifier", "open", payload)
    return found


def _ask(
    holder: KeyHolderSession | None, user: User, message: Message, raw: fetch.RawMail
) -> tuple[dict[str, Any], bool]:
    """The agent's answer, and whether it was the user's own agent."""
    payload = judge.open_payload(raw, trust_material(user.pk))
    if holder is not None and message.kind == Kind.ENCRYPTED:
        return agent_door.call(holder, "open", payload), True
    result = agent_door.service("verifier", "open", payload)
    if holder is not None and _waits_for_unlock(result):
        # Encrypted inside a signed layer, or under a name that does not say so.
        return agent_door.call(holder, "open", payload), True
    return result, False


def _waits_for_unlock(result: dict[str, Any]) -> bool:
    return any(
        each.get("code") in {"decrypt.locked", "decrypt.no_key"}
        for each in result.get("notices", [])
    )


def _remember(
    holder: KeyHolderSession | None, message: Message, result: dict[str, Any], *, counted: bool
) -> None:
    """Row summary, the signer's certificate, missing revocation data."""
    try:
        if not summary.is_sealed(message, result):
            summary.keep(message, summary.Summary.of(result))
        elif holder is not None and not _sealed_lately(message):
            packed = summary.Summary.of(result).pack()
            sealed = agent_door.call(holder, "seal_fields", {"items": [packed]})["items"][0]
            summary.keep_sealed(message, sealed)
    except ProtocolError as error:
        logger.info("a summary was not kept: %s", error.code)
    judge.learn(message.folder.account, result, counted=counted)


def _was_decrypted(message: Message, result: dict[str, Any]) -> bool:
    return bool(
        result.get("bodies")
        and summary.is_sealed(message, result)
        and not _waits_for_unlock(result)
    )


def _sealed_lately(message: Message) -> bool:
    at = message.judged_at
    return bool(message.sealed_summary) and at is not None and timezone.now() - at < SUMMARY_LIFE


# --------------------------------------------------------------------------- layout


def lay_out(message: Message, result: dict[str, Any], past: History) -> OpenedMessage:
    """The agent's answer as a page shows it. ``past``: what was known of the sender before."""
    verdict = result["verdict"]
    head = result["headers"]
    senders = _mailboxes(head.get("from"))
    sender = _only(senders)
    bodies, alternatives = _bodies(message, result)
    shut = any(each["code"] in badges.SHUT for each in result["notices"])
    notices = [badges.notice(each["code"], each.get("params")) for each in result["notices"]]
    if verdict["state"] != "verified":
        notices += badges.sender_notices(list(head.get("from") or []))
    if head.get("from_mismatch") and verdict["state"] != "verified":
        notices.append(badges.notice("headers.from_mismatch"))
    subject = clean(str(head.get("subject") or ""))
    outer_subject = clean(str((result.get("outer") or {}).get("subject") or ""))
    return OpenedMessage(
        message=message,
        locked=False,
        subject=subject,
        senders=senders,
        to=_mailboxes(head.get("to")),
        cc=_mailboxes(head.get("cc")),
        bcc=_mailboxes(head.get("bcc")),
        reply_to=_mailboxes(head.get("reply_to")),
        date=badges.moment(head.get("date")),
        received=message.internal_date,
        identity=badges.identity(
            verdict,
            sender=sender or (senders[0].label if senders else ""),
            history=past,
            shut=shut,
        ),
        time=badges.time_line(verdict),
        protection=badges.protection(verdict, shut=shut),
        facts=badges.facts(verdict) if verdict["state"] != "unsigned" else [],
        notices=notices,
        encryption=verdict.get("encryption") or {},
        signer=verdict.get("signer"),
        bodies=bodies,
        alternatives=alternatives,
        attachments=_attachments(message, result),
        outer_subject=outer_subject if outer_subject != subject else "",
        layers=list(verdict.get("layers") or []),
        header_protection=dict(head.get("protected") or {}),
        unsubscribe=str(head.get("list_unsubscribe") or ""),
        result=result,
    )


def locked(message: Message) -> OpenedMessage:
    """An encrypted mail while its owner is locked: what the list knows, and nothing more."""
    sender = Mailbox(message.from_name, message.from_address)
    none: dict[str, Any] = {"state": "unsigned", "facts": {}, "encryption": {"encrypted": True}}
    return OpenedMessage(
        message=message,
        locked=True,
        subject="",
        senders=[sender],
        to=[],
        cc=[],
        bcc=[],
        reply_to=[],
        date=message.date,
        received=message.internal_date,
        identity=badges.identity(none, sender=sender.address, history=History(), locked=True),
        time=badges.time_line({"time": {"received": judge.milliseconds(message.internal_date)}}),
        protection=[],
        facts=[],
        notices=[],
        encryption={"encrypted": True},
        signer=None,
        bodies=[],
        alternatives=[],
        attachments=[],
        outer_subject="",
        layers=[],
        header_protection={},
        unsubscribe="",
        result={},
    )


def closed(message: Message) -> OpenedMessage:
    """A mail that cannot be fetched or opened now: the outside of it, as the list has it."""
    return replace(locked(message), subject=message.subject)


def earlier(user: User, message: Message, result: Mapping[str, Any]) -> tuple[History, bool]:
    """What the owner's mail knows of the sender, this mail aside, and whether it is counted."""
    sender = _only(_mailboxes(result["headers"].get("from")))
    if not sender:
        return History(), False
    verdict = result["verdict"]
    verified = verdict["state"] == "verified" and verdict.get("signer")
    signer = str(verdict["signer"]["fingerprint"]) if verified else ""
    past, counted = history.of_mail(
        user.pk, sender, message_id=str(result["headers"].get("message_id") or ""), signer=signer
    )
    if counted:
        if signer:
            past = replace(past, signed=max(past.signed - 1, 0))
        else:
            past = replace(past, unsigned=max(past.unsigned - 1, 0))
    if not verified:  # else nobody asks
        past = replace(past, colleague=bool(of_colleagues({message: sender})))
    return past, counted


def _only(senders: list[Mailbox]) -> str:
    """The address of the one sender; "" when there are several, or none."""
    return addresses.normalise(senders[0].address) if len(senders) == 1 else ""


def _mailboxes(found: Any) -> list[Mailbox]:
    return [
        Mailbox(clean(str(each.get("name") or "")), clean(str(each.get("address") or "")))
        for each in found or []
    ]


def _part_url(name: str, message: Message, part: str) -> str:
    return reverse(f"reading:{name}", kwargs={**message.address(), "part": part})


def _bodies(message: Message, result: dict[str, Any]) -> tuple[list[Body], list[Body]]:
    """Bodies to show, one per group of alternatives, and the other forms of the same."""
    protected = any(each["protection"] != "unprotected" for each in result["bodies"])
    text_first = _text_first(result)
    everything = [
        Body(
            id=str(each["id"]),
            type=str(each["type"]),
            text=str(each["text"]),
            url=_part_url("body", message, str(each["id"])),
            protection=str(each["protection"]),
            root=bool(each["root"]),
            remote_allowed=bool(each.get("remote_allowed", False)) and not text_first,
            outside=protected and each["protection"] == "unprotected",
        )
        for each in result["bodies"]
    ]
    groups: dict[Any, list[int]] = {}
    for index, each in enumerate(result["bodies"]):
        groups.setdefault(
            ("alone", index) if each.get("alternative") is None else each["alternative"], []
        ).append(index)
    shown: list[Body] = []
    others: list[Body] = []
    wanted = "text/plain" if text_first else "text/html"
    for members in groups.values():
        chosen = next((i for i in members if everything[i].type == wanted), members[-1])
        if len({everything[i].type for i in members}) == 1:
            # Several parts of the same type in one alternative belong together.
            shown += [everything[i] for i in members]
            continue
        shown += [everything[i] for i in members if everything[i].type == everything[chosen].type]
        others += [everything[i] for i in members if everything[i].type != everything[chosen].type]
    return shown, others


def _text_first(result: Mapping[str, Any]) -> bool:
    """Encrypted without protection against changes, and no signature that holds: an attacker may
    have built something around somebody's text."""
    return any(each.get("code") == "decrypt.unauthenticated" for each in result["notices"])


def _attachments(message: Message, result: dict[str, Any]) -> list[Attachment]:
    return [
        Attachment(
            id=str(each["id"]),
            name=clean(str(each.get("name") or "")),
            type=str(each.get("type") or "application/octet-stream").lower(),
            size=int(each.get("size") or 0),
            inline=bool(each.get("inline")),
            protection=str(each.get("protection", "unprotected")),
            url=_part_url("attachment", message, str(each["id"])),
            content_id=str(each.get("cid") or "").strip("<>"),
        )
        for each in result["attachments"]
    ]
