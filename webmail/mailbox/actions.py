"""What a person does to mails: flags, moving, deleting. The server first, then the rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db import IntegrityError, transaction

from webmail.mailbox import imap, sync
from webmail.mailbox.models import Folder, Message, Role

_FLAG_FIELD = {"\\Seen": "seen", "\\Flagged": "flagged", "\\Answered": "answered"}

FORWARDED = "$Forwarded"
"""The registered keyword (RFC 9051 §2.3.2)."""


@dataclass(frozen=True)
class Moved:
    """Where mails went, so that it can be undone."""

    source: int
    """Folder id before."""
    target: int
    uids: tuple[int, ...]
    """UIDs in the target; empty when the server did not tell them."""
    count: int
    keys: tuple[int, ...] = field(default=())
    """Row ids, which stay the same when the server tells the new UIDs."""


def set_flag(messages: Sequence[Message], flag: str, *, on: bool) -> int:
    """Set or clear one flag; returns how many mails. Raises MailServerError."""
    for folder, some in _by_folder(messages):
        uids = sorted(message.uid for message in some)
        with imap.door(folder.account) as door:
            door.catch_up(folder.name, folder.uid_validity)
            door.store(uids, add=[flag] if on else (), remove=() if on else [flag])
        column = _FLAG_FIELD.get(flag)
        rows = Message.objects.filter(folder=folder, uid__in=uids)
        if column is not None:
            rows.update(**{column: on})
            if column == "seen":
                sync.refresh_counts(folder)
        else:
            for row in rows.only("pk", "keywords"):
                keywords = (
                    set(row.keywords.split()) | {flag} if on else set(row.keywords.split()) - {flag}
                )
                Message.objects.filter(pk=row.pk).update(keywords=" ".join(sorted(keywords)))
    return len(messages)


def move(messages: Sequence[Message], target: Folder) -> list[Moved]:
    """Move mails into ``target`` of the same account. Raises MailServerError."""
    done: list[Moved] = []
    for folder, some in _by_folder(messages):
        if folder.pk == target.pk:
            continue
        if folder.account_id != target.account_id:
            raise imap.MailServerError("refused")
        uids = sorted(message.uid for message in some)
        with imap.door(folder.account) as door:
            door.catch_up(folder.name, folder.uid_validity)
            new_uids = door.move(uids, target.name)
        keys = _carry_rows(folder, target, uids, new_uids)
        sync.refresh_counts(folder)
        sync.refresh_counts(target)
        done.append(
            Moved(
                source=folder.pk,
                target=target.pk,
                uids=tuple(sorted(new_uids.values())),
                count=len(uids),
                keys=keys,
            )
        )
    return done


def move_to_role(messages: Sequence[Message], role: str) -> list[Moved]:
    """Move mails to the account's folder for ``role``, creating it when there is none."""
    done: list[Moved] = []
    for folder, some in _by_folder(messages):
        done += move(some, sync.folder_of(folder.account, role))
    return done


def delete(messages: Sequence[Message]) -> list[Moved]:
    """To Trash, which can be undone; what lies in Trash already is removed for good."""
    kept = [message for message in messages if message.folder.role != Role.TRASH]
    final = [message for message in messages if message.folder.role == Role.TRASH]
    done = move_to_role(kept, Role.TRASH)
    for folder, some in _by_folder(final):
        uids = sorted(message.uid for message in some)
        with imap.door(folder.account) as door:
            door.catch_up(folder.name, folder.uid_validity)
            door.store(uids, add=["\\Deleted"])
            door.expunge(uids)
        Message.objects.filter(folder=folder, uid__in=uids).delete()
        sync.refresh_counts(folder)
    return done


def _by_folder(messages: Iterable[Message]) -> list[tuple[Folder, list[Message]]]:
    grouped: dict[int, list[Message]] = defaultdict(list)
    folders: dict[int, Folder] = {}
    for message in messages:
        grouped[message.folder_id].append(message)
        folders[message.folder_id] = message.folder
    return [(folders[key], some) for key, some in grouped.items()]


def _carry_rows(
    source: Folder, target: Folder, uids: Sequence[int], new_uids: dict[int, int]
) -> tuple[int, ...]:
    """Give rows their new place, with verdict and sealed summary; drop what is not known."""
    keys: list[int] = []
    for row in Message.objects.filter(folder=source, uid__in=uids):
        new_uid = new_uids.get(row.uid)
        if new_uid is None:
            row.delete()
            continue
        try:
            with transaction.atomic():
                Message.objects.filter(pk=row.pk).update(folder=target, uid=new_uid)
            keys.append(row.pk)
        except IntegrityError:  # a sync of the target was faster
            row.delete()
    return tuple(keys)
