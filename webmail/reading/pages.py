"""What list and message pages are given (the names are fixed with the templates)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from asn1crypto import x509 as asn1_x509
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _

from crypto_agent.protocol import ProtocolError
from webmail.agent.sentences import explain as explain_agent
from webmail.lib.numbers import whole
from webmail.mailbox import imap, lists
from webmail.mailbox.context import rail
from webmail.mailbox.imap import MailServerError
from webmail.mailbox.models import Folder, Message
from webmail.mailbox.search import OPERATORS
from webmail.mailbox.summary import Summary
from webmail.reading import badges, frame
from webmail.reading.list_rows import Row, rows, state_token, thread_counts
from webmail.reading.open_message import OpenedMessage
from webmail.reading.peek import unopened

if TYPE_CHECKING:
    from webmail.accounts.models import User
    from webmail.agent.door import KeyHolderSession

AUTHORITIES_REMEMBERED: Final = 200

THREAD_LIMIT: Final = 100
"""Mails of one conversation listed beside the open one."""


def error_of(error: MailServerError | ProtocolError) -> dict[str, str]:
    """``error`` as templates know it."""
    if isinstance(error, ProtocolError):
        sentence, hint = explain_agent(error.code)
        return {"sentence": sentence, "hint": hint}
    return {"sentence": error.sentence, "hint": ""}


def page_number(request: HttpRequest) -> int:
    return min(whole(request.GET.get("page", "1")) or 1, 999_999)


def list_url(folder: Folder, *, number: int, query: str) -> str:
    wanted = {"q": query} if query else {}
    if number > 1:
        wanted["page"] = str(number)
    base = reverse("reading:folder", kwargs={"folder_id": folder.pk})
    return f"{base}?{urlencode(wanted)}" if wanted else base


def list_context(
    request: HttpRequest,
    folder: Folder,
    *,
    user: User,
    holder: KeyHolderSession | None,
    number: int,
    query: str,
    selected: int | None = None,
    background: bool = False,
) -> dict[str, Any]:
    """Everything of ``reading/folder.html`` and ``reading/_list.html``."""
    page = lists.page(folder, number=number, query=query)
    token = state_token(folder, page.messages)
    poll = {"folder": str(folder.pk), "seen": token}
    if query:
        poll["q"] = query
    if page.number > 1:
        poll["page"] = str(page.number)
    return {
        "folder": {
            "id": folder.pk,
            "name": folder.label,
            "role": folder.role,
            "unread": folder.unread,
            "total": folder.total,
            "url": reverse("reading:folder", kwargs={"folder_id": folder.pk}),
            "synced_at": folder.synced_at,
            "problem": imap.explain(folder.problem) if folder.problem else "",
            "loading": folder.exists > folder.total or folder.synced_at is None,
        },
        "rows": rows(
            page.messages, user=user, holder=holder, selected=selected, background=background
        ),
        "page": {
            "number": page.number,
            "first": page.first,
            "last": page.last,
            "total": min(page.total, lists.COUNT_LIMIT) if query else page.total,
            "total_is_exact": page.total_is_exact,
            "previous_url": (
                list_url(folder, number=page.number - 1, query=query) if page.has_previous else ""
            ),
            "next_url": (
                list_url(folder, number=page.number + 1, query=query) if page.has_next else ""
            ),
        },
        "query": query,
        "search_note": (_("Only senders, recipients and subjects are searched.") if query else ""),
        "operators": list(OPERATORS),
        "list_url": list_url(folder, number=page.number, query=query),
        "poll_url": f"{reverse('reading:poll')}?{urlencode(poll)}",
        "state_token": token,
        "folders": SimpleLazyObject(partial(rail, user, folder.pk)),
        "unopened": unopened(page.messages, unlocked=holder is not None),
        "opened": None,
        "error": None,
    }


class Beside:
    """What is around a mail, whatever is in it. Read once, when it is asked for or when there is
    time to spare."""

    def __init__(self, message: Message, user: User) -> None:
        self.message = message
        self.user = user

    def read(self) -> None:
        _ = self.folders, self.threads, self._neighbours

    @cached_property
    def folders(self) -> list[dict[str, Any]]:
        return rail(self.user, self.message.folder_id)

    @cached_property
    def threads(self) -> Mapping[tuple[int, str], int]:
        return thread_counts([self.message])

    @cached_property
    def _neighbours(self) -> tuple[int | None, int | None]:
        return lists.neighbours(self.message)

    @property
    def newer_url(self) -> str:
        return _message_url(self.message.folder_id, self._neighbours[0])

    @property
    def older_url(self) -> str:
        return _message_url(self.message.folder_id, self._neighbours[1])


def message_context(
    request: HttpRequest,
    message: Message,
    opened: OpenedMessage,
    beside: Beside,
    *,
    user: User,
    holder: KeyHolderSession | None,
) -> dict[str, Any]:
    """What ``reading/message.html`` has beside the list."""
    known = {} if opened.summary is None else {message.pk: opened.summary}
    row = rows(
        [message],
        user=user,
        holder=holder,
        selected=message.pk,
        opened=known,
        threads=beside.threads,
    )[0]
    blocked = frame.remote_blocked(opened)
    shown = request.GET.get("remote") == "1"
    return {
        "opened": opened,
        "row": row,
        "urls": urls(message),
        "folders": beside.folders,
        "newer_url": beside.newer_url,
        "older_url": beside.older_url,
        "thread": (
            thread(message, user=user, holder=holder, opened=known) if row.thread_count > 1 else []
        ),
        "remote": {
            "blocked": blocked,
            "shown": shown,
            "allowed": any(body.remote_allowed for body in opened.bodies if body.is_html),
        },
        "certificate": certificate(opened),
        "encryption_words": encryption_words(opened.encryption),
        "back_to": request.get_full_path(),
    }


def _message_url(folder_id: int, uid: int | None) -> str:
    if uid is None:
        return ""
    return reverse("reading:message", kwargs={"folder_id": folder_id, "uid": uid})


def urls(message: Message) -> dict[str, str]:
    """Addresses of everything one can do with a mail."""
    key = message.address()
    here = reverse("reading:message", kwargs=key)
    origin = f"{message.folder_id}/{message.uid}"
    compose = reverse("compose:new")

    def answer(mode: str) -> str:
        return f"{compose}?{urlencode({'reply': origin, 'mode': mode})}"

    return {
        "self": here,
        "identity": reverse("reading:identity", kwargs=key),
        "source": reverse("reading:source", kwargs=key),
        "print": reverse("reading:print", kwargs=key),
        "reply": answer("reply"),
        "reply_all": answer("reply_all"),
        "forward": answer("forward"),
        "forward_attachment": answer("forward_attachment"),
        "remote": f"{here}?remote=1",
    }


def thread(
    message: Message,
    *,
    user: User,
    holder: KeyHolderSession | None,
    opened: Mapping[int, Summary],
) -> list[Row]:
    """The conversation in this folder, oldest first; [] when the mail stands alone."""
    if not message.thread_key:
        return []
    found = list(
        Message.objects.filter(
            folder=message.folder_id, thread_key=message.thread_key, deleted=False
        )
        .select_related("folder")
        .order_by("internal_date", "uid")[:THREAD_LIMIT]
    )
    if len(found) < 2:
        return []
    return rows(found, user=user, holder=holder, selected=message.pk, opened=opened)


REVOCATION_WORDS: Final = {
    "good": lambda: _("Not withdrawn"),
    "revoked": lambda: _("Withdrawn"),
    "unknown": lambda: _("Not known yet"),
}


def certificate(opened: OpenedMessage) -> dict[str, Any] | None:
    """The signer's certificate in words, or None."""
    signer = opened.signer
    if not signer:
        return None
    revocation = str(opened.result.get("verdict", {}).get("revocation", "unknown"))
    return {
        "name": signer.get("name", ""),
        "organisation": signer.get("organisation", ""),
        "country": signer.get("country", ""),
        "addresses": list(signer.get("addresses") or []),
        "level": signer.get("level", ""),
        "level_words": badges.level_words(signer),
        "issuer": signer.get("issuer", ""),
        "serial": signer.get("serial", ""),
        "fingerprint": signer.get("fingerprint", ""),
        "key": signer.get("key", ""),
        "not_before": badges.moment(signer.get("not_before")),
        "not_after": badges.moment(signer.get("not_after")),
        "chain": [
            _subject(bytes(der)) or _("(unreadable certificate)")
            for der in signer.get("chain") or []
        ],
        "revocation": revocation,
        "revocation_words": REVOCATION_WORDS.get(revocation, REVOCATION_WORDS["unknown"])(),
        "pem_url": reverse("reading:certificate", kwargs=opened.message.address()),
    }


