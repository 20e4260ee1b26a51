"""Alice with a vault in a real agent and a mailbox on the real Dovecot; Bob writes from outside,
with certificates and mail made by the openssl program; Mallory is another person of the house."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.test import Client
from django.utils import timezone

from launcher.dovecot import Dovecot
from launcher.foreign import Correspondent, ForeignAuthority, openssl, smime
from tests.accounts.cast import (
    ALICES_PASSWORD,
    accept,
    add_person,
    browser,
    node,
    plain_static_files,
    post,
    running_agents,
)
from tests.mailbox.conftest import boxes
from tests.support.agent_node import AgentNode
from webmail.accounts.models import User
from webmail.certificates import material
from webmail.certificates.models import OwnCertificate, RevocationList, TrustedRoot
from webmail.mailbox import imap, sync
from webmail.mailbox.models import Folder, Message

__all__ = ["boxes", "node", "plain_static_files", "running_agents"]


@dataclass
class Person:
    """Somebody signed in, with a browser and an inbox."""

    user: User
    client: Client
    server: Dovecot
    folder: Path
    files: list[Path] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.user.username

    @property
    def inbox(self) -> Folder:
        return Folder.objects.get(account=self.user.mail_account, role="inbox")

    @property
    def encryption_certificate(self) -> Path:
        """Her certificate in a file, for the openssl program."""
        path = self.folder / "alice.crt"
        own = OwnCertificate.objects.filter(user=self.user, purpose="encrypt").first()
        assert own is not None
        der = bytes(own.certificate.der)
        path.write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
        return path

    def lock(self) -> None:
        assert post(self.client, "/lock/", {}).status_code < 400

    def receive(self, mail: bytes) -> Message:
        """Deliver ``mail`` and give the row that it became."""
        self.server.deliver(self.address, mail)
        sync.sync_folder(self.inbox)
        row = Message.objects.filter(folder=self.inbox).order_by("-uid").first()
        assert row is not None
        return row


@pytest.fixture
def new_person(
    node: AgentNode, dovecot: Dovecot, boxes: Iterator[str], tmp_path: Path
) -> Iterator[Callable[[str], Person]]:
    def make(name: str) -> Person:
        address = next(boxes)
        user = add_person(address, name, dovecot)
        client = browser()
        accept(client, user, ALICES_PASSWORD)
        client = browser()
        answer = post(client, "/sign-in/", {"address": address, "password": ALICES_PASSWORD})
        assert answer.status_code == 303
        user.refresh_from_db()
        sync.sync_folders(user.mail_account)
        return Person(user, client, dovecot, tmp_path)

    material.forget()
    yield make
    material.forget()
    imap.close_all()


@pytest.fixture
def alice(new_person: Callable[[str], Person]) -> Person:
    return new_person("Alice Adams")


@pytest.fixture
def mallory(new_person: Callable[[str], Person]) -> Person:
    return new_person("Mallory")


@pytest.fixture
def trusted(outside: ForeignAuthority, db: None) -> ForeignAuthority:
    """The outside authority, trusted here, with fresh revocation lists at hand."""
    der = openssl("x509", "-in", outside.root_certificate, "-outform", "DER")
    root = x509.load_der_x509_certificate(der)
    TrustedRoot.objects.create(
        sha256=root.fingerprint(root.signature_hash_algorithm).hex(),  # type: ignore[arg-type]
        der=der,
        subject=root.subject.rfc4514_string(),
        not_before=root.not_valid_before_utc,
        not_after=root.not_valid_after_utc,
    )
    pem = openssl("ca", "-config", outside.folder / "root" / "ca.conf", "-gencrl")
    lists = {"root": openssl("crl", "-outform", "DER", data=pem), "issuing": outside.crl()}
    for name, crl in lists.items():
        RevocationList.objects.create(
            url=f"http://lists.example/{name}.crl", kind="crl", der=crl, asked_at=timezone.now()
        )
    material.forget()
    return outside


@pytest.fixture
def bob(trusted: ForeignAuthority) -> Correspondent:
    return trusted.issue(
        "bob@builders.example", "Bob Builder", level="V4", organisation="Builders plc"
    )


def letter(
    to: str,
    *,
    sender: str = "Bob Builder <bob@builders.example>",
    subject: str = "Plans",
    text: str = "The secret plans are attached.",
    html: str = "",
    number: int = 1,
) -> EmailMessage:
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = timezone.now()
    message["Message-ID"] = f"<letter-{number}-{abs(hash((to, subject, text)))}@builders.example>"
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    return message


def plain(message: EmailMessage) -> bytes:
    return smime(message)
