"""Rows follow the server: new mail, flags, expunges, rebuilt folders, broken mails."""

from __future__ import annotations

from collections.abc import Callable

from tests.mailbox.conftest import plain_mail
from webmail.accounts.models import MailAccount
from webmail.mailbox import sync
from webmail.mailbox.models import Folder, Message, Role


def run(folder: Folder) -> sync.SyncResult:
    result = sync.sync_folder(folder)
    assert result is not None
    folder.refresh_from_db()
    return result


def test_the_folder_list_names_every_special_folder_once(alice: MailAccount) -> None:
    roles = {folder.name: folder.role for folder in sync.sync_folders(alice)}
    assert roles == {
        "INBOX": Role.INBOX,
        "Drafts": Role.DRAFTS,
        "Sent": Role.SENT,
        "Archive": Role.ARCHIVE,
        "Junk": Role.JUNK,
        "Trash": Role.TRASH,
    }


def test_new_mail_gets_a_row_with_what_a_list_shows(
    inbox: Folder, deliver: Callable[[bytes], None]
) -> None:
    deliver(plain_mail(1, subject="=?utf-8?q?Gr=C3=BC=C3=9Fe?= an alle"))
    result = run(inbox)
    assert (result.new, result.complete) == (1, True)
    row = Message.objects.get(folder=inbox)
    assert (row.subject, row.from_name, row.from_address) == (
        "Grüße an alle",
        "Bob",
        "bob@acme.example",
    )
    assert row.message_id == "mail-1@acme.example"
    assert not row.seen
    assert (inbox.total, inbox.unread) == (1, 1)
