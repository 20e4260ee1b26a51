"""A kept connection that was there before the mail."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.mailbox.conftest import plain_mail
from webmail.accounts.models import MailAccount
from webmail.mailbox import actions, fetch, imap, sync
from webmail.mailbox.imap import MailServerError
from webmail.mailbox.models import Folder, Message, Role


def keep_a_connection_from_before(
    alice: MailAccount, inbox: Folder, deliver: Callable[[bytes], None], mail: bytes
) -> Message:
    """The row of ``mail``; the one kept connection selected the folder before it came."""
    with imap.door(alice) as early:
        early.select(inbox.name)
        with imap.door(alice) as late:
            deliver(mail)
            sync.sync_folder(inbox, door=late)
        imap.close_all()
    return Message.objects.get(folder=inbox)


def test_a_mail_that_came_after_the_selection_is_read(
    alice: MailAccount, inbox: Folder, deliver: Callable[[bytes], None]
) -> None:
    mail = plain_mail(subject="Late")
    message = keep_a_connection_from_before(alice, inbox, deliver, mail)
    assert b"Subject: Late" in fetch.raw(message)


def test_a_mail_that_came_after_the_selection_is_starred(
    alice: MailAccount, inbox: Folder, deliver: Callable[[bytes], None]
) -> None:
    message = keep_a_connection_from_before(alice, inbox, deliver, plain_mail())
    actions.set_flag([message], "\\Flagged", on=True)
    imap.close_all()
    with imap.door(alice) as fresh:
        fresh.select(inbox.name)
        assert fresh.uids_with("FLAGGED") == [message.uid]


def test_a_mail_that_came_after_the_selection_is_moved(
    alice: MailAccount, inbox: Folder, deliver: Callable[[bytes], None]
) -> None:
    message = keep_a_connection_from_before(alice, inbox, deliver, plain_mail())
    actions.move_to_role([message], Role.TRASH)
    imap.close_all()
    with imap.door(alice) as fresh:
        assert fresh.select(inbox.name).exists == 0


def test_a_mail_that_is_gone_is_told(
    alice: MailAccount, inbox: Folder, deliver: Callable[[bytes], None]
) -> None:
    message = keep_a_connection_from_before(alice, inbox, deliver, plain_mail())
    message.uid += 1
    with pytest.raises(MailServerError) as told:
        fetch.raw(message)
    assert told.value.code == "missing"
