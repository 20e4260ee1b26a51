"""Folders and mails as pages: real agents open them, the real Dovecot holds them."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from launcher.foreign import Correspondent, ForeignAuthority, smime
from tests.reading.conftest import Person, letter, plain
from webmail.mailbox.models import Folder, Message


def page(client: Client, url: str, **headers: str) -> str:
    answer = client.get(url, headers=headers)
    assert answer.status_code == 200, answer.content.decode()
    return answer.content.decode()


def url(name: str, row: Message, **more: str) -> str:
    return reverse(f"reading:{name}", kwargs={**row.address(), **more})


def test_home_leads_to_the_inbox_and_the_inbox_shows_mail(alice: Person) -> None:
    alice.receive(plain(letter(alice.address, subject="Grüße aus Köln")))
    answer = alice.client.get("/")
    assert answer.status_code == 302
    assert "Grüße aus Köln" in page(alice.client, answer["Location"])


def test_a_plain_mail_is_shown_and_marked_as_read(alice: Person) -> None:
    row = alice.receive(plain(letter(alice.address, text="Hello <b>Alice</b> https://ok.example/")))
    shown = page(alice.client, url("message", row))
    assert "Hello &lt;b&gt;Alice&lt;/b&gt;" in shown
    assert 'href="https://ok.example/"' in shown
    assert "Not signed" in shown
    row.refresh_from_db()
    assert row.seen
    assert row.snippet.startswith("Hello <b>Alice")


def test_a_signed_mail_names_its_signer_in_words(alice: Person, bob: Correspondent) -> None:
    row = alice.receive(smime(letter(alice.address), signer=bob))
    shown = page(alice.client, url("message", row))
    assert "Signed by Bob Builder" in shown
    assert "organisation and person checked: Builders plc" in shown
    assert "first message from this signer" in shown
    row.refresh_from_db()
    assert (row.verdict_state, row.verdict_level, row.signer_name) == (
        "verified",
        "V4",
        "Bob Builder",
    )
    second = alice.receive(smime(letter(alice.address, number=2, text="More"), signer=bob))
    assert "as in 1 earlier message" in page(alice.client, url("message", second))
    again = page(alice.client, url("message", row))
    assert "as in 1 earlier message" in again, "this mail is not its own history"


def test_an_encrypted_mail_is_read_and_its_list_row_shows_the_words_sealed(
    alice: Person, bob: Correspondent
) -> None:
    row = alice.receive(
        smime(
            letter(alice.address, text="the vault code is 4711"),
            signer=bob,
            recipients=[alice.encryption_certificate],
        )
    )
    assert row.kind == "encrypted"
    before = page(alice.client, alice_list(alice))
    assert "Encrypted message" in before
    shown = page(alice.client, url("message", row))
    assert "the vault code is 4711" in shown
    assert "Sent encrypted to you" in shown
    assert "Signed by Bob Builder" in shown
    row.refresh_from_db()
    assert row.sealed_summary
    assert row.verdict_state == row.snippet == row.signer_name == ""
    assert b"4711" not in bytes(row.sealed_summary)
    after = page(alice.client, alice_list(alice))
    assert "the vault code is 4711" in after
    assert "Bob Builder" in after


def alice_list(person: Person) -> str:
    return reverse("reading:folder", kwargs={"folder_id": person.inbox.pk})


def test_locked_shows_lists_and_asks_in_place(alice: Person, bob: Correspondent) -> None:
    sealed = alice.receive(
        smime(letter(alice.address, text="4711"), recipients=[alice.encryption_certificate])
    )
    signed = alice.receive(smime(letter(alice.address, text="in clear", number=2), signer=bob))
    page(alice.client, url("message", sealed))
    alice.lock()
    listed = page(alice.client, alice_list(alice))
    assert "Encrypted message" in listed
    assert "4711" not in listed
    shown = page(alice.client, url("message", sealed))
    assert "4711" not in shown
    assert "unlock" in shown.lower()
    body = alice.client.get(url("body", sealed, part="1"))
    assert body.status_code == 423
    assert b"4711" not in body.content
    # Signed mail is judged for everybody.
    assert "Signed by Bob Builder" in page(alice.client, url("message", signed))


def test_a_missing_signature_of_a_usual_signer_is_said(alice: Person, bob: Correspondent) -> None:
    for number in range(1, 4):
        row = alice.receive(
            smime(letter(alice.address, number=number, text=f"Letter {number}"), signer=bob)
        )
        page(alice.client, url("message", row))
    forged = alice.receive(plain(letter(alice.address, text="Pay at once", number=9)))
    for _time in range(2):
        shown = page(alice.client, url("message", forged))
        assert "Not signed – this sender normally signs." in shown
    assert "although this sender normally signs" in page(alice.client, alice_list(alice))


def test_a_changed_mail_is_red_and_never_signed(alice: Person, bob: Correspondent) -> None:
    mail = smime(letter(alice.address, text="pay 10 euro"), signer=bob)
    row = alice.receive(mail.replace(b"pay 10 euro", b"pay 99 euro"))
    shown = page(alice.client, url("message", row))
    assert "Signature does not match this message" in shown
    assert "Signed by Bob" not in shown


def test_a_signer_for_another_address_is_named_as_such(
    alice: Person, trusted: ForeignAuthority
) -> None:
    mallory = trusted.issue("mallory@evil.example", "Bob Builder", level="V4", organisation="X")
    row = alice.receive(smime(letter(alice.address), signer=mallory))
    shown = page(alice.client, url("message", row))
    assert "Signed by someone else" in shown


def test_an_unknown_authority_is_doubt_and_not_failure(
    alice: Person, outside: ForeignAuthority
) -> None:
    bob = outside.issue(
        "bob@builders.example", "Bob Builder", level="V4", organisation="Builders plc"
    )
    row = alice.receive(smime(letter(alice.address), signer=bob))
    shown = page(alice.client, url("message", row))
    assert "could not be checked" in shown
    assert "is not known here" in shown


# --- bodies


HTML = (
    '<p style="color: red">Hello</p><img src="http://tracker.example/x.png">'
    "<script>attack()</script><img src=cid:nothing>"
)


def test_a_body_is_a_document_of_its_own_under_its_own_policy(alice: Person) -> None:
    row = alice.receive(plain(letter(alice.address, html=HTML)))
    shown = page(alice.client, url("message", row))
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in shown
    assert "attack()" not in shown
    answer = alice.client.get(url("body", row, part="1.2"))
    if answer.status_code == 404:
        answer = alice.client.get(body_of(shown))
    policy = answer["Content-Security-Policy"]
    for directive in (
        "sandbox allow-popups allow-popups-to-escape-sandbox",
        "default-src 'none'",
        "img-src data:;",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'self'",
    ):
        assert directive in policy
    assert "allow-scripts" not in policy
    assert "allow-same-origin" not in policy
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "no-referrer"
    assert "no-store" in answer["Cache-Control"]
    content = answer.content.decode()
    assert '<p style="color: red">Hello</p>' in content
    assert "tracker.example" not in content
    assert "attack" not in content


def body_of(shown: str) -> str:
    start = shown.index("/body/")
    begin = shown.rindex('"', 0, start) + 1
    return shown[begin : shown.index('"', start)]


def test_remote_pictures_come_only_when_asked_and_through_the_proxy(alice: Person) -> None:
    row = alice.receive(plain(letter(alice.address, html=HTML)))
    shown = page(alice.client, url("message", row))
    assert "not loaded" in shown
    body = body_of(shown)
    answer = alice.client.get(f"{body}?remote=1")
    assert "/mail/remote/?a=" in answer.content.decode()
    assert "tracker.example" not in answer.content.decode()
    assert "http://testserver/mail/remote/" in answer["Content-Security-Policy"]


def test_the_picture_proxy_serves_nothing_that_was_not_signed(alice: Person) -> None:
    for token in ("", "x", "eyJ1IjoiaHR0cDovL3gifQ:1abc:def"):
        assert alice.client.get("/mail/remote/", {"a": token}).status_code == 403


def test_the_picture_proxy_does_not_reach_into_the_house(alice: Person) -> None:
    from webmail.reading import proxy

    for target in ("http://127.0.0.1:1/x", "http://169.254.169.254/", "file:///etc/passwd"):
        assert Client().get(proxy.address(target, alice.user)).status_code == 404


def test_pictures_of_the_mail_itself_are_written_into_the_document(alice: Person) -> None:
    message = letter(alice.address, html='<img src="cid:logo@x"><p>x</p>')
    png = b"\x89PNG\r\n\x1a\n" + b"0" * 100
    message.get_payload()[1].add_related(png, "image", "png", cid="<logo@x>")  # type: ignore[union-attr,index]
    row = alice.receive(plain(message))
    content = alice.client.get(body_of(page(alice.client, url("message", row)))).content.decode()
    assert "data:image/png;base64,iVBOR" in content


# --- attachments


def attached(person: Person, data: bytes, maintype: str, subtype: str, name: str) -> Message:
    message = letter(person.address)
    message.add_attachment(data, maintype=maintype, subtype=subtype, filename=name)
    return person.receive(plain(message))


@pytest.mark.parametrize(
    ("maintype", "subtype"),
    [("text", "html"), ("image", "svg+xml"), ("application", "xhtml+xml"), ("text", "xml"),
     ("application", "x-unknown"), ("application", "javascript")],
)  # fmt: skip
def test_active_attachments_are_bytes_to_save(alice: Person, maintype: str, subtype: str) -> None:
    row = attached(alice, b"<script>attack()</script>", maintype, subtype, "a.html")
    for query in ("", "?view=1"):
        answer = alice.client.get(attachment_of(alice, row) + query)
        assert answer["Content-Type"] == "application/octet-stream"
        assert answer["Content-Disposition"].startswith("attachment")
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer["Content-Security-Policy"]
        assert answer.content == b"<script>attack()</script>"


def attachment_of(person: Person, row: Message) -> str:
    shown = page(person.client, url("message", row))
    start = shown.index("/attachment/")
    begin = shown.rindex('"', 0, start) + 1
    return shown[begin : shown.index('"', start)].partition("?")[0]


def test_a_picture_is_shown_in_place_by_its_bytes_and_not_by_its_name(alice: Person) -> None:
    png = b"\x89PNG\r\n\x1a\n" + b"0" * 50
    row = attached(alice, png, "image", "jpeg", "photo.jpg")
    answer = alice.client.get(attachment_of(alice, row) + "?view=1")
    assert answer["Content-Type"] == "image/png"
    lying = attached(alice, b"<svg onload=attack()>", "image", "png", "photo.png")
    answer = alice.client.get(attachment_of(alice, lying) + "?view=1")
    assert answer["Content-Disposition"].startswith("attachment")


def test_the_source_is_the_mail_byte_for_byte(alice: Person, bob: Correspondent) -> None:
    mail = smime(letter(alice.address), signer=bob)
    row = alice.receive(mail)
    answer = alice.client.get(url("source", row))
    assert answer.content.endswith(mail[mail.index(b"\r\n\r\n") :])
    assert answer["Content-Type"] == "message/rfc822"
    assert ".eml" in answer["Content-Disposition"]


def test_the_certificate_and_the_identity_block_are_given(
    alice: Person, bob: Correspondent
) -> None:
    row = alice.receive(smime(letter(alice.address), signer=bob))
    pem = alice.client.get(url("certificate", row)).content
    assert pem.startswith(b"-----BEGIN CERTIFICATE-----")
    assert bob.certificate.read_bytes().strip() in pem
    assert "Signed by Bob Builder" in page(
        alice.client, url("identity", row), **{"HX-Request": "true"}
    )


def test_the_printed_page_carries_the_verdict_as_text(alice: Person, bob: Correspondent) -> None:
    row = alice.receive(smime(letter(alice.address, html="<p>Plan B</p>"), signer=bob))
    answer = alice.client.get(url("print", row))
    shown = answer.content.decode()
    assert "Signed by Bob Builder" in shown
    assert "Plan B" in shown or "secret plans" in shown
    assert "allow-scripts" not in answer["Content-Security-Policy"]


# --- other people


@pytest.mark.parametrize(
    "name", ["message", "body", "attachment", "source", "identity", "certificate", "print"]
)
def test_mallory_finds_nothing_of_alices_mail(alice: Person, mallory: Person, name: str) -> None:
    row = alice.receive(plain(letter(alice.address, subject="only for Alice")))
    part = {"part": "1"} if name in {"body", "attachment"} else {}
    answer = mallory.client.get(url(name, row, **part))
    assert answer.status_code == 404
    assert b"only for Alice" not in answer.content
    assert alice.client.get(url(name, row, **part)).status_code in {200, 404}


def test_mallory_cannot_list_poll_move_or_delete_alices_mail(
    alice: Person, mallory: Person
) -> None:
    row = alice.receive(plain(letter(alice.address)))
    folder = alice.inbox
    assert mallory.client.get(alice_list(alice)).status_code == 404
    poll = reverse("reading:poll")
    assert mallory.client.get(poll, {"folder": folder.pk, "seen": ""}).status_code == 404
    for action in ("read", "delete", "archive", "spam", "star"):
        answer = mallory.client.post(
            reverse("reading:act"),
            {"action": action, "ids": row.pk},
            headers={"HX-Request": "true"},
        )
        assert answer.status_code == 422
    mine = mallory.receive(plain(letter(mallory.address)))
    answer = mallory.client.post(
        reverse("reading:act"),
        {"action": "move", "ids": mine.pk, "target": folder.pk},
        headers={"HX-Request": "true"},
    )
    assert answer.status_code == 422
    row.refresh_from_db()
    assert (row.folder_id, row.seen, row.flagged) == (folder.pk, False, False)


def test_nobody_gets_in_without_signing_in(alice: Person) -> None:
    row = alice.receive(plain(letter(alice.address)))
    stranger = Client()
    for where in (alice_list(alice), url("message", row), url("source", row), "/"):
        answer = stranger.get(where)
        assert answer.status_code == 302
        assert "/sign-in/" in answer["Location"]


# --- acting


def act(person: Person, action: str, *ids: int, **more: object) -> str:
    answer = person.client.post(
        reverse("reading:act"),
        {"action": action, "ids": list(ids), **more},
        headers={"HX-Request": "true"},
    )
    assert answer.status_code == 200, answer.content.decode()
    return answer.content.decode()


def test_archiving_can_be_undone(alice: Person) -> None:
    row = alice.receive(plain(letter(alice.address)))
    told = act(alice, "archive", row.pk)
    assert "1 message moved to Archive" in told
    row.refresh_from_db()
    assert row.folder.role == "archive"
    act(alice, "move", row.pk, target=alice.inbox.pk)
    row.refresh_from_db()
    assert row.folder_id == alice.inbox.pk


def test_flags_and_deletion_reach_the_server(alice: Person) -> None:
    row = alice.receive(plain(letter(alice.address)))
    act(alice, "star", row.pk)
    act(alice, "read", row.pk)
    act(alice, "unread", row.pk)
    row.refresh_from_db()
    assert row.flagged
    assert not row.seen
    act(alice, "delete", row.pk)
    assert Folder.objects.get(account=alice.user.mail_account, role="trash").total == 1
    assert "deleted for good" in act(alice, "delete", row.pk)
    assert not Message.objects.filter(pk=row.pk).exists()


def test_actions_are_refused_by_get_and_without_a_token(alice: Person) -> None:
    row = alice.receive(plain(letter(alice.address)))
    assert (
        alice.client.get(reverse("reading:act"), {"action": "delete", "ids": row.pk}).status_code
        == 405
    )
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = alice.client.cookies
    answer = strict.post(reverse("reading:act"), {"action": "delete", "ids": row.pk}, secure=True)
    assert answer.status_code == 403


def test_without_scripts_an_action_goes_back_to_where_one_was(alice: Person) -> None:
    row = alice.receive(plain(letter(alice.address)))
    for wanted, expected in (
        (alice_list(alice), alice_list(alice)),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
    ):
        answer = alice.client.post(
            reverse("reading:act"), {"action": "star", "ids": row.pk, "next": wanted}
        )
        assert (answer.status_code, answer["Location"]) == (303, expected)


# --- new mail


def test_polling_tells_of_new_mail_within_seconds(alice: Person) -> None:
    context = alice.client.get(alice_list(alice)).context
    poll_url = context["poll_url"]
    Folder.objects.update(synced_at=None)
    assert alice.client.get(poll_url).status_code in {200, 204}
    poll_url = alice.client.get(alice_list(alice)).context["poll_url"]
    assert alice.client.get(poll_url).status_code == 204, "nothing changed"
    alice.server.deliver(alice.address, plain(letter(alice.address, subject="Fresh")))
    Folder.objects.update(synced_at="2026-01-01T00:00:00Z")
    answer = alice.client.get(poll_url)
    assert answer.status_code == 200
    assert "Fresh" in answer.content.decode()
    assert answer.context["announcement"] == "1 new message"
    assert [each["role"] for each in answer.context["folders"] if each["active"]] == ["inbox"]


def test_while_the_mail_server_is_away_the_list_stays_with_a_sentence(alice: Person) -> None:
    from webmail.mailbox import imap

    row = alice.receive(plain(letter(alice.address, subject="Still here")))
    imap.close_all()
    account = alice.user.mail_account
    type(account).objects.filter(pk=account.pk).update(imap_port=1)
    Folder.objects.update(synced_at="2026-01-01T00:00:00Z")
    alice.client.get(reverse("reading:poll"), {"folder": alice.inbox.pk, "seen": ""})
    shown = page(alice.client, alice_list(alice))
    assert "Still here" in shown
    assert "cannot be reached" in shown
    answer = alice.client.get(url("message", row))
    assert answer.status_code == 503
    assert "cannot be reached" in answer.content.decode()


def test_searching_has_its_own_address(alice: Person) -> None:
    alice.receive(plain(letter(alice.address, subject="Invoice 12")))
    alice.receive(plain(letter(alice.address, subject="Holiday", number=2)))
    shown = page(alice.client, f"{alice_list(alice)}?q=subject:invoice")
    assert "Invoice 12" in shown
    assert "Holiday" not in shown


def test_fragments_are_no_pages(alice: Person) -> None:
    row = alice.receive(plain(letter(alice.address)))
    for where in (alice_list(alice), url("message", row)):
        assert "<html" in page(alice.client, where)
        assert "<html" not in page(alice.client, where, **{"HX-Request": "true"})
