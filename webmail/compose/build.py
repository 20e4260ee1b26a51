"""Answers and forwards: what a new mail takes from the one it answers, and what it must not take.

Only what the reader saw is quoted (the agent decides that: the root payload and nothing hidden in
it). Recipients come from protected headers only (RFC 9788 §4.6), so that nobody on the way can
slip themselves into the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from django.utils import formats, timezone
from django.utils.translation import gettext as _

from webmail.agent import door
from webmail.certificates.facts import address_key
from webmail.certificates.material import trust_material
from webmail.compose.drafts import About, Content, Mailbox
from webmail.mailbox import fetch, judge
from webmail.mailbox.models import Kind, Message
from webmail.message.headers import clean

if TYPE_CHECKING:
    from webmail.accounts.models import User
    from webmail.agent.door import KeyHolderSession

MODES: Final = frozenset({"reply", "reply_all", "forward", "forward_attachment"})
REFERENCES_LIMIT: Final = 40
"""Message-IDs kept: the first and the newest (RFC 5322 §3.6.4 sets no limit; headers have one)."""
QUOTE_LIMIT: Final = 200_000
"""Letters of a quote; a longer original is forwarded as an attachment instead."""
SUBJECT_LIMIT: Final = 900
HIDDEN_SUBJECT: Final = "[...]"
"""What an encrypted mail shows outside (RFC 9788 §3.2.1, hcp_baseline)."""

_REPLY_PREFIX: Final = re.compile(r"(?:(?:re|aw|sv|antw|回复|答复)(?:\[\d+\])?\s*[:：]\s*)+", re.I)
_FORWARD_PREFIX: Final = re.compile(r"(?:(?:fwd?|wg|转发)\s*[:：]\s*)+", re.I)
_MESSAGE_ID: Final = re.compile(r"<?([^\s<>]{1,300}@[^\s<>]{1,300})>?")


@dataclass(frozen=True)
class File:
    """An attachment taken over from the original."""

    name: str
    type: str
    data: bytes
    cid: str = ""
    inline: bool = False


@dataclass(frozen=True)
class Built:
    """A mail to begin with."""

    content: Content
    about: About
    files: tuple[File, ...] = ()


def senders(user: User) -> list[Mailbox]:
    """Every address the user may write from, the primary one first."""
    return [Mailbox(user.display_name, each.address) for each in user.addresses.all()]


def new(user: User, *, to: str = "", cc: str = "", subject: str = "", body: str = "") -> Built:
    """An empty mail, or what a mailto: link may ask for: to, cc, subject and text, never more."""
    from webmail.compose.forms import known_mailboxes

    sender = _primary(user)
    text = body[:QUOTE_LIMIT] + _signature(user)
    content = Content(
        sender=sender,
        to=known_mailboxes(to),
        cc=known_mailboxes(cc),
        subject=clean(subject)[:SUBJECT_LIMIT],
        text=text if text.strip() else "",
    )
    return Built(content, About())


def answer(holder: KeyHolderSession, user: User, message: Message, mode: str) -> Built:
    """A reply or forward of ``message``, opened with the user's keys.

    Raises MailServerError and ProtocolError; ValueError for an unknown mode.
    """
    if mode not in MODES:
        raise ValueError("mode")
    raw = fetch.raw_mail(message)
    result = _open(holder, user, message, raw)
    files: tuple[File, ...] = ()
    if mode == "forward_attachment":
        files = (_whole_mail(raw, result),)
    elif mode == "forward":
        files = tuple(_files(holder, message, raw, result))
    return build(user, message.folder_id, message.uid, result, mode, files)


def build(
    user: User,
    folder: int,
    uid: int,
    result: dict[str, Any],
    mode: str,
    files: tuple[File, ...] = (),
) -> Built:
    """The mail to begin with, from the agent's result alone."""
    head = trusted_headers(result)
    own = {address_key(each.address) for each in user.addresses.all()}
    sender = _answering_as(user, head)
    subject = clean(str(head.get("subject") or ""))
    forward = mode.startswith("forward")
    quoted = "" if mode == "forward_attachment" else _quote(user, head, result, forward=forward)
    to, cc = ((), ()) if forward else _recipients(head, own, everybody=mode == "reply_all")
    identifier = _identifiers([str(head.get("message_id") or "")])
    content = Content(
        sender=sender,
        to=tuple(to),
        cc=tuple(cc),
        subject=forward_subject(subject) if forward else reply_subject(subject),
        text=_signature(user) + quoted,
        in_reply_to=identifier[0] if identifier and not forward else "",
        references=tuple(_references(head)) if not forward else (),
    )
    about = About(
        mode=mode,
        folder=folder,
        uid=uid,
        encrypted=bool(result["verdict"]["encryption"]["encrypted"]),
        subject=subject,
        sender=_label(head),
        quoted=quoted,
        in_reply_to=content.in_reply_to,
        references=content.references,
    )
    return Built(content, about, files)


