"""Rows follow the server: new mail, flags, expunges, rebuilt folders, broken mails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
from django.db.models import F
from django.utils import timezone

from tests.mailbox.conftest import plain_mail
from webmail.accounts.models import MailAccount
from webmail.mailbox import imap, rows, sync
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


def test_flags_and_expunges_of_other_programs_arrive(
    alice: MailAccount, inbox: Folder, deliver: Callable[[bytes], None]
) -> None:
    for number in range(1, 6):
        deliver(plain_mail(number))
    run(inbox)
    uids = list(inbox.messages.order_by("uid").values_list("uid", flat=True))
    other = imap.connect(alice)
    other.select("INBOX")
    other.store(uids[:2], add=["\\Seen", "$Work"])
    other.store([uids[4]], add=["\\Deleted"])
    other.expunge([uids[4]])
    other.close()
    result = run(inbox)
    assert (result.changed, result.gone) == (2, 1)
    assert (
        list(inbox.messages.filter(seen=True).order_by("uid").values_list("uid", flat=True))
        == (uids[:2])
    )
    assert inbox.messages.get(uid=uids[0]).keywords == "$Work"
    assert (inbox.total, inbox.unread) == (4, 2)


@pytest.mark.parametrize("lacking", [{"QRESYNC"}, {"QRESYNC", "CONDSTORE"}])
def test_servers_without_modern_extensions_are_followed_too(
    alice: MailAccount,
    inbox: Folder,
    deliver: Callable[[bytes], None],
    monkeypatch: pytest.MonkeyPatch,
    lacking: set[str],
) -> None:
    connect = imap.connect

    def old_server(account: MailAccount) -> imap.Door:
        door = connect(account)
        door.capabilities -= lacking
        door.enabled -= lacking
        return door

    monkeypatch.setattr(imap, "connect", old_server)
    test_flags_and_expunges_of_other_programs_arrive(alice, inbox, deliver)


def test_another_uidvalidity_drops_all_rows(
    alice: MailAccount, inbox: Folder, deliver: Callable[[bytes], None]
) -> None:
    deliver(plain_mail(1))
    run(inbox)
    old = Message.objects.get(folder=inbox)
    Folder.objects.filter(pk=inbox.pk).update(uid_validity=F("uid_validity") - 1)
    result = run(inbox)
    assert result.new == 1
    assert not Message.objects.filter(pk=old.pk).exists()
    with pytest.raises(imap.MailServerError, match="changed"):
        with imap.door(alice) as door:
            door.select("INBOX")
            door.ensure_selected("INBOX", inbox.uid_validity + 1)


def test_a_modseq_that_went_backwards_is_not_trusted(
    alice: MailAccount, inbox: Folder, deliver: Callable[[bytes], None]
) -> None:
    deliver(plain_mail(1))
    run(inbox)
    inbox.messages.update(seen=True)  # what a restored backup would contradict
    Folder.objects.filter(pk=inbox.pk).update(highest_modseq=2**40)
    run(inbox)
    assert not inbox.messages.get().seen
    assert inbox.highest_modseq < 2**40


def test_rows_missing_below_the_cursor_are_found_by_comparing(
    inbox: Folder, deliver: Callable[[bytes], None]
) -> None:
    for number in range(3):
        deliver(plain_mail(number))
    run(inbox)
    inbox.messages.order_by("uid")[1].delete()
    assert run(inbox).new == 1
    assert inbox.total == 3


def test_a_run_out_of_time_shows_the_newest_first_and_goes_on_later(
    inbox: Folder, deliver: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        deliver(plain_mail(number))
    monkeypatch.setattr(imap, "CHUNK", 2)
    monkeypatch.setattr(imap.chunks, "__defaults__", (2,))
    reads: list[list[int]] = []
    read_rows = sync.read_rows

    def slow(door: imap.Door, uids: Sequence[int]) -> list[imap.Fetched]:
        reads.append(list(uids))
        clock[0] += 40
        return read_rows(door, uids)

    clock = [0.0]
    monkeypatch.setattr(sync, "read_rows", slow)
    monkeypatch.setattr(sync, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    result = sync.sync_folder(inbox, seconds=60)
    assert result is not None
    inbox.refresh_from_db()
    assert not result.complete
    assert inbox.exists > inbox.total > 0
    assert inbox.uid_next == 1, "the cursor waits for the last row"
    newest = max(uid for uids in reads for uid in uids)
    assert inbox.messages.filter(uid=newest).exists()
    monkeypatch.undo()
    assert run(inbox).complete
    assert inbox.total == 5


def test_one_worker_at_a_time_owns_the_cursor(inbox: Folder) -> None:
    Folder.objects.filter(pk=inbox.pk).update(
        sync_token=uuid4(), sync_until=timezone.now() + timedelta(seconds=60)
    )
    assert sync.sync_folder(inbox) is None
    Folder.objects.filter(pk=inbox.pk).update(sync_until=timezone.now() - timedelta(seconds=1))
    assert sync.sync_folder(inbox) is not None, "a lapsed lease is taken over"


def test_a_worker_that_lost_its_lease_writes_nothing(
    inbox: Folder, deliver: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(plain_mail(1))
    read_rows = sync.read_rows

    def steal(door: imap.Door, uids: Sequence[int]) -> list[imap.Fetched]:
        Folder.objects.filter(pk=inbox.pk).update(sync_token=uuid4())
        return read_rows(door, uids)

    monkeypatch.setattr(sync, "read_rows", steal)
    assert sync.sync_folder(inbox) is None
    assert not inbox.messages.exists()


def test_a_crash_between_rows_and_cursor_loses_and_doubles_nothing(
    inbox: Folder, deliver: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        deliver(plain_mail(number))

    def crash(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(sync._Run, "_finish", crash)
        with pytest.raises(RuntimeError):
            sync.sync_folder(inbox)
    inbox.refresh_from_db()
    assert (inbox.messages.count(), inbox.uid_next) == (3, 1)
    run(inbox)
    assert inbox.messages.count() == inbox.total == 3


HOSTILE_HEADERS = {
    "unclosed ids": "Message-ID: <<<<\r\nReferences: " + "<" * 5000 + "\r\n",
    "nested comments": "To: " + "(" * 20_000 + "\r\n",
    "endless header": "X-Long: " + "x" * 400_000 + "\r\n",
    "control characters": "Subject: a\x00b\x08c\x1b[31m\r\n",
    "wrong charset": "Subject: =?no-such?q?=FF=FE?= =?utf-7?q?+ADw-script+AD4-?=\r\n",
    "two senders": "From: Mallory <mallory@evil.example>\r\n",
    "far date": "Date: Mon, 99 Foo 99999 99:99:99 +9999\r\n",
    "deep parts": "Content-Type: multipart/mixed; boundary=b\r\n"
    + "".join(
        f"\r\n--b{n}\r\nContent-Type: multipart/mixed; boundary=b{n + 1}\r\n" for n in range(300)
    ),
    "odd type": 'Content-Type: ;;;=;"\r\n',
    "eight bit": "Subject: Gr\u00fc\u00dfe \u65e5\u672c\r\n",
}


@pytest.mark.parametrize("name", HOSTILE_HEADERS)
def test_one_broken_mail_never_breaks_the_list(
    inbox: Folder, deliver: Callable[[bytes], None], name: str
) -> None:
    deliver(plain_mail(1))
    deliver(plain_mail(2, headers=HOSTILE_HEADERS[name]))
    deliver(plain_mail(3))
    assert run(inbox).complete
    assert inbox.total == 3
    subjects = set(inbox.messages.values_list("subject", flat=True))
    assert {"Mail 1", "Mail 3"} <= subjects
    assert not any("\0" in subject or "\x1b" in subject for subject in subjects)


def test_a_mail_the_parser_cannot_read_gets_a_bare_row(
    inbox: Folder, deliver: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(plain_mail(1))
    deliver(plain_mail(2))
    fetch_rows = imap.Door.fetch_rows

    def unreadable(
        door: imap.Door, uids: Sequence[int], *, structure: bool = True
    ) -> list[imap.Fetched]:
        return [item for item in fetch_rows(door, uids, structure=structure) if item.uid != 1]

    monkeypatch.setattr(imap.Door, "fetch_rows", unreadable)
    run(inbox)
    assert sorted(inbox.messages.values_list("uid", "subject")) == [(1, ""), (2, "Mail 2")]


KINDS = {
    "text/plain": "plain",
    'multipart/signed; protocol="application/pkcs7-signature"; boundary=b': "signed",
    'multipart/signed; protocol="application/x-pkcs7-signature"; boundary=b': "signed",
    'multipart/signed; protocol="application/pgp-signature"; boundary=b': "plain",
    "application/pkcs7-mime; smime-type=signed-data": "signed",
    "application/pkcs7-mime; smime-type=enveloped-data": "encrypted",
    "application/pkcs7-mime; smime-type=authEnveloped-data": "encrypted",
    "application/x-pkcs7-mime; name=smime.p7m": "encrypted",
    "application/pkcs7-mime; smime-type=certs-only": "plain",
    'application/octet-stream; name="smime.p7m"': "encrypted",
    "multipart/mixed; boundary=b": "plain",
}


@pytest.mark.parametrize("content_type", KINDS)
def test_the_kind_is_told_by_the_outermost_type(content_type: str) -> None:
    assert rows.kind(content_type.encode()) == KINDS[content_type]


def test_attachments_are_seen_in_the_structure_and_signatures_are_none(
    inbox: Folder, deliver: Callable[[bytes], None]
) -> None:
    def parts(*types: str) -> bytes:
        body = "".join(f"--b\r\n{each}\r\n\r\nx\r\n" for each in types)
        return plain_mail(
            1, headers="Content-Type: multipart/mixed; boundary=b\r\n", body=f"{body}--b--"
        )

    deliver(parts("Content-Type: text/plain"))
    deliver(parts("Content-Type: text/plain", "Content-Type: application/pdf; name=a.pdf"))
    deliver(
        parts(
            "Content-Type: text/plain",
            "Content-Type: application/pkcs7-signature; name=smime.p7s\r\n"
            "Content-Disposition: attachment; filename=smime.p7s",
        )
    )
    deliver(parts("Content-Type: text/plain\r\nContent-Disposition: attachment; filename=a.txt"))
    deliver(parts("Content-Type: text/plain", "Content-Type: message/rfc822\r\n\r\nSubject: x"))
    run(inbox)
    found = list(inbox.messages.order_by("uid").values_list("has_attachments", flat=True))
    assert found == [False, True, False, True, True]


def test_a_dead_server_leaves_rows_and_says_so(
    alice: MailAccount, inbox: Folder, deliver: Callable[[bytes], None]
) -> None:
    deliver(plain_mail(1))
    run(inbox)
    imap.close_all()
    MailAccount.objects.filter(pk=alice.pk).update(imap_port=1)
    with pytest.raises(imap.MailServerError, match="unreachable"):
        sync.sync_folder(Folder.objects.get(pk=inbox.pk))
    inbox.refresh_from_db()
    assert (inbox.problem, inbox.total, inbox.sync_token) == ("unreachable", 1, None)


def test_folders_gone_from_the_server_go_here_too(alice: MailAccount, inbox: Folder) -> None:
    with imap.door(alice) as door:
        door.create_folder("Projects/Möwe")
    names = {folder.name for folder in sync.sync_folders(alice)}
    assert "Projects/Möwe" in names
    with imap.door(alice) as door:
        door.client._imap.delete(imap.encode_name("Projects/Möwe"))
    assert "Projects/Möwe" not in {folder.name for folder in sync.sync_folders(alice)}


def test_conversations_share_a_key(inbox: Folder, deliver: Callable[[bytes], None]) -> None:
    deliver(plain_mail(1))
    deliver(
        plain_mail(
            2,
            headers="In-Reply-To: <mail-1@acme.example>\r\nReferences: <mail-1@acme.example>\r\n",
        )
    )
    deliver(
        plain_mail(
            3,
            headers="References: <mail-1@acme.example> <mail-2@acme.example>\r\n",
        )
    )
    deliver(plain_mail(4))
    run(inbox)
    keys = list(inbox.messages.order_by("uid").values_list("thread_key", flat=True))
    assert keys[0] == keys[1] == keys[2] != keys[3]
