"""Put a mail into a folder once: filed twice after a crash it is still one mail."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING

from webmail.mailbox import imap, sync
from webmail.mailbox.imap import Door
from webmail.mailbox.models import Folder, Message, Role
from webmail.message.headers import Headers, message_ids

if TYPE_CHECKING:
    from webmail.accounts.models import MailAccount

HEADER_BYTES = 256 * 1024


def append(
    account: MailAccount,
    role: str,
    mail: bytes,
    flags: Collection[str] = ("\\Seen",),
    *,
    date: datetime | None = None,
    once: bool = True,
) -> int:
    """Store ``mail`` in the account's folder for ``role``; returns its UID there.

    ``once``: look for its Message-ID first, and return the UID found (the connection may have died
    after the server stored it and before it said so). Raises MailServerError.
    """
    folder = sync.folder_of(account, role)
    identifiers = message_ids(Headers(mail[:HEADER_BYTES]).first("message-id"))
    with imap.door(account) as door:
        if once and identifiers:
            present = _present(door, folder, identifiers[0])
            if present:
                return present
        told = door.append(folder.name, mail, flags=flags, date=date)
        if told is not None:
            uid = told[1]
        else:
            # No UIDPLUS (RFC 4315): the mail is the newest with this Message-ID.
            uid = _present(door, folder, identifiers[0]) if identifiers else 0
        sync.sync_folder(folder, door=door, seconds=5)
    return uid


def _present(door: Door, folder: Folder, message_id: str) -> int:
    """UID of the mail whose Message-ID is exactly ``message_id``, or 0."""
    door.select(folder.name)
    try:
        uids = door.uids_of_message_id(message_id)
    except imap.MailServerError as error:
        if error.code == "argument":
            return 0  # such an identifier cannot be asked for
        raise
    # SEARCH finds substrings: compare the whole identifier.
    for some in imap.chunks(uids[::-1]):
        for item in door.fetch_rows(some, structure=False):
            if message_ids(Headers(item.header).first("message-id")) == [message_id]:
                return item.uid
    return 0


def remove(account: MailAccount, role: str, uids: Collection[int]) -> None:
    """Take mails out of a folder for good (replaced drafts). Raises MailServerError."""
    if not uids:
        return
    folder = Folder.objects.filter(account=account, role=role).first()
    if folder is None:
        return
    with imap.door(account) as door:
        door.catch_up(folder.name, folder.uid_validity)
        door.store(sorted(uids), add=["\\Deleted"])
        door.expunge(sorted(uids))
    Message.objects.filter(folder=folder, uid__in=list(uids)).delete()
    sync.refresh_counts(folder)


__all__ = ["Role", "append", "remove"]