def trusted_headers(result: dict[str, Any]) -> dict[str, Any]:
    """The headers that may steer an answer.

    Where a mail protects its headers, one that is not protected counts as absent: somebody on the
    way may have added it.
    """
    head = dict(result["headers"])
    protected: dict[str, str] = head.get("protected") or {}
    states = {name.lower().replace("-", "_"): state for name, state in protected.items()}
    if not any(state != "unprotected" for state in states.values()):
        return head
    lists = ("from", "sender", "to", "cc", "bcc", "reply_to", "references")
    for name in lists:
        if states.get(name, "unprotected") == "unprotected":
            head[name] = []
    for name in ("in_reply_to", "message_id"):
        if states.get(name, "unprotected") == "unprotected":
            head[name] = ""
    return head


def reply_subject(subject: str) -> str:
    """One ``Re:``, whatever chain of prefixes stood there before (RFC 5322 §3.6.5)."""
    return f"Re: {_REPLY_PREFIX.sub('', subject, count=1).strip()}"[:SUBJECT_LIMIT].strip()


def forward_subject(subject: str) -> str:
    return f"Fwd: {_FORWARD_PREFIX.sub('', subject, count=1).strip()}"[:SUBJECT_LIMIT].strip()


def without_quote(text: str, about: About) -> str:
    """``text`` without what was quoted from an encrypted mail: every quoted line of it goes.

    What the writer copied by hand cannot be told from what they wrote; the page says so.
    """
    if about.quoted and about.quoted in text:
        text = text.replace(about.quoted, "")
    secret = {line.lstrip("> ").strip() for line in about.quoted.splitlines()}
    secret.discard("")
    kept = [
        line
        for line in text.splitlines()
        if not line.startswith(">") and line.lstrip("> ").strip() not in secret
    ]
    return "\n".join(kept).strip("\n") + "\n"


def leaks_quote(text: str, html: str | None, about: About) -> bool:
    """Whether lines of the encrypted original stand in what would leave in clear."""
    secret = {line.lstrip("> ").strip() for line in about.quoted.splitlines()}
    whole = "\n".join([text, html or ""])
    return any(len(line) >= 12 and line in whole for line in secret) or any(
        line.startswith(">") for line in text.splitlines()
    )


# --------------------------------------------------------------------------- pieces


def _open(
    holder: KeyHolderSession, user: User, message: Message, raw: fetch.RawMail
) -> dict[str, Any]:
    payload = judge.open_payload(raw, trust_material(user.pk))
    if message.kind == Kind.PLAIN:
        return door.service("verifier", "open", payload)
    return door.call(holder, "open", payload)


def _primary(user: User) -> Mailbox:
    found = senders(user)
    return found[0] if found else Mailbox(user.display_name, "")


def _answering_as(user: User, head: dict[str, Any]) -> Mailbox:
    """The own address which the original was sent to, else the primary one."""
    named = [address_key(str(each["address"])) for each in _all(head, "to", "cc", "bcc")]
    for mailbox in senders(user):
        if address_key(mailbox.address) in named:
            return mailbox
    return _primary(user)


def _all(head: dict[str, Any], *names: str) -> Iterable[dict[str, str]]:
    for name in names:
        yield from head.get(name) or []


def _recipients(
    head: dict[str, Any], own: set[str], *, everybody: bool
) -> tuple[Sequence[Mailbox], Sequence[Mailbox]]:
    author = list(_all(head, "from"))
    target = list(_all(head, "reply_to")) or author
    from_me = bool(author) and all(address_key(str(each["address"])) in own for each in author)
    if from_me:
        # Answering one's own mail goes on writing to the same people.
        target = list(_all(head, "to"))
    seen = set() if from_me else set(own)
    if not everybody:
        seen = set()  # a note to oneself can be answered
    to = _fresh(target, seen)
    if not everybody:
        return to, ()
    seen |= own
    to = [mailbox for mailbox in to if address_key(mailbox.address) not in own] or to
    cc = _fresh(list(_all(head, "cc") if from_me else _all(head, "to", "cc")), seen)
    return to, cc


def _fresh(mailboxes: Iterable[dict[str, str]], seen: set[str]) -> list[Mailbox]:
    found: list[Mailbox] = []
    for each in mailboxes:
        key = address_key(str(each["address"]))
        if key and key not in seen:
            seen.add(key)
            found.append(Mailbox(clean(str(each.get("name") or "")), str(each["address"])))
    return found