@lru_cache(maxsize=AUTHORITIES_REMEMBERED)
def _subject(der: bytes) -> str:
    """Name of an authority, "" when it cannot be read. The same few vouch for most mail."""
    try:
        name = asn1_x509.Certificate.load(der).subject
        return str(name.native.get("common_name") or name.human_friendly)
    except (ValueError, TypeError, AttributeError):
        return ""


def encryption_words(encryption: Mapping[str, Any]) -> list[str]:
    """The technical words for the details."""
    parts = [str(encryption.get(key) or "") for key in ("algorithm", "key_transport")]
    words = ", ".join(part for part in parts if part)
    return [words] if words else []


def print_lines(opened: OpenedMessage) -> list[tuple[str, str]]:
    """Sender, recipients, times and the verdict as text, for the printed page."""
    identity = opened.identity

    def people(found: list[Any]) -> str:
        return ", ".join(
            f"{each.name} <{each.address}>" if each.name else each.address for each in found
        )

    said = [identity.headline, identity.level_words, identity.continuity, identity.explanation]
    lines = [
        (_("Subject"), opened.subject),
        (_("From"), people(opened.senders)),
        (_("To"), people(opened.to)),
        (_("Cc"), people(opened.cc)),
        (_("Identity"), " · ".join(each for each in said if each)),
        (_("Time"), opened.time.words),
        (_("Protection"), " · ".join(opened.protection)),
        (
            _("Attachments"),
            ", ".join(each.name or _("(no name)") for each in opened.downloads),
        ),
        (_("Printed"), badges.moment_words(timezone.now())),
    ]
    return [(name, value) for name, value in lines if value]
