"""Pages of folders and searches, from the database alone: they work while the server is away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.db.models import Q, QuerySet

from webmail.mailbox.models import Folder, Message, Role
from webmail.mailbox.search import Search, parse

if TYPE_CHECKING:
    from webmail.accounts.models import User

PAGE: Final = 50

COUNT_LIMIT: Final = 1_000
"""A search is counted this far: "1,000+" is enough to know, and cheap."""

PAGE_LIMIT: Final = 20_000
"""1,000,000 mails; a larger number in the address is a mistake."""

_ORDER: Final = ("-internal_date", "-uid")


@dataclass(frozen=True)
class Page:
    """One page of rows, newest first."""

    messages: list[Message]
    number: int
    """1-based."""
    total: int
    total_is_exact: bool
    search: Search

    @property
    def has_next(self) -> bool:
        return self.number * PAGE < self.total

    @property
    def has_previous(self) -> bool:
        return self.number > 1

    @property
    def first(self) -> int:
        return (self.number - 1) * PAGE + 1 if self.messages else 0

    @property
    def last(self) -> int:
        return (self.number - 1) * PAGE + len(self.messages)


def page(folder: Folder, *, number: int = 1, query: str = "") -> Page:
    """Page ``number`` of ``folder``, or of what in it matches ``query``."""
    number = min(max(number, 1), PAGE_LIMIT)
    search = parse(query)
    rows = folder.messages.filter(deleted=False)
    if search.everywhere:
        rows = Message.objects.filter(folder__account=folder.account_id, deleted=False)
        rows = rows.exclude(folder__role__in=[Role.TRASH, Role.JUNK])
    if search:
        rows = rows.filter(search.condition)
        total = rows[: COUNT_LIMIT + 1].count()
        exact = total <= COUNT_LIMIT
    else:
        total, exact = folder.total, True
    start = (number - 1) * PAGE
    # Keys first: the offset then walks an index and not rows.
    keys = list(rows.order_by(*_ORDER).values_list("pk", flat=True)[start : start + PAGE])
    found = {
        row.pk: row
        for row in Message.objects.filter(pk__in=keys).select_related("folder").defer("references")
    }
    return Page([found[key] for key in keys if key in found], number, total, exact, search)


def newer_than(folder: Folder, uid: int) -> QuerySet[Message]:
    """Rows that arrived after the one with ``uid``, newest first."""
    return folder.messages.filter(uid__gt=uid, deleted=False).order_by(*_ORDER)


def neighbours(message: Message) -> tuple[int | None, int | None]:
    """UIDs of the next newer and the next older mail of the same folder."""
    same = Message.objects.filter(folder=message.folder_id, deleted=False)
    uids = same.values_list("uid", flat=True)
    moment, uid = message.internal_date, message.uid
    newer = (
        uids.filter(Q(internal_date__gt=moment) | Q(internal_date=moment, uid__gt=uid))
        .order_by("internal_date", "uid")
        .first()
    )
    older = (
        uids.filter(Q(internal_date__lt=moment) | Q(internal_date=moment, uid__lt=uid))
        .order_by("-internal_date", "-uid")
        .first()
    )
    return newer, older


_ROLE_ORDER: Final = (
    Role.INBOX,
    Role.DRAFTS,
    Role.SENT,
    Role.ARCHIVE,
    Role.JUNK,
    Role.TRASH,
    Role.OTHER,
)


def folders(user: User) -> list[Folder]:
    """The folders of a person as a rail shows them: the known roles first, then by name."""
    rows = Folder.objects.filter(account__user=user, selectable=True)
    return sorted(rows, key=lambda each: (_ROLE_ORDER.index(Role(each.role)), each.name.lower()))
