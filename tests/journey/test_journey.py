"""From the invitation in Django admin to a foreign program that opens and verifies the answer."""

from __future__ import annotations

import imaplib
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from launcher.demo import ADMIN, MAIL_SERVER_PASSWORD, PASSWORD, Demo
from launcher.demo_mail import compose
from launcher.dovecot import add_user, deliver, mail_folder
from launcher.foreign import open_mail, smime
from tests.support import peers
from tests.support.servers import short_folder

ERIN = "erin@acme.example"
NEW_PASSWORD = "erin opens her letters"
SECRET_WORDS = "the tide turns at a quarter past nine"
SECRET_SUBJECT = "Berth seventeen"
ANSWER = "We shall be there before the tide."
PATIENCE_MS = 60_000


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A fresh browser that must not complain of anything."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB")
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: (
            complaints.append(f"{message.text} {message.location.get('url', '')}")
            if message.type == "error"
            else None
        ),
    )
    yield page
    context.close()
    assert complaints == []


def invite_in_admin(page: Page, demo: Demo) -> str:
    """What the administrator does; returns the invitation link."""
    page.goto(f"{demo.sealpost.origin}/admin/")
    page.get_by_label("Username").or_(page.locator("#id_username")).first.fill(ADMIN)
    page.locator("#id_password").fill(PASSWORD)
    page.locator("input[type=submit]").click()
    page.goto(f"{demo.sealpost.origin}/admin/accounts/user/add/")
    page.locator("#id_display_name").fill("Erin Evans")
    page.locator("#id_addresses").fill(ERIN)
    page.locator("#id_mail_password").fill(MAIL_SERVER_PASSWORD)
    page.locator("input[name=_save]").click()
    return page.locator(".invitation-link").inner_text()


def accept(page: Page, link: str) -> None:
    """What Erin does: choose a password, keep the recovery code, go to the inbox."""
    page.goto(link)
    page.locator("input[name=password]").fill(NEW_PASSWORD)
    page.locator("input[name=password_again]").fill(NEW_PASSWORD)
    page.locator("main button[type=submit]").click()
    page.locator("input[name=confirmed]").check()
    page.locator("main button[type=submit]").last.click()
    page.goto("/".join(link.split("/")[:3]) + "/")
    expect(page).to_have_title(re.compile("Inbox"))


def sealed_letter(demo: Demo) -> bytes:
    """Carol's openssl signs and encrypts to the certificate which Erin just got."""
    certificate = demo.certificate_of(ERIN)
    letter = compose(
        demo.cast.carol.mailbox(), f"Erin Evans <{ERIN}>", SECRET_SUBJECT,
        f"Dear Erin,\n\n{SECRET_WORDS}.\n\nCarol\n", date=datetime.now(UTC),
    )  # fmt: skip
    return smime(letter, signer=demo.cast.carol, recipients=[certificate])


def mailbox_of(demo: Demo, address: str, folder: str) -> list[bytes]:
    imap = imaplib.IMAP4("127.0.0.1", demo.sealpost.ports["imap"])
    imap.login(address, MAIL_SERVER_PASSWORD)
    try:
        imap.select(folder, readonly=True)
        _, found = imap.uid("SEARCH", "ALL")
        mails = []
        for uid in (found[0] or b"").split():
            _, parts = imap.uid("FETCH", uid.decode(), "(BODY.PEEK[])")
            first = parts[0]
            assert isinstance(first, tuple)
            mails.append(first[1])
        return mails
    finally:
        imap.logout()


def eventually(read: Callable[[], list[bytes]]) -> bytes:
    """The newest of what ``read`` finds, within a minute."""
    deadline = time.monotonic() + 60
    while True:
        found = read()
        if found:
            return found[-1]
        assert time.monotonic() < deadline, "nothing came within a minute"
        time.sleep(0.5)


