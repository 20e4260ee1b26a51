"""From the form to the wire: real agent, real Dovecot, real submission server."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from crypto_agent.protocol import ErrorCode, ProtocolError
from tests.accounts.cast import ALICE, BOB
from tests.support.smtp_sink import Sink
from webmail.accounts.models import User
from webmail.agent import door
from webmail.agent.door import KeyHolderSession
from webmail.authority.models import IssuedCertificate
from webmail.certificates import judging, match
from webmail.compose import drafts, outbox
from webmail.compose.models import Draft, DraftAttachment, Outgoing, State
from webmail.mailbox import imap, sync

pytestmark = [pytest.mark.process, pytest.mark.django_db]

DAVE = "dave@partner.example"
SECRET = "The merger is on Thursday"


def form(**fields: Any) -> dict[str, Any]:
    return {
        "send_id": str(uuid.uuid4()),
        "from": ALICE,
        "to": f"Bob Baker <{BOB}>",
        "subject": "Thursday",
        "text": f"{SECRET}.\n",
        "protection": "encrypt",
        **fields,
    }


def post(client: Client, path: str, fields: dict[str, Any], **headers: str) -> Any:
    return client.post(path, fields, secure=True, headers=headers)


def send(client: Client, **fields: Any) -> Any:
    return post(client, "/compose/send/", form(**fields))


def promise_for(client: Client, **lists: str) -> str:
    page = client.get("/compose/recipients/", lists, secure=True).content.decode()
    found = re.search(r'name="promise" value="([^"]+)"', page)
    assert found is not None, page
    return found[1]


@pytest.fixture
def client(client_of_alice: Client, mailbox: User, bob: User) -> Client:
    """Alice, unlocked, without an undo window."""
    mailbox.undo_send_seconds = 0
    mailbox.save()
    judging.forget()
    return client_of_alice


def raw_sent(user: User) -> bytes:
    account = user.mail_account
    folder = sync.folder_of(account, "sent")
    with imap.door(account) as opened:
        opened.select(folder.name)
        [uid] = opened.uids()
        return opened.fetch_raw(uid)[0]


def test_a_mail_leaves_signed_timestamped_and_encrypted_and_bob_can_read_it(
    client: Client, mailbox: User, bob: User, sink: Sink
) -> None:
    answer = send(client, cc=f"Alice <{ALICE}>")
    assert answer.status_code == 303
    row = Outgoing.objects.get()
    assert outbox.advance(row.pk) == State.DONE
    row.refresh_from_db()
    assert row.encrypted
    assert row.timestamped
    [taken] = sink.accepted
    assert sorted(taken.recipients) == [ALICE, BOB]
    assert SECRET.encode() not in taken.mail
    assert b"Subject: [...]" in taken.mail
    assert b"Thursday" not in taken.mail
    assert SECRET.encode() not in raw_sent(mailbox)
    # Bob's agent opens it, and believes Alice.
    from tests.accounts.cast import BOBS_PASSWORD
    from webmail.certificates.material import trust_material

    bobs = door.unlock(bob.hex, way="password", secret=bytearray(BOBS_PASSWORD.encode()))
    now = int(row.prepared_at.timestamp() * 1000) + 1000
    opened = door.call(
        bobs,
        "open",
        {
            "raw": taken.mail,
            "now": now,
            "received": now,
            "trust": trust_material(bob.pk),
            "want": "message",
        },
    )
    assert opened["verdict"]["state"] == "verified", opened["verdict"]["facts"]
    assert opened["headers"]["subject"] == "Thursday"
    assert opened["bodies"][0]["text"].strip() == f"{SECRET}."
    assert opened["verdict"]["time"]["fact"]["result"] == "passed"
    # Date is when it left, and equals signingTime: peers call a mail invalid when they differ.
    assert opened["headers"]["date"] == opened["verdict"]["time"]["claimed"]


def test_pressed_twice_it_is_sent_once(client: Client, sink: Sink) -> None:
    fields = form()
    for _ in range(2):
        assert post(client, "/compose/send/", fields).status_code == 303
    [row] = Outgoing.objects.all()
    outbox.advance(row.pk)
    outbox.advance(row.pk)
    assert sink.recipients() == [BOB]


def test_two_windows_with_one_draft_send_it_once(client: Client, sink: Sink) -> None:
    saved = post(client, "/compose/save/", form()).json()
    for _ in range(2):
        answer = send(client, draft=saved["draft"], version=saved["version"])
        assert answer.status_code == 303
    assert Outgoing.objects.count() == 1


def test_a_window_left_behind_keeps_its_words_when_the_draft_was_sent_in_another(
    client: Client, sink: Sink
) -> None:
    saved = post(client, "/compose/save/", form()).json()
    assert send(client, draft=saved["draft"], version=saved["version"]).status_code == 303
    late = form(draft=saved["draft"], version=saved["version"], text="Second thoughts.\n")
    assert post(client, "/compose/save/", late).status_code == 409
    answer = post(client, "/compose/send/", late)
    assert answer.status_code == 409
    assert "another window" in answer.context["error"]["sentence"]
    assert answer.context["draft"]["text"].strip() == "Second thoughts."
    assert str(answer.context["draft"]["id"]) != saved["draft"]
    assert Outgoing.objects.count() == 1
    again = {**late, "draft": answer.context["draft"]["id"], "version": 1}
    again["send_id"] = str(answer.context["send_id"])
    assert post(client, "/compose/send/", again).status_code == 303
    assert Outgoing.objects.count() == 2


def test_a_draft_thrown_away_in_another_window_is_kept_in_this_one(client: Client) -> None:
    saved = post(client, "/compose/save/", form()).json()
    assert post(client, f"/compose/{saved['draft']}/discard/", {}).status_code == 303
    answer = send(client, draft=saved["draft"], version=saved["version"])
    assert answer.status_code == 409
    assert SECRET in answer.context["draft"]["text"]
    assert Outgoing.objects.count() == 0


def test_a_mail_to_somebody_without_certificate_is_not_sent_in_clear_by_itself(
    client: Client, sink: Sink
) -> None:
    answer = send(client, to=f"{BOB}, {DAVE}")
    assert answer.status_code == 422
    assert answer.context["ask"]["code"] == "clear"
    assert DAVE in answer.context["ask"]["sentence"]
    assert Outgoing.objects.count() == 0


def test_on_the_users_word_it_is_sent_signed_in_clear(client: Client, sink: Sink) -> None:
    assert send(client, to=DAVE, confirm="clear").status_code == 303
    row = Outgoing.objects.get()
    assert outbox.advance(row.pk) == State.DONE
    [taken] = sink.accepted
    assert b"multipart/signed" in taken.mail
    assert SECRET.encode() in taken.mail
    row.refresh_from_db()
    assert not row.encrypted


def test_a_clear_mail_leaves_no_plaintext_in_the_database(client: Client, sink: Sink) -> None:
    assert send(client, to=DAVE, confirm="clear").status_code == 303
    row = Outgoing.objects.get()
    sink.refuse[DAVE] = "451 4.7.1 Greylisted"
    assert outbox.advance(row.pk) == State.PREPARED
    row.refresh_from_db()
    [copy] = row.copies.all()
    assert copy.sealed is not None
    for stored in (row.held_blob, row.sent_sealed, row.sealed_summary, copy.sealed, row.draft.mail):
        assert SECRET.encode() not in bytes(stored or b"")
        assert b"Thursday" not in bytes(stored or b"")


def test_what_was_promised_is_kept_or_nothing_is_sent(
    client: Client, bob: User, sink: Sink
) -> None:
    promise = promise_for(client, to=BOB)
    IssuedCertificate.objects.filter(user=bob).update(status="revoked")
    answer = send(client, promise=promise)
    assert answer.status_code == 422
    assert BOB in answer.context["error"]["sentence"]
    # Not even together with a word that was given to another question.
    assert send(client, promise=promise, confirm="clear").status_code == 422
    assert Outgoing.objects.count() == 0


def test_the_same_promise_holds_while_nothing_changed(client: Client, sink: Sink) -> None:
    assert send(client, promise=promise_for(client, to=BOB)).status_code == 303


def test_a_promise_of_mallorys_making_promises_nothing_and_harms_nothing(
    client: Client, sink: Sink
) -> None:
    assert send(client, promise="eyJ9:forged:note").status_code == 303
    assert Outgoing.objects.get().will_encrypt


def test_nobody_sends_from_anothers_address(client: Client, sink: Sink) -> None:
    answer = send(client, **{"from": BOB})
    assert answer.status_code == 422
    assert "own" in answer.context["error"]["sentence"]
    assert Outgoing.objects.count() == 0


def test_a_half_typed_address_is_said_and_kept(client: Client, sink: Sink) -> None:
    answer = send(client, to=f"{BOB}, dave@")
    assert answer.status_code == 422
    assert "dave@" in answer.context["error"]["sentence"]
    assert answer.context["draft"]["to"] == f"{BOB}, dave@"


def test_a_forgotten_attachment_and_an_empty_subject_are_asked_for_one_after_the_other(
    client: Client, sink: Sink
) -> None:
    words = {"text": "See the attached plan.", "subject": ""}
    answer = send(client, **words)
    assert answer.context["ask"]["code"] == "attachment"
    answer = send(client, confirm="attachment", **words)
    assert answer.context["ask"]["code"] == "subject"
    assert send(client, confirm="subject", **words).status_code == 303


def test_a_quoted_attachment_is_no_promise_of_ones_own(client: Client, sink: Sink) -> None:
    assert send(client, text="Fine.\n\n> see the attached plan\n").status_code == 303


def test_a_file_chosen_without_any_script_goes_with_the_mail(client: Client, sink: Sink) -> None:
    upload = SimpleUploadedFile("plan.txt", b"step one", content_type="text/plain")
    assert send(client, to=DAVE, confirm="clear", file=upload).status_code == 303
    outbox.advance(Outgoing.objects.get().pk)
    assert b"plan.txt" in sink.accepted[0].mail


def test_each_bcc_recipient_gets_an_envelope_of_their_own(client: Client, sink: Sink) -> None:
    assert send(client, to=ALICE, bcc=BOB).status_code == 303
    outbox.advance(Outgoing.objects.get().pk)
    assert sorted(each.recipients for each in sink.accepted) == [(ALICE,), (BOB,)]
    assert all(BOB.encode() not in each.mail for each in sink.accepted)


def test_undo_gives_the_draft_back_and_nothing_leaves(
    client: Client, mailbox: User, sink: Sink
) -> None:
    mailbox.undo_send_seconds = 10
    mailbox.save()
    assert send(client).status_code == 303
    row = Outgoing.objects.get()
    assert outbox.advance(row.pk) == ""
    page = client.get("/compose/outbox/", secure=True)
    assert page.context["pending_undo"]["id"] == row.pk
    answer = post(client, f"/compose/undo/{row.pk}/", {})
    assert answer["Location"] == f"/compose/{row.draft_id}/"
    page = client.get(answer["Location"], secure=True)
    assert page.context["draft"]["text"] == f"{SECRET}.\n"
    assert page.context["draft"]["subject"] == "Thursday"
    Outgoing.objects.update(next_at=row.queued_at, due_at=row.queued_at)
    assert outbox.advance(row.pk) == ""
    assert sink.accepted == []
    # And it can be sent after all.
    answer = send(client, draft=str(row.draft_id), version=page.context["draft"]["version"])
    assert answer.status_code == 303


def test_too_late_to_undo_is_said(client: Client, sink: Sink) -> None:
    send(client)
    row = Outgoing.objects.get()
    outbox.advance(row.pk)
    answer = post(client, f"/compose/undo/{row.pk}/", {})
    assert answer["Location"] == "/compose/outbox/"
    assert sink.recipients() == [BOB]


def test_locked_at_release_it_is_held_and_goes_on_after_the_next_unlock(
    client: Client, mailbox: User, sink: Sink, holder: KeyHolderSession
) -> None:
    send(client)
    row = Outgoing.objects.get()
    door.lock(mailbox.hex)
    assert outbox.advance(row.pk) == State.QUEUED
    row.refresh_from_db()
    assert row.held == "locked"
    assert sink.accepted == []
    page = client.get("/compose/outbox/", secure=True)
    assert page.context["items"][0]["state_words"] == "Waits for unlock"
    Outgoing.objects.update(next_at=row.queued_at)
    assert outbox.sweep() == 0, "nothing to ring for while locked"
    from tests.accounts.cast import ALICES_PASSWORD

    door.unlock(mailbox.hex, way="password", secret=bytearray(ALICES_PASSWORD.encode()))
    Outgoing.objects.update(next_at=row.queued_at)
    assert outbox.sweep() == 1
    assert outbox.advance(row.pk) == State.DONE
    assert sink.recipients() == [BOB]


def test_without_a_timestamp_it_is_sent_all_the_same_and_said(
    client: Client, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webmail.authority import timestamp

    monkeypatch.setattr(timestamp, "make_request", lambda *_: b"\x30\x00")
    send(client)
    row = Outgoing.objects.get()
    assert outbox.advance(row.pk) == State.DONE
    row.refresh_from_db()
    assert not row.timestamped
    page = client.get("/compose/outbox/", secure=True)
    assert page.context["items"][0]["steps"][0]["words"].startswith("Signed, without timestamp")


def test_the_outbox_shows_each_recipient_the_server_refused(client: Client, sink: Sink) -> None:
    sink.refuse[BOB] = "550 5.1.1 No such mailbox here"
    send(client, to=f"{ALICE}, {BOB}")
    row = Outgoing.objects.get()
    assert outbox.advance(row.pk) == State.DONE
    page = client.get("/compose/outbox/", secure=True)
    [item] = page.context["items"]
    told = {each["address"]: each["state"] for each in item["recipients"]}
    assert told == {ALICE: "accepted", BOB: "refused"}
    assert "refused" in item["reason"]
    assert "550 5.1.1 No such mailbox here" in page.content.decode()


def test_a_server_that_asks_to_come_back_is_not_told_as_one_that_refuses(
    client: Client, sink: Sink
) -> None:
    sink.data_reply = "451 4.3.0 The mailbox store is away"
    send(client)
    row = Outgoing.objects.get()
    assert outbox.advance(row.pk) == State.PREPARED
    page = client.get("/compose/outbox/", secure=True)
    [item] = page.context["items"]
    assert "come back later" in item["reason"]
    assert "by itself" in item["hint"]
    assert "451 4.3.0 The mailbox store is away" in page.content.decode()
    sink.data_reply = ""
    Outgoing.objects.update(next_at=row.queued_at)
    assert outbox.advance(row.pk) == State.DONE
    assert sink.recipients() == [BOB]


def test_nobody_touches_the_mail_of_another(
    client: Client, sink: Sink, bob: User, mailbox: User
) -> None:
    send(client)
    row = Outgoing.objects.get()
    Outgoing.objects.update(user=bob)
    Draft.objects.update(user=bob)
    for path in (f"/compose/undo/{row.pk}/", f"/compose/outbox/{row.pk}/"):
        assert post(client, path, {"action": "cancel"}).status_code == 404
    for path in (f"/compose/{row.draft_id}/discard/", f"/compose/{row.draft_id}/attach/"):
        assert post(client, path, {}).status_code == 404
    assert client.get(f"/compose/{row.draft_id}/", secure=True).status_code == 404
    assert send(client, draft=str(row.draft_id), version=1).status_code == 404


def test_writing_needs_the_keys(client: Client, mailbox: User) -> None:
    door.lock(mailbox.hex)
    assert client.get("/compose/", secure=True).status_code == 423
    answer = post(client, "/compose/save/", form())
    assert answer.status_code == 423
    assert "locked" in answer.json()["sentence"]
    answer = send(client)
    assert answer.status_code == 423
    assert "locked" in answer.context["error"]["sentence"]
    assert SECRET in answer.context["draft"]["text"]  # what was typed is still on the page
    assert Draft.objects.count() == 0


def test_while_the_keys_are_away_nothing_typed_is_lost(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_relay(*_args: object, **_options: object) -> None:
        raise ProtocolError(ErrorCode.NODE_GONE)

    saved = post(client, "/compose/save/", form()).json()
    monkeypatch.setattr(door, "call", no_relay)
    later = form(draft=saved["draft"], version=saved["version"], text="More.\n")
    answer = post(client, "/compose/save/", later)
    assert answer.status_code == 503  # the page tries again by itself
    assert "not running" in answer.json()["sentence"]
    for path, more in (("/compose/save/", {"save": "1"}), ("/compose/send/", {})):
        answer = post(client, path, {**later, **more})
        assert answer.status_code == 422
        assert answer.context["draft"]["text"].strip() == "More."
        assert "not running" in answer.context["error"]["sentence"]


# --------------------------------------------------------------------------- drafts


def drafts_on_server(user: User) -> list[bytes]:
    account = user.mail_account
    folder = sync.folder_of(account, "drafts")
    with imap.door(account) as opened:
        opened.select(folder.name)
        return [opened.fetch_raw(uid)[0] for uid in opened.uids()]


def test_autosave_keeps_exactly_one_sealed_copy_on_the_server(
    client: Client, mailbox: User
) -> None:
    saved: dict[str, Any] = {"draft": "", "version": 0}
    for turn in range(3):
        fields = form(draft=saved["draft"], version=saved["version"], text=f"{SECRET} {turn}")
        saved = post(client, "/compose/save/", fields).json()
        assert drafts.file_draft(uuid.UUID(saved["draft"]))
    [copy] = drafts_on_server(mailbox)
    assert SECRET.encode() not in copy
    assert b"Thursday" not in copy
    assert saved["version"] == 3
    page = client.get(f"/compose/{saved['draft']}/", secure=True)
    assert page.context["draft"]["text"] == f"{SECRET} 2"


def test_the_list_of_drafts_tells_them_apart(client: Client, mailbox: User) -> None:
    saved = post(client, "/compose/save/", form()).json()
    drafts.file_draft(uuid.UUID(saved["draft"]))
    folder = sync.folder_of(mailbox.mail_account, "drafts")
    sync.sync_folder(folder)
    address = f"/mail/{folder.pk}/"
    client.get(client.get(address, secure=True).context["poll_url"], secure=True)
    [row] = client.get(address, secure=True).context["rows"]
    assert row.subject == form()["subject"]
    assert row.sender.startswith("To: ")
    assert "nobody" not in row.sender
    assert row.snippet


def test_a_draft_that_was_filed_by_a_killed_worker_is_not_there_twice(
    client: Client, mailbox: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webmail.lib import failpoints

    saved = post(client, "/compose/save/", form()).json()
    pk = uuid.UUID(saved["draft"])
    for place in ("draft.after_append", "draft.before_commit"):
        monkeypatch.setattr(failpoints, "_armed", failpoints.parse(f"{place}=raise"))
        with pytest.raises(failpoints.Failpoint):
            drafts.file_draft(pk)
    monkeypatch.setattr(failpoints, "_armed", {})
    assert drafts.file_draft(pk)
    assert len(drafts_on_server(mailbox)) == 1


def test_an_older_page_does_not_overwrite_a_newer_draft(client: Client) -> None:
    saved = post(client, "/compose/save/", form()).json()
    newer = form(draft=saved["draft"], version=saved["version"], text="newer")
    assert post(client, "/compose/save/", newer).status_code == 200
    older = form(draft=saved["draft"], version=saved["version"], text="older")
    answer = post(client, "/compose/save/", older)
    assert answer.status_code == 409
    assert answer.json()["sentence"]
    page = client.get(f"/compose/{saved['draft']}/", secure=True)
    assert page.context["draft"]["text"] == "newer"


def test_a_discarded_draft_is_gone_from_server_and_database(client: Client, mailbox: User) -> None:
    saved = post(client, "/compose/save/", form()).json()
    pk = uuid.UUID(saved["draft"])
    drafts.file_draft(pk)
    assert post(client, f"/compose/{pk}/discard/", {}).status_code == 303
    assert drafts.file_draft(pk)
    assert drafts_on_server(mailbox) == []
    assert not Draft.objects.exists()


def test_a_sent_draft_leaves_the_drafts_folder(client: Client, mailbox: User, sink: Sink) -> None:
    saved = post(client, "/compose/save/", form()).json()
    drafts.file_draft(uuid.UUID(saved["draft"]))
    send(client, draft=saved["draft"], version=saved["version"])
    outbox.advance(Outgoing.objects.get().pk)
    assert drafts.file_draft(uuid.UUID(saved["draft"]))
    assert drafts_on_server(mailbox) == []
    assert not Draft.objects.exists()
    assert Outgoing.objects.get().state == State.DONE


def test_an_attachment_is_stored_sealed_and_named_nowhere_in_clear(
    client: Client, holder: KeyHolderSession
) -> None:
    saved = post(client, "/compose/save/", form()).json()
    upload = SimpleUploadedFile("merger.txt", SECRET.encode(), content_type="text/plain")
    answer = post(client, f"/compose/{saved['draft']}/attach/", {"file": upload}, hx_request="true")
    assert answer.status_code == 200
    assert answer.context["attachment"]["name"] == "merger.txt"
    [row] = DraftAttachment.objects.all()
    for stored in (row.sealed, row.sealed_facts):
        assert SECRET.encode() not in bytes(stored)
        assert b"merger" not in bytes(stored)
    draft = Draft.objects.get()
    [part] = drafts.attachments(holder, draft)
    assert drafts.attachment_bytes(draft, part) == SECRET.encode()
    # Moved to another draft, or changed, it does not open.
    DraftAttachment.objects.update(sealed=bytes(row.sealed)[:-1] + b"\0")
    with pytest.raises(drafts.DraftDamaged):
        drafts.attachment_bytes(draft, part)
    path = answer.context["attachment"]["detach_url"]
    assert post(client, path, {}, hx_request="true").status_code == 204
    assert not DraftAttachment.objects.exists()


def test_attachments_beyond_the_limit_are_refused_with_a_sentence(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafts, "ATTACHMENTS_BYTES", 10)
    saved = post(client, "/compose/save/", form()).json()
    upload = SimpleUploadedFile("big.bin", b"x" * 11)
    answer = post(client, f"/compose/{saved['draft']}/attach/", {"file": upload}, hx_request="true")
    assert answer.status_code == 413
    assert "25 MB" in answer.context["error"]["sentence"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\windows\\a.txt", "a.txt"),
        ("a\0b\r\nX.txt", "abX.txt"),
        ("", "attachment"),
        ("x" * 500 + ".pdf", "x" * 196 + ".pdf"),
    ],
)
def test_a_file_name_becomes_a_plain_one(given: str, kept: str) -> None:
    assert drafts._plain_name(given) == kept


def test_a_draft_of_the_drafts_folder_is_taken_up_again(client: Client, mailbox: User) -> None:
    saved = post(client, "/compose/save/", form()).json()
    drafts.file_draft(uuid.UUID(saved["draft"]))
    Draft.objects.all().delete()  # the cache was dropped: the server still has it
    account = mailbox.mail_account
    folder = sync.folder_of(account, "drafts")
    sync.sync_folder(folder)
    message = folder.messages.get()
    answer = client.get(f"/compose/stored/{folder.pk}/{message.uid}/", secure=True)
    assert answer.status_code == 302, answer.content
    page = client.get(answer["Location"], secure=True)
    assert page.context["draft"]["text"] == f"{SECRET}.\n"
    draft = Draft.objects.get()
    assert drafts.file_draft(draft.pk)
    assert len(drafts_on_server(mailbox)) == 1


def test_the_sentence_tells_who_is_in_the_way(client: Client, mailbox: User) -> None:
    answer = client.get("/compose/recipients/", {"to": f"{BOB}, {DAVE}"}, secure=True)
    outcome = answer.context["recipients"]["outcome"]
    assert (outcome["tone"], outcome["encrypts"]) == ("amber", False)
    assert outcome["blocked"] == [DAVE]
    answer = client.get("/compose/recipients/", {"to": BOB}, secure=True)
    outcome = answer.context["recipients"]["outcome"]
    assert (outcome["tone"], outcome["encrypts"]) == ("calm", True)
    assert match.recipients_state(mailbox.pk, [BOB])[0]["source"] == "own"


def test_a_new_mail_begins_in_the_editor_and_a_plain_one_stays_plain(client: Client) -> None:
    fresh = client.get("/compose/", secure=True)
    assert fresh.context["draft"]["html"] == ""
    saved: dict[str, Any] = {"draft": "", "version": 0}
    for _turn in range(2):
        fields = form(draft=saved["draft"], version=saved["version"], mode_plain="1")
        saved = post(client, "/compose/save/", fields).json()
    again = client.get(f"/compose/{saved['draft']}/", secure=True)
    assert again.context["draft"]["html"] is None


def test_suggestions_offer_colleagues(client: Client) -> None:
    answer = client.get("/compose/suggest/", {"q": "bo"}, secure=True)
    assert [each["address"] for each in answer.context["suggestions"]] == [BOB]
