"""Rows of a list as people see them: sealed subjects opened once for the whole page."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db.models import Count
from django.urls import reverse
from django.utils.translation import gettext as _

from crypto_agent.protocol import ProtocolError
from webmail.agent import door as agent_door
from webmail.certificates import history
from webmail.mailbox.colleagues import of_colleagues
from webmail.mailbox.models import Folder, Kind, Message, Role
from webmail.mailbox.summary import Summary
from webmail.reading import badges

if TYPE_CHECKING:
    from webmail.accounts.models import User
    from webmail.agent.door import KeyHolderSession


@dataclass(frozen=True)
class Row:
    """One mail of a list. ``mark`` is the one security sign, words first."""

    id: int
    uid: int
    url: str
    unread: bool
    flagged: bool
    answered: bool
    selected: bool
    sender: str
    sender_proven: bool
    address: str
    level_chip: str
    subject: str
    sealed: bool
    """Subject and preview cannot be read now."""
    snippet: str
    when: datetime
    has_attachments: bool
    encrypted: bool
    timestamped: bool
    thread_count: int
    mark: dict[str, str]


def rows(
    messages: Sequence[Message],
    *,
    user: User,
    holder: KeyHolderSession | None,
    selected: int | None = None,
    background: bool = False,
    opened: Mapping[int, Summary] | None = None,
    threads: Mapping[tuple[int, str], int] | None = None,
) -> list[Row]:
    """Rows for ``messages``, in their order. ``background``: a poll must not keep unlocked.

    ``opened``: what is known already of some of them, by primary key; the agent is not asked again.
    ``threads``: :func:`thread_counts` of them, when it is known.
    """
    known = opened or {}
    waiting = [each for each in messages if each.pk not in known]
    summaries = {**known, **_open_summaries(waiting, holder, background=background)}
    if threads is None:
        threads = thread_counts(messages)
    expected = _expected_signed(messages, user)
    drafts = _draft_urls(messages, user)
    return [
        _row(
            message,
            summaries.get(message.pk),
            threads=threads,
            expected=message in expected,
            draft_url=drafts.get((message.folder_id, message.uid), ""),
            selected=selected == message.pk,
        )
        for message in messages
    ]


def state_token(folder: Folder, messages: Sequence[Message]) -> str:
    """Changes when anything a list shows has changed; begins with the newest UID known."""
    facts = [
        (each.pk, each.seen, each.flagged, each.answered, str(each.judged_at)) for each in messages
    ]
    digest = hashlib.sha256(
        repr((folder.total, folder.unread, folder.exists, folder.problem, facts)).encode()
    ).hexdigest()[:16]
    return f"{folder.uid_next}-{digest}"


def _open_summaries(
    messages: Sequence[Message], holder: KeyHolderSession | None, *, background: bool
) -> dict[int, Summary]:
    sealed = [each for each in messages if each.sealed_summary]
    if holder is None or not sealed:
        return {}
    try:
        with agent_door.background() if background else nullcontext():
            items = agent_door.call(
                holder,
                "open_fields",
                {"items": [bytes(each.sealed_summary or b"") for each in sealed]},
            )["items"]
    except ProtocolError:
        return {}  # the list stays usable; the rows say that they are sealed
    found = {
        each.pk: Summary.unpack(item) for each, item in zip(sealed, items, strict=True) if item
    }
    return {key: value for key, value in found.items() if value is not None}


def thread_counts(messages: Sequence[Message]) -> Counter[tuple[int, str]]:
    """How many mails each conversation of ``messages`` has in its folder."""
    keys = {each.thread_key for each in messages if each.thread_key}
    folders = {each.folder_id for each in messages}
    counted = (
        Message.objects.filter(folder__in=folders, thread_key__in=keys, deleted=False)
        .values("folder_id", "thread_key")
        .annotate(number=Count("pk"))
    )
    return Counter({(each["folder_id"], each["thread_key"]): each["number"] for each in counted})


def _expected_signed(messages: Sequence[Message], user: User) -> frozenset[Message]:
    """The unsigned mails of this page whose sender usually signs."""
    plain = {
        each: each.from_address
        for each in messages
        if each.kind == Kind.PLAIN and each.from_address and not each.bulk
    }
    if not plain:
        return frozenset()
    usual = history.usual_signers(user.pk, plain.values())
    found = {each for each, sender in plain.items() if sender in usual}
    return frozenset(found | of_colleagues(plain))


def _draft_urls(messages: Sequence[Message], user: User) -> dict[tuple[int, int], str]:
    """Where the drafts of this page are written on. Compose is a sibling, hence by its name."""
    drafts = [each for each in messages if each.folder.role == Role.DRAFTS]
    if not drafts:
        return {}
    model = apps.get_model("compose", "Draft")
    known: dict[tuple[int, int], Any] = {
        (uid, validity): pk
        for pk, uid, validity in model.objects.filter(
            user=user, imap_uid__in=[each.uid for each in drafts], closing=False
        ).values_list("pk", "imap_uid", "imap_uid_validity")
    }
    return {
        (each.folder_id, each.uid): reverse(
            "compose:draft", args=[known[each.uid, each.folder.uid_validity]]
        )
        for each in drafts
        if (each.uid, each.folder.uid_validity) in known
    }


def _row(
    message: Message,
    opened: Summary | None,
    *,
    threads: Mapping[tuple[int, str], int],
    expected: bool,
    draft_url: str,
    selected: bool,
) -> Row:
    sealed = message.kind == Kind.ENCRYPTED and opened is None
    own = message.folder.role in {Role.SENT, Role.DRAFTS}
    state = opened.state if opened else message.verdict_state
    level = opened.level if opened else message.verdict_level
    name = opened.signer_name if opened else message.signer_name
    organisation = opened.signer_organisation if opened else message.signer_organisation
    proven = state == "verified" and not own
    sender = message.sender or _("(no sender)")
    if own:
        to = (opened.recipients if opened else "") or message.to
        unknown = _("Draft") if sealed else _("To: %(who)s") % {"who": _("(nobody)")}
        sender = _("To: %(who)s") % {"who": to} if to else unknown
    elif proven:
        shown = {"V2": name, "V4": name, "V3": organisation}.get(level, "")
        sender = shown or message.from_address
    return Row(
        id=message.pk,
        uid=message.uid,
        url=draft_url or reverse("reading:message", kwargs=message.address()),
        unread=not message.seen,
        flagged=message.flagged,
        answered=message.answered,
        selected=selected,
        sender=sender,
        sender_proven=proven,
        address=message.from_address,
        level_chip=str(badges.LEVEL_CHIPS.get(level, "")) if proven else "",
        subject=opened.subject if opened else "" if sealed else message.subject,
        sealed=sealed,
        snippet=opened.snippet if opened else "" if sealed else message.snippet,
        when=message.internal_date,
        has_attachments=opened.has_attachments if opened else message.has_attachments,
        encrypted=message.kind == Kind.ENCRYPTED,
        timestamped=opened.timestamped if opened else message.timestamped,
        thread_count=threads.get((message.folder_id, message.thread_key), 1),
        mark=_mark(message, state, sender if proven else message.from_address, sealed, expected),
    )


def _mark(message: Message, state: str, who: str, sealed: bool, expected: bool) -> dict[str, str]:
    if sealed:
        return {"state": "encrypted", "words": _("Encrypted message")}
    if state == "shut":
        return {"state": "encrypted", "words": _("Encrypted, could not be opened")}
    if state == "verified":
        return {"state": "verified", "words": _("Signed by %(who)s, verified") % {"who": who}}
    if state == "failed":
        return {"state": "failed", "words": _("The signature does not hold")}
    if state == "unverified":
        return {"state": "unverified", "words": _("Signed, not verified")}
    if expected:
        return {"state": "expected", "words": _("Not signed, although this sender normally signs")}
    if message.kind == Kind.SIGNED and not state:
        return {"state": "pending", "words": _("Signed, not checked yet")}
    return {"state": "unsigned", "words": ""}
