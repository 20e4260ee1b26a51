"""Flags, moves, deletes and appends: on the server first, then in the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.mailbox.conftest import plain_mail
from webmail.accounts.models import MailAccount
from webmail.mailbox import actions, fetch, imap, sync
from webmail.mailbox.append import append, remove
from webmail.mailbox.imap import MailServerError
from webmail.mailbox.models import Folder, Message, Role


@pytest.fixture
def three(inbox: Folder, deliver: Callable[[bytes], None]) -> list[Message]:
    for number in range(1, 4):
        deliver(plain_mail(number))
    sync.sync_folder(inbox)
    return list(
        Message.objects.filter(folder=inbox).select_related("folder__account").order_by("uid")
    )


def flags_on_server(account: MailAccount, folder: str) -> dict[int, frozenset[str]]:
    door = imap.connect(account)
    door.select(folder)
    flags = door.fetch_flags(door.uids())
    door.close()
    return flags


def test_flags_change_on_the_server_and_in_the_row(
    alice: MailAccount, inbox: Folder, three: list[Message]
) -> None:
    actions.set_flag(three[:2], "\\Seen", on=True)
    actions.set_flag([three[0]], "\\Flagged", on=True)
    actions.set_flag([three[1]], "\\Seen", on=False)
    on_server = flags_on_server(alice, "INBOX")
    assert {"\\Seen", "\\Flagged"} <= on_server[three[0].uid]
    assert "\\Seen" not in on_server[three[1].uid]
    inbox.refresh_from_db()
    assert inbox.unread == 2
    three[0].refresh_from_db()
    assert three[0].seen
    assert three[0].flagged


def test_keywords_are_added_beside_others(alice: MailAccount, three: list[Message]) -> None:
    actions.set_flag([three[0]], "$Work", on=True)
    actions.set_flag([three[0]], actions.FORWARDED, on=True)
    actions.set_flag([three[0]], "$Work", on=False)
    three[0].refresh_from_db()
    assert three[0].keywords == "$Forwarded"


def test_a_moved_mail_keeps_its_row_and_can_be_moved_back(
    alice: MailAccount, inbox: Folder, three: list[Message]
) -> None:
    Message.objects.filter(pk=three[0].pk).update(verdict_state="verified", sealed_summary=b"x")
    (moved,) = actions.move_to_role([three[0]], Role.ARCHIVE)
    row = Message.objects.select_related("folder__account").get(pk=three[0].pk)
    assert (row.folder.role, row.verdict_state, row.uid) == ("archive", "verified", moved.uids[0])
    assert moved.keys == (row.pk,)
    assert fetch.raw(row).startswith(b"Return-Path") or b"Mail 1" in fetch.raw(row)
    sync.sync_folder(row.folder)
    assert Message.objects.filter(folder=row.folder).count() == 1
    actions.move([row], inbox)
    assert Message.objects.get(pk=row.pk).folder_id == inbox.pk
    inbox.refresh_from_db()
    assert inbox.total == 3


def test_a_mail_that_was_moved_away_is_not_waited_for(inbox: Folder, three: list[Message]) -> None:
    actions.delete(three[:2])
    inbox.refresh_from_db()
    assert (inbox.total, inbox.exists) == (1, 1)
    trash = Folder.objects.get(account=inbox.account, role=Role.TRASH)
    assert trash.exists >= trash.total


def test_servers_without_uidplus_or_move_lose_no_mail(
    alice: MailAccount, inbox: Folder, three: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = imap.connect

    def old_server(account: MailAccount) -> imap.Door:
        door = connect(account)
        door.capabilities -= {"MOVE", "UIDPLUS"}
        return door

    imap.close_all()
    monkeypatch.setattr(imap, "connect", old_server)
    monkeypatch.setattr(imap, "_copy_uid", lambda _lines: {})
    actions.move_to_role([three[0]], Role.ARCHIVE)
    archive = Folder.objects.get(account=alice, role=Role.ARCHIVE)
    sync.sync_folder(archive)
    assert Message.objects.get(folder=archive).subject == "Mail 1"
    # A plain EXPUNGE would take what others marked; the copy stays marked instead.
    assert "\\Deleted" in flags_on_server(alice, "INBOX")[three[0].uid]


def test_delete_goes_to_trash_first_and_then_for_good(
    alice: MailAccount, inbox: Folder, three: list[Message]
) -> None:
    (moved,) = actions.delete([three[0]])
    trashed = Message.objects.select_related("folder__account").get(pk=moved.keys[0])
    assert trashed.folder.role == Role.TRASH
    assert actions.delete([trashed]) == []
    assert not Message.objects.filter(pk=trashed.pk).exists()
    assert flags_on_server(alice, "Trash") == {}


def test_mail_cannot_be_moved_into_another_persons_folder(
    mallory: MailAccount, three: list[Message]
) -> None:
    theirs = next(folder for folder in sync.sync_folders(mallory) if folder.is_inbox)
    with pytest.raises(MailServerError, match="refused"):
        actions.move(three[:1], theirs)


def test_a_missing_folder_is_created_for_its_role(
    alice: MailAccount, inbox: Folder, three: list[Message]
) -> None:
    with imap.door(alice) as door:
        door.client._imap.delete(b'"Archive"')
    sync.sync_folders(alice)
    actions.move_to_role(three, Role.ARCHIVE)
    assert Folder.objects.get(account=alice, role=Role.ARCHIVE).total == 3


def test_a_mail_filed_twice_is_there_once(alice: MailAccount, inbox: Folder) -> None:
    mail = plain_mail(77)
    first = append(alice, Role.SENT, mail)
    assert append(alice, Role.SENT, mail) == first
    assert append(alice, Role.SENT, plain_mail(777)) != first, "a longer identifier is another"
    sent = Folder.objects.get(account=alice, role=Role.SENT)
    assert (sent.total, sent.unread) == (2, 0)
    row = Message.objects.select_related("folder__account").get(folder=sent, uid=first)
    assert fetch.raw(row) == mail


def test_append_without_uidplus_still_tells_the_uid(
    alice: MailAccount, inbox: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    appended = imap.Door.append
    monkeypatch.setattr(
        imap.Door, "append", lambda *args, **kwargs: appended(*args, **kwargs) and None
    )
    uid = append(alice, Role.SENT, plain_mail(5))
    assert Message.objects.get(folder__role=Role.SENT, folder__account=alice).uid == uid


def test_removed_drafts_are_gone(alice: MailAccount, inbox: Folder) -> None:
    uid = append(alice, Role.DRAFTS, plain_mail(9), ["\\Draft", "\\Seen"])
    remove(alice, Role.DRAFTS, [uid])
    assert flags_on_server(alice, "Drafts") == {}
    assert not Message.objects.filter(folder__account=alice).exists()


def test_reading_a_mail_twice_asks_over_one_connection(
    three: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    connect = imap.connect

    def counting(account: MailAccount) -> imap.Door:
        opened.append(account)
        return connect(account)

    imap.close_all()
    monkeypatch.setattr(imap, "connect", counting)
    for message in three:
        assert b"Hello Alice" in fetch.raw(message)
    assert len(opened) == 1


def test_a_mail_that_went_away_is_told_as_such(alice: MailAccount, three: list[Message]) -> None:
    with imap.door(alice) as door:
        door.ensure_selected("INBOX", 0)
        door.store([three[0].uid], add=["\\Deleted"])
        door.expunge([three[0].uid])
    with pytest.raises(MailServerError, match="missing"):
        fetch.raw(three[0])


def subjects(found: Sequence[Message]) -> list[str]:
    return [each.subject for each in found]
