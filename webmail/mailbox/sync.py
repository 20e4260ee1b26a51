"""Bring folders and rows up to what the server says. IMAP is the truth, rows are a cache.

One worker at a time owns a folder's cursor: it sets ``sync_token`` by a conditional update, and
every transaction that moves the cursor names the token, so that a worker whose lease lapsed writes
nothing. The cursor moves in the same transaction as the rows it covers, newest rows come first, and
a run that ends early simply leaves rows above a cursor that has not moved yet.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.db import DatabaseError, transaction
from django.db.models import F, Q
from django.db.models.functions import Greatest
from django.utils import timezone

from webmail.mailbox import imap, roles, rows
from webmail.mailbox.imap import Door, Fetched, MailServerError, Selected
from webmail.mailbox.models import Folder, Message, Role

if TYPE_CHECKING:
    from webmail.accounts.models import MailAccount

logger = logging.getLogger(__name__)

LEASE: Final = timedelta(seconds=150)
"""Longer than the task limit of 120 s: a lapsed lease means its worker is dead."""

BUDGET_SECONDS: Final = 60.0
"""One run reads for at most this long; the rest is left to the next one."""

DATABASE_CHUNK: Final = 500
"""Numbers in one ``IN (…)``: below every database's limit of parameters."""


@dataclass(frozen=True)
class SyncResult:
    """What one run did."""

    new: int
    changed: int
    gone: int
    complete: bool
    """False when the time ran out with older mail still to be read."""


class LeaseLost(Exception):
    """Another worker took over; the transaction is rolled back."""


# --------------------------------------------------------------------------- folders


def sync_folders(account: MailAccount, *, door: Door | None = None) -> list[Folder]:
    """The account's folder list as the server has it now. Raises MailServerError."""
    with nullcontext(door) if door is not None else imap.door(account) as opened:
        listed = opened.list_folders()
    found_roles = roles.roles(listed)
    names = {folder.name for folder in listed}
    with transaction.atomic():
        known = {folder.name: folder for folder in Folder.objects.filter(account=account)}
        for folder in listed:
            facts = {
                "delimiter": folder.delimiter,
                "role": found_roles.get(folder.name, Role.OTHER),
                "selectable": roles.selectable(folder),
            }
            row = known.get(folder.name)
            if row is None:
                Folder.objects.get_or_create(account=account, name=folder.name, defaults=facts)
            elif any(getattr(row, key) != value for key, value in facts.items()):
                Folder.objects.filter(pk=row.pk).update(**facts)
        gone = [row.pk for name, row in known.items() if name not in names]
        if gone and names:
            Folder.objects.filter(pk__in=gone).delete()
    return list(Folder.objects.filter(account=account).order_by("name"))


def folder_of(account: MailAccount, role: str) -> Folder:
    """The account's folder for ``role``, created on the server when there is none."""
    found = Folder.objects.filter(account=account, role=role, selectable=True).first()
    if found is not None:
        return found
    with imap.door(account) as door:
        for folder in sync_folders(account, door=door):
            if folder.role == role and folder.selectable:
                return folder
        name = roles.DEFAULT_NAMES[Role(role)]
        door.create_folder(name)
        sync_folders(account, door=door)
    folder = Folder.objects.get(account=account, name=name)
    if folder.role != role:
        folder.role = role
        folder.save(update_fields=["role"])
    return folder


# --------------------------------------------------------------------------- one folder


def sync_folder(
    folder: Folder, *, door: Door | None = None, seconds: float = BUDGET_SECONDS
) -> SyncResult | None:
    """Bring one folder up to date; None when another worker is at it. Raises MailServerError,
    whose code is also kept in ``folder.problem``."""
    token = _take_lease(folder)
    if token is None:
        return None
    try:
        with nullcontext(door) if door is not None else imap.door(folder.account) as opened:
            run = _Run(folder, token, opened, deadline=time.monotonic() + seconds)
            return run.run()
    except MailServerError as error:
        Folder.objects.filter(pk=folder.pk, sync_token=token).update(problem=error.code)
        if error.code == "missing_folder":
            sync_folders(folder.account)
        raise
    except LeaseLost:
        return None
    finally:
        Folder.objects.filter(pk=folder.pk, sync_token=token).update(
            sync_token=None, sync_until=None
        )


