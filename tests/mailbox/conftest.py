"""Accounts in the database whose mail lives on the real Dovecot of the run."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator

import pytest

from launcher.dovecot import Dovecot
from tests.support.servers import PASSWORD
from webmail.accounts.models import Address, MailAccount, User
from webmail.mailbox import imap, sync
from webmail.mailbox.models import Folder

BOXES = 300
"""Mailboxes made at once: Dovecot looks at its user file at most once a second."""


@pytest.fixture(scope="session")
def boxes(dovecot: Dovecot) -> Iterator[str]:
    """Addresses of empty mailboxes, each given out once."""
    prefix = secrets.token_hex(3)
    addresses = [f"box-{prefix}-{number}@acme.example" for number in range(BOXES)]
    for address in addresses:
        dovecot.add_user(address, PASSWORD)
    time.sleep(1.1)
    return iter(addresses)


@pytest.fixture
def new_account(
    db: None, dovecot: Dovecot, boxes: Iterator[str]
) -> Iterator[Callable[[str], MailAccount]]:
    """Makes a person with an empty mailbox of her own on the server."""

    def make(name: str) -> MailAccount:
        address = next(boxes)
        user = User.objects.create_user(address, display_name=name.title())
        Address.objects.create(user=user, address=address, primary=True)
        account = MailAccount(
            user=user,
            imap_host="127.0.0.1",
            imap_port=dovecot.imap_port,
            imap_tls="none",
            imap_user=address,
        )
        account.set_password(PASSWORD.encode())
        account.save()
        return account

    yield make
    imap.close_all()


@pytest.fixture
def alice(new_account: Callable[[str], MailAccount]) -> MailAccount:
    return new_account("alice")


@pytest.fixture
def mallory(new_account: Callable[[str], MailAccount]) -> MailAccount:
    return new_account("mallory")


@pytest.fixture
def inbox(alice: MailAccount) -> Folder:
    """Alice's inbox, known to the database but not yet read."""
    return next(folder for folder in sync.sync_folders(alice) if folder.is_inbox)


@pytest.fixture
def deliver(dovecot: Dovecot, alice: MailAccount) -> Callable[[bytes], None]:
    def send(mail: bytes) -> None:
        dovecot.deliver(alice.imap_user, mail)

    return send


def plain_mail(
    number: int = 1,
    *,
    sender: str = "Bob <bob@acme.example>",
    subject: str = "",
    headers: str = "",
    body: str = "Hello Alice",
) -> bytes:
    """A small mail with CRLF line ends."""
    content_type = (
        "" if "Content-Type" in headers else "Content-Type: text/plain; charset=utf-8\r\n"
    )
    text = (
        f"From: {sender}\r\nTo: Alice <alice@acme.example>\r\n"
        f"Subject: {subject or f'Mail {number}'}\r\n"
        f"Date: Tue, 24 Nov 2026 08:00:00 +0000\r\nMessage-ID: <mail-{number}@acme.example>\r\n"
        f"{headers}MIME-Version: 1.0\r\n{content_type}\r\n{body}\r\n"
    )
    return text.encode()
