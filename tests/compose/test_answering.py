"""Answering an encrypted mail, from the real mailbox to the wire."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from launcher.dovecot import Dovecot
from tests.accounts.cast import ALICE
from tests.compose.test_sending import DAVE, SECRET, client, post, send
from tests.support.smtp_sink import Sink
from webmail.accounts.models import User
from webmail.compose import outbox
from webmail.compose.models import Draft, Outgoing, State
from webmail.mailbox import sync
from webmail.mailbox.models import Message

__all__ = ["client"]

pytestmark = [pytest.mark.process, pytest.mark.django_db]


@pytest.fixture
def received(client: Client, mailbox: User, sink: Sink, dovecot: Dovecot) -> Message:
    """An encrypted mail in Alice's inbox: her own, come back."""
    assert send(client, to=ALICE).status_code == 303
    outbox.advance(Outgoing.objects.get().pk)
    dovecot.deliver(ALICE, sink.accepted[0].mail)
    Outgoing.objects.all().delete()
    Draft.objects.all().delete()
    sink.clear()
    account = mailbox.mail_account
    sync.sync_folders(account)
    folder = sync.folder_of(account, "inbox")
    sync.sync_folder(folder)
    message: Message = folder.messages.get()
    return message


def begin(client: Client, message: Message, mode: str) -> Any:
    path = f"/compose/?reply={message.folder_id}/{message.uid}&mode={mode}"
    answer = client.get(path, secure=True)
    assert answer.status_code == 302, answer.content
    return client.get(answer["Location"], secure=True)


def fields_of(page: Any, **changed: Any) -> dict[str, Any]:
    draft = page.context["draft"]
    return {
        "draft": str(draft["id"]),
        "version": draft["version"],
        "send_id": str(page.context["send_id"]),
        "promise": page.context["recipients"]["promise"],
        "from": ALICE,
        "protection": page.context["protection"],
        **{name: draft[name] for name in ("to", "cc", "bcc", "subject", "text")},
        **changed,
    }


def test_an_answer_to_an_encrypted_mail_is_encrypted_and_marks_it_answered(
    client: Client, received: Message, sink: Sink
) -> None:
    page = begin(client, received, "reply")
    assert page.context["heading"] == "Reply"
    assert page.context["draft"]["subject"] == "Re: Thursday"
    assert f"> {SECRET}." in page.context["draft"]["text"]
    assert page.context["recipients"]["outcome"]["encrypts"]
    assert "only leaves encrypted" in page.context["notice"]
    assert post(client, "/compose/send/", fields_of(page)).status_code == 303
    row = Outgoing.objects.get()
    assert outbox.advance(row.pk) == State.DONE
    [taken] = sink.accepted
    assert SECRET.encode() not in taken.mail
    assert f"In-Reply-To: <{received.message_id}>".encode() in taken.mail
    received.refresh_from_db()
    assert received.answered


def test_an_answer_that_was_only_begun_is_no_draft_on_the_server(
    client: Client, received: Message
) -> None:
    from webmail.compose import drafts

    begin(client, received, "reply")
    assert Draft.objects.count() == 1
    assert not drafts.waiting_for_filing().exists()


def test_in_clear_it_goes_only_after_the_secrets_were_taken_out_and_the_user_looked(
    client: Client, received: Message, sink: Sink
) -> None:
    page = begin(client, received, "reply")
    text = "Dave should know.\n" + page.context["draft"]["text"]
    asked = post(client, "/compose/send/", fields_of(page, to=DAVE, text=text, promise=""))
    assert asked.context["ask"]["code"] == "clear"
    stripped = post(
        client, "/compose/send/", fields_of(asked, to=DAVE, confirm="clear", promise="")
    )
    assert stripped.status_code == 422
    assert "taken out" in stripped.context["notice"]
    assert SECRET not in stripped.context["draft"]["text"]
    assert stripped.context["draft"]["subject"] == "Re: [...]"
    assert not Outgoing.objects.exists()
    sent = post(client, "/compose/send/", fields_of(stripped, to=DAVE, confirm="clear"))
    assert sent.status_code == 303
    outbox.advance(Outgoing.objects.get().pk)
    [taken] = sink.accepted
    assert b"Dave should know." in taken.mail
    assert SECRET.encode() not in taken.mail
    assert b"Thursday" not in taken.mail


def test_the_choice_of_no_encryption_does_not_go_around_that(
    client: Client, received: Message, sink: Sink
) -> None:
    page = begin(client, received, "reply")
    answer = post(client, "/compose/send/", fields_of(page, to=DAVE, protection="clear"))
    assert answer.status_code == 422
    assert SECRET not in answer.context["draft"]["text"]
    assert not Outgoing.objects.exists()


def test_a_forward_as_attachment_carries_the_mail_itself(
    client: Client, received: Message, sink: Sink
) -> None:
    page = begin(client, received, "forward_attachment")
    [attachment] = page.context["draft"]["attachments"]
    assert attachment["type"] == "message/rfc822"
    assert attachment["name"] == "message.eml", "the subject of an encrypted mail is no file name"


def test_nobody_answers_the_mail_of_another(client: Client, received: Message, bob: User) -> None:
    received.folder.account.user = bob
    account = received.folder.account
    path = f"/compose/?reply={received.folder_id}/{received.uid}&mode=reply"
    type(account).objects.filter(user=bob).delete()
    type(account).objects.filter(pk=account.pk).update(user=bob)
    assert client.get(path, secure=True).status_code == 404


@pytest.mark.parametrize(
    "path", ["?reply=1", "?reply=x/y", "?reply=1/2&mode=steal", "?reply=1/2/3"]
)
def test_a_made_up_original_is_not_found(client: Client, path: str) -> None:
    assert client.get(f"/compose/{path}", secure=True).status_code == 404
