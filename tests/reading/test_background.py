"""Signed mail is judged before it is opened, by the agent without keys; one bell per account."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from launcher.foreign import Correspondent, smime
from tests.reading.conftest import Person, letter, plain
from tests.reading.test_pages import page, url
from webmail.agent.models import KeySession
from webmail.certificates.models import RevocationList
from webmail.mailbox import tasks
from webmail.mailbox.models import Folder, Message


def test_signed_mail_is_judged_while_its_owner_is_away(alice: Person, bob: Correspondent) -> None:
    alice.lock()
    alice.server.deliver(alice.address, smime(letter(alice.address), signer=bob))
    alice.server.deliver(alice.address, plain(letter(alice.address, number=2)))
    alice.server.deliver(
        alice.address,
        smime(letter(alice.address, number=3), recipients=[alice.encryption_certificate]),
    )
    tasks.sync_account(str(alice.user.mail_account.pk))
    found = {
        row.kind: (row.verdict_state, row.signer_name)
        for row in Message.objects.filter(folder=alice.inbox)
    }
    assert found == {
        "signed": ("verified", "Bob Builder"),
        "plain": ("", ""),
        "encrypted": ("", ""),
    }


def test_a_mail_that_cannot_be_judged_is_asked_for_once(alice: Person) -> None:
    broken = (
        b'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; boundary=b\r\n'
        b"From: Bob <bob@builders.example>\r\nMIME-Version: 1.0\r\n\r\nno parts at all\r\n"
    )
    row = alice.receive(broken)
    assert row.kind == "signed"
    tasks.sync_folder(alice.inbox.pk)
    from webmail.mailbox import judge

    assert judge.judge_signed(alice.user.mail_account) in {0, 1}
    assert judge.judge_signed(alice.user.mail_account) == 0
    row.refresh_from_db()
    assert row.judged_at is not None


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Accounts that the beat rang for; the bell itself is Celery's."""
    bells: list[str] = []

    def ring(arguments: list[str], **_options: Any) -> None:
        bells.append(arguments[0])

    monkeypatch.setattr(tasks.sync_account, "apply_async", ring)
    return bells


def test_people_at_work_are_synced_often_and_others_rarely(
    new_person: Callable[[str], Person], rung: list[str]
) -> None:
    working, away, never = (new_person(name) for name in ("Working", "Away", "Never"))
    now = timezone.now()
    for who in (working, away):
        Folder.objects.filter(account=who.user.mail_account).update(
            synced_at=now - timedelta(seconds=60)
        )
    KeySession.objects.exclude(user=working.user).update(used_at=now - timedelta(hours=5))
    tasks.sync_due()
    assert set(rung) == {str(who.user.mail_account.pk) for who in (working, never)}
    rung.clear()
    Folder.objects.filter(account=away.user.mail_account).update(
        synced_at=now - timedelta(minutes=11)
    )
    tasks.sync_due()
    assert str(away.user.mail_account.pk) in rung


def test_a_dead_mail_server_ends_the_task_quietly(alice: Person) -> None:
    from webmail.mailbox import imap

    imap.close_all()
    account = alice.user.mail_account
    type(account).objects.filter(pk=account.pk).update(imap_port=1)
    tasks.sync_account(str(account.pk))
    tasks.sync_folder(alice.inbox.pk)
    assert alice.inbox.problem == "unreachable"


def test_the_identity_is_judged_anew_when_revocation_data_has_come(
    alice: Person, bob: Correspondent, settings: Any
) -> None:
    from webmail.certificates import material

    lists = list(RevocationList.objects.all())
    RevocationList.objects.all().delete()
    material.forget()
    row = alice.receive(smime(letter(alice.address), signer=bob))
    before = page(alice.client, url("message", row))
    assert "Signed by Bob Builder" not in before
    for each in lists:
        each.pk = None
        each.save(force_insert=True)
    material.forget()
    after = page(alice.client, url("identity", row), **{"HX-Request": "true"})
    assert "Signed by Bob Builder" in after
    row.refresh_from_db()
    assert row.verdict_state == "verified"