def _take_lease(folder: Folder) -> uuid.UUID | None:
    token = uuid.uuid4()
    now = timezone.now()
    won = (
        Folder.objects.filter(pk=folder.pk, selectable=True)
        .filter(Q(sync_token=None) | Q(sync_until__lt=now))
        .update(sync_token=token, sync_until=now + LEASE)
    )
    return token if won else None


class _Run:
    """One run over one folder, in numbered steps."""

    def __init__(self, folder: Folder, token: uuid.UUID, door: Door, *, deadline: float) -> None:
        self.folder = Folder.objects.get(pk=folder.pk)
        self.token = token
        self.door = door
        self.deadline = deadline
        self.new = self.changed = self.gone = 0

    def run(self) -> SyncResult:
        # 1. What does the server say?
        selected = self.door.select(self.folder.name)
        # 2. Another UIDVALIDITY: every UID we know names something else now (RFC 9051 §2.3.1.1).
        if self.folder.uid_validity != selected.uid_validity:
            self._start_over(selected)
        # 3. A MODSEQ that went backwards is a server restored from backup: trust no cursor.
        suspicious = 0 < selected.highest_modseq < self.folder.highest_modseq
        # 4. Flags that changed and mails that vanished since the last run.
        self._apply_changes(selected, everything=suspicious)
        # 5. New mails, newest first; the cursor moves with the last of them.
        first = self.folder.uid_next if not suspicious else 1
        complete = self._read_new(self.door.uids(first=max(first, 1)), first=first)
        # 6. The safety net: if the numbers differ, compare UID by UID.
        if complete and (suspicious or self._count() != selected.exists):
            complete = self._compare()
        # 7. Counts, and the cursor.
        self._finish(selected, complete=complete)
        return SyncResult(self.new, self.changed, self.gone, complete)

    # --- steps

    def _start_over(self, selected: Selected) -> None:
        with transaction.atomic():
            if self.folder.uid_validity:
                # A folder never read before may hold rows that were moved into it just now.
                Message.objects.filter(folder=self.folder).delete()
            self._move_cursor(
                uid_validity=selected.uid_validity,
                uid_next=1,
                # No row exists, so every row to come is read after this MODSEQ.
                highest_modseq=selected.highest_modseq,
                total=0,
                unread=0,
            )

    def _apply_changes(self, selected: Selected, *, everything: bool) -> None:
        if not Message.objects.filter(folder=self.folder).exists():
            return
        since = self.folder.highest_modseq
        if since and selected.highest_modseq and not everything:
            if since == selected.highest_modseq:
                return
            changes = self.door.changes_since(since)
            with transaction.atomic():
                self._set_flags(changes.flags)
                for span in changes.vanished:
                    # A range, not a list: "1:4294967295" is one condition.
                    self._delete(Q(uid__gte=span.start, uid__lt=span.stop))
                self._move_cursor()
            return
        self._compare_flags()

    def _compare_flags(self) -> None:
        """Without MODSEQ: five searches tell every flag without a single FETCH."""
        for flag, field in (
            ("UNSEEN", "seen"),
            ("FLAGGED", "flagged"),
            ("ANSWERED", "answered"),
            ("DRAFT", "draft"),
            ("DELETED", "deleted"),
        ):
            carriers = set(self.door.uids_with(flag))
            value = flag != "UNSEEN"
            mine = Message.objects.filter(folder=self.folder)
            known = set(mine.filter(**{field: value}).values_list("uid", flat=True))
            with transaction.atomic():
                for uids, new_value in (
                    (carriers - known, value),
                    (known - carriers, not value),
                ):
                    for some in imap.chunks(sorted(uids), DATABASE_CHUNK):
                        self.changed += mine.filter(uid__in=some).update(**{field: new_value})
                self._move_cursor()

    def _set_flags(self, flags: dict[int, frozenset[str]]) -> None:
        for some in imap.chunks(sorted(flags), DATABASE_CHUNK):
            changed = []
            for message in Message.objects.filter(folder=self.folder, uid__in=some).only(
                "pk", "uid", *rows.FLAG_FIELDS
            ):
                before = [getattr(message, name) for name in rows.FLAG_FIELDS]
                rows.apply_flags(message, flags[message.uid])
                if before != [getattr(message, name) for name in rows.FLAG_FIELDS]:
                    changed.append(message)
            Message.objects.bulk_update(changed, rows.FLAG_FIELDS, batch_size=100)
            self.changed += len(changed)

    def _read_new(self, on_server: Sequence[int], *, first: int) -> bool:
        known = set(
            Message.objects.filter(folder=self.folder, uid__gte=first).values_list("uid", flat=True)
        )
        wanted = sorted(set(on_server) - known, reverse=True)
        for some in imap.chunks(wanted):
            if time.monotonic() > self.deadline:
                return False
            fetched = read_rows(self.door, some)
            with transaction.atomic():
                self.new += save_rows(self.folder.pk, fetched)
                self._move_cursor()  # the lease is still ours
        return True

    def _compare(self) -> bool:
        on_server = self.door.uids()
        here = set(Message.objects.filter(folder=self.folder).values_list("uid", flat=True))
        gone = sorted(here - set(on_server))
        with transaction.atomic():
            for some in imap.chunks(gone, DATABASE_CHUNK):
                self._delete(Q(uid__in=some))
            self._move_cursor()
        return self._read_new(on_server, first=1)

    def _finish(self, selected: Selected, *, complete: bool) -> None:
        cursor: dict[str, int | str | None] = {"problem": ""}
        if complete:
            highest = (
                Message.objects.filter(folder=self.folder)
                .order_by("-uid")
                .values_list("uid", flat=True)
                .first()
            )
            cursor["uid_next"] = max(selected.uid_next, (highest or 0) + 1)
            cursor["highest_modseq"] = selected.highest_modseq
        with transaction.atomic():
            self._move_cursor(
                exists=selected.exists,
                total=self._count(),
                unread=self._count(seen=False),
                synced_at=timezone.now(),
                **cursor,
            )

    # --- helpers

    def _move_cursor(self, **values: object) -> None:
        """Write cursor fields if the lease is still ours; raises LeaseLost, which rolls back."""
        won = Folder.objects.filter(pk=self.folder.pk, sync_token=self.token).update(
            sync_until=timezone.now() + LEASE, **values
        )
        if not won:
            raise LeaseLost
        for name, value in values.items():
            setattr(self.folder, name, value)

    def _delete(self, condition: Q) -> None:
        self.gone += Message.objects.filter(condition, folder=self.folder).delete()[0]

    def _count(self, **conditions: object) -> int:
        return Message.objects.filter(folder=self.folder, **conditions).count()