def _identifiers(values: Iterable[str]) -> list[str]:
    found = [f"<{match[1]}>" for value in values if (match := _MESSAGE_ID.fullmatch(value.strip()))]
    return list(dict.fromkeys(found))


def _references(head: dict[str, Any]) -> list[str]:
    """RFC 5322 §3.6.4: the original's references (or its In-Reply-To), then its Message-ID."""
    before = _identifiers(str(each) for each in head.get("references") or [])
    if not before:
        before = _identifiers([str(head.get("in_reply_to") or "")])
    chain = list(dict.fromkeys([*before, *_identifiers([str(head.get("message_id") or "")])]))
    if len(chain) > REFERENCES_LIMIT:
        chain = [chain[0], *chain[-(REFERENCES_LIMIT - 1) :]]
    return chain


def _label(head: dict[str, Any]) -> str:
    for each in _all(head, "from"):
        return clean(str(each.get("name") or each.get("address") or ""))
    return ""


def _signature(user: User) -> str:
    text = user.signature_text.strip("\n")
    return f"\n\n-- \n{text}\n" if text else "\n"  # RFC 3676 §4.3


def _quote(user: User, head: dict[str, Any], result: dict[str, Any], *, forward: bool) -> str:
    text = str((result.get("quote") or {}).get("text") or "").strip("\n")[:QUOTE_LIMIT]
    if forward:
        return f"\n{_forward_head(user, head)}\n\n{text}\n"
    if not text:
        return ""
    when = _date(user, head)
    who = _label(head)
    if when:
        line = _("On %(when)s, %(who)s wrote:") % {"when": when, "who": who}
    else:
        line = _("%(who)s wrote:") % {"who": who}
    quoted = "\n".join(
        f">{'' if part.startswith('>') or not part else ' '}{part}" for part in text.splitlines()
    )
    return f"\n{line}\n{quoted}\n"


def _forward_head(user: User, head: dict[str, Any]) -> str:
    lines = ["---------- " + _("Forwarded message") + " ----------"]
    for words, name in ((_("From"), "from"), (_("To"), "to"), (_("Cc"), "cc")):
        shown = ", ".join(shown_mailbox(each) for each in _all(head, name))
        if shown:
            lines.append(f"{words}: {shown}")
    when = _date(user, head)
    if when:
        lines.append(f"{_('Date')}: {when}")
    lines.append(f"{_('Subject')}: {clean(str(head.get('subject') or ''))}")
    return "\n".join(lines)


def shown_mailbox(mailbox: dict[str, str]) -> str:
    """``Name <address>`` in one line of text."""
    name, address = clean(str(mailbox.get("name") or "")), str(mailbox.get("address") or "")
    return f"{name} <{address}>" if name else address


def _date(user: User, head: dict[str, Any]) -> str:
    if not head.get("date"):
        return ""
    try:
        moment = datetime.fromtimestamp(int(head["date"]) / 1000, UTC)
        local = timezone.localtime(moment, ZoneInfo(user.time_zone or "UTC"))
    except (ValueError, OverflowError, OSError, KeyError):
        return ""
    return formats.date_format(local, "DATETIME_FORMAT")


def _whole_mail(raw: fetch.RawMail, result: dict[str, Any]) -> File:
    subject = clean(str(result["headers"].get("subject") or ""))
    encrypted = bool(result["verdict"]["encryption"]["encrypted"])
    # The name of an attachment of an encrypted mail is encrypted too when the forward is; when it
    # is not, the original's subject must not stand in it.
    name = "message" if encrypted or not subject else re.sub(r"[^\w .-]", "_", subject)[:80]
    return File(f"{name}.eml", "message/rfc822", raw.data)


def _files(
    holder: KeyHolderSession, message: Message, raw: fetch.RawMail, result: dict[str, Any]
) -> Iterable[File]:
    """Attachments that stand under the same protection as the text that is quoted.

    A decrypted part inside an otherwise open mail may be a stranger's bait: it stays behind.
    """
    roots = {each["protection"] for each in result["bodies"] if each["root"]}
    trust: dict[str, Any] = {"anchors": [], "intermediates": [], "crls": [], "ocsp": [], "pins": {}}
    for each in result["attachments"]:
        if roots and each["protection"] not in roots:
            continue
        payload = judge.open_payload(raw, trust, part=str(each["id"]))
        if message.kind == Kind.PLAIN:
            part = door.service("verifier", "open", payload)
        else:
            part = door.call(holder, "open", payload)
        yield File(
            name=str(part.get("name") or each.get("name") or ""),
            type=str(part.get("type") or each.get("type") or ""),
            data=bytes(part["data"]),
        )