def test_from_the_invitation_to_the_answer_that_openssl_verifies(demo: Demo, page: Page) -> None:
    add_user(mail_folder(demo.state / "mail"), ERIN, MAIL_SERVER_PASSWORD)
    accept(page, invite_in_admin(page, demo))

    letter = sealed_letter(demo)
    assert SECRET_WORDS.encode() not in letter
    deliver(demo.sealpost.ports["lmtp"], demo.cast.carol.address, [ERIN], letter)
    row = page.get_by_role("link", name=re.compile("Carol Jones")).first
    row.click()

    identity = page.locator(".identity").first
    expect(page.locator("[data-message]")).to_contain_text(SECRET_WORDS)
    expect(page.locator("main")).to_contain_text(SECRET_SUBJECT)
    for _ in range(20):  # the first look fetches the revocation list
        if "Signed by Carol Jones" in identity.inner_text():
            break
        time.sleep(1)
        page.reload()
    expect(identity).to_contain_text("Signed by Carol Jones")
    expect(identity).to_contain_text("Harbour Bank plc")
    expect(identity).to_contain_text("encrypted to you")

    page.get_by_role("link", name="Reply", exact=True).last.click()
    expect(page.locator("main")).to_contain_text("encrypted to Carol Jones")
    page.keyboard.type(f"{ANSWER}\n")  # the caret stands where one writes
    page.get_by_role("button", name="Send", exact=True).click()

    carol = demo.cast.carol
    mail = eventually(lambda: mailbox_of(demo, carol.address, "INBOX"))
    outer = message_from_bytes(mail, policy=policy.default)
    assert outer["Subject"] == "[...]"
    assert ANSWER.encode() not in mail
    opened = open_mail(mail, carol, [demo.outside / "sealpost-root.crt"])
    assert (opened.encrypted, opened.signed) == (True, True)
    inner = message_from_bytes(opened.entity, policy=policy.default)
    assert inner["Subject"] == f"Re: {SECRET_SUBJECT}"
    body = inner.get_body(("plain",))
    assert body is not None
    assert ANSWER in body.get_content()

    for_others_too(mail, demo)

    sent = eventually(lambda: mailbox_of(demo, ERIN, "Sent"))
    assert ANSWER.encode() not in sent
    assert message_from_bytes(sent)["Message-ID"] == outer["Message-ID"]
    assert_outbox_says_done(page, demo)
    assert_locking_hides_the_letter(page, demo)


def for_others_too(mail: bytes, demo: Demo) -> None:
    """gpgsm and NSS open the same mail and verify its signature."""
    for peer in (peers.gpgsm, peers.nss):
        with short_folder() as folder:
            opened = peer(mail, demo.cast.carol, demo.outside / "sealpost-root.crt", folder)
        assert (opened.encrypted, opened.signed) == (True, True), peer.__name__
        assert ANSWER.encode() in opened.entity, peer.__name__


def assert_outbox_says_done(page: Page, demo: Demo) -> None:
    for _ in range(30):
        page.goto(f"{demo.sealpost.origin}/compose/outbox/")
        if "timestamped" in page.locator("main").inner_text():
            break
        time.sleep(0.5)
    expect(page.locator("main")).to_contain_text("encrypted · timestamped")


def assert_locking_hides_the_letter(page: Page, demo: Demo) -> None:
    page.goto(f"{demo.sealpost.origin}/")
    page.get_by_role("link", name=re.compile("Carol Jones")).first.click()
    expect(page.locator("main")).to_contain_text(SECRET_SUBJECT)
    page.get_by_role("button", name="Lock now").click()
    expect(page.locator("main")).to_contain_text("Unlock to read")
    expect(page.locator("body")).not_to_contain_text(SECRET_SUBJECT)
    page.locator("main input[name=password]").first.fill(NEW_PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text(SECRET_SUBJECT)


def test_the_demo_is_what_the_readme_says(demo: Demo, page: Page, tmp_path: Path) -> None:
    """Alice signs in and sees every state in words."""
    page.goto(demo.sealpost.origin)
    page.locator("input[name=address]").fill("alice@acme.example")
    page.locator("input[name=password]").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name=re.compile("Urgent: confirm")).first).to_be_visible()
    contract = page.get_by_role("link", name=re.compile("The contract for pier 4")).first
    expect(contract).to_be_visible()  # once the agent has looked inside
    mails = mailbox_of(demo, "alice@acme.example", "INBOX")
    assert not any(b"The contract for pier 4" in mail for mail in mails)
    for subject, words in {
        "The contract for pier 4": "Sent encrypted to you",
        "Please pay 100 EUR": "does not match this message",
        "Signed by somebody else": "Signed by someone else",
        "My certificate has expired": "expired",
        "Greetings from an unknown authority": "is not known here",
        "Urgent: confirm your account": "looks like the address",
    }.items():
        page.get_by_role("link", name=re.compile(subject)).first.click()
        expect(page.locator("[data-message]")).to_contain_text(words)


def test_the_first_mail_is_a_tour_that_is_what_it_tells_of(demo: Demo, page: Page) -> None:
    """Bob was activated when the demo started; his tour came by itself."""
    page.goto(demo.sealpost.origin)
    page.locator("input[name=address]").fill("bob@acme.example")
    page.locator("input[name=password]").fill(PASSWORD)
    page.keyboard.press("Enter")
    raw = eventually(lambda: mailbox_of(demo, "bob@acme.example", "INBOX"))
    assert b"certificate" not in raw
    page.get_by_role("gridcell").get_by_role("link", name=re.compile("Sealpost")).click()
    identity = page.locator(".identity").first
    expect(identity).to_contain_text("Signed by postmaster@")
    expect(identity).to_contain_text("Time certified")
    expect(identity).to_contain_text("encrypted to you")