# --------------------------------------------------------------------------- rows


def read_rows(door: Door, uids: Sequence[int]) -> list[Fetched]:
    """One chunk; a mail whose answer cannot be read is asked for alone, with less detail."""
    fetched = {item.uid: item for item in door.fetch_rows(uids)}
    for uid in uids:
        if uid in fetched:
            continue
        alone = door.fetch_rows([uid], structure=False)
        if not alone:
            # Flags alone cannot be malformed; silence means the mail is gone by now.
            flags = door.fetch_flags([uid])
            alone = (
                [
                    Fetched(
                        uid=uid,
                        flags=flags[uid],
                        internal_date=None,
                        size=0,
                        header=b"",
                        structure=None,
                    )
                ]
                if uid in flags
                else []
            )
        fetched.update({item.uid: item for item in alone})
    return list(fetched.values())


def save_rows(folder_id: int, fetched: Iterable[Fetched]) -> int:
    """Insert rows that are not there yet; returns how many were given."""
    messages = [rows.row(folder_id, item) for item in fetched]
    try:
        with transaction.atomic():
            Message.objects.bulk_create(messages, batch_size=100, ignore_conflicts=True)
    except (DatabaseError, ValueError):
        # One row the database refuses must not cost the other 199.
        for message in messages:
            _save_alone(message)
    return len(messages)


def _save_alone(message: Message) -> None:
    try:
        with transaction.atomic():
            Message.objects.bulk_create([message], ignore_conflicts=True)
    except (DatabaseError, ValueError):
        bare = Message(
            folder_id=message.folder_id,
            uid=message.uid,
            internal_date=message.internal_date,
            size=message.size,
            seen=message.seen,
        )
        with transaction.atomic():
            Message.objects.bulk_create([bare], ignore_conflicts=True)


def refresh_counts(folder: Folder) -> None:
    """Recount after rows changed outside a sync run. What the server has changed with them: a mail
    that was moved away is none that is still to be read."""
    mine = Message.objects.filter(folder=folder)
    folder.total = mine.count()
    folder.unread = mine.filter(seen=False).count()
    Folder.objects.filter(pk=folder.pk).update(
        exists=Greatest(F("exists") + folder.total - F("total"), 0),
        total=folder.total,
        unread=folder.unread,
    )
