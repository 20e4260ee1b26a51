"""``make demo``: the whole of Sealpost with two employees, one outsider and mail to read."""

from __future__ import annotations

import http.server
import imaplib
import os
import re
import signal
import sys
import urllib.request
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from launcher import demo_mail
from launcher.browserless import Visitor
from launcher.dovecot import add_user, mail_folder
from launcher.embedded import Sealpost
from launcher.foreign import openssl
from launcher.packages import PACKAGES_OF_DEMO, install
from launcher.processes import python

ORGANISATION_DOMAIN = "acme.example"
# Published on purpose: the demo listens on the loopback interface only.
PASSWORD = "seal every post 2026"  # noqa: S105
MAIL_SERVER_PASSWORD = "mail server of the demo"  # noqa: S105
PEOPLE = {
    f"alice@{ORGANISATION_DOMAIN}": "Alice Adams",
    f"bob@{ORGANISATION_DOMAIN}": "Bob Brown",
    f"dana@{ORGANISATION_DOMAIN}": "Dana Diaz",
}
ALICE, BOB, DANA = PEOPLE
ADMIN = "admin"

INVITATION_PATH = re.compile(r"/welcome/[^/\s]+/")


def say(sentence: str) -> None:
    print(sentence, flush=True)


class Demo:
    """The embedded system plus the people, the outside world and the mail of the demo."""

    def __init__(
        self,
        state: Path,
        *,
        port: int,
        settings: Mapping[str, str] | None = None,
        caller: Mapping[str, str] = os.environ,
    ) -> None:
        self.sealpost = Sealpost(
            state,
            port=port,
            settings={"SEALPOST_ORGANISATION": "Acme"} | dict(settings or {}),
            caller=caller,
        )
        self.state = self.sealpost.state
        self.outside = self.state / "outside"

    @property
    def outside_url(self) -> str:
        return f"http://127.0.0.1:{self.sealpost.ports['outside']}"

    def start(self) -> None:
        self.cast = demo_mail.make_cast(self.outside, self.outside / "public", self.outside_url)
        self.sealpost.launcher.add(
            "outside",
            python(
                "-m",
                "launcher.demo",
                "serve",
                str(self.sealpost.ports["outside"]),
                str(self.outside / "public"),
            ),
        )
        self._add_mailboxes()
        self.sealpost.start(say)
        self._publish_root()
        self._admit_people()

    def _publish_root(self) -> None:
        """Carol's openssl trusts the root that Sealpost publishes."""
        address = f"{self.sealpost.origin}/pki/root.crt"
        with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - our own
            der = answer.read()
        pem = openssl("x509", "-inform", "DER", data=der)
        (self.outside / "sealpost-root.crt").write_bytes(pem)

    def _add_mailboxes(self) -> None:
        folder = mail_folder(self.state / "mail")
        folder.mkdir(parents=True, exist_ok=True)
        for address in [*PEOPLE, self.cast.carol.address, f"postmaster@{ORGANISATION_DOMAIN}"]:
            add_user(folder, address, MAIL_SERVER_PASSWORD)

    def _admit_people(self) -> None:
        """Invite, accept the invitations of Alice and Bob, deliver the mail; once."""
        done = self.state / "demo-is-ready"
        if done.exists():
            return
        say("Admitting Alice and Bob (their keys are being made) …")
        manage = self.sealpost.manage
        self._create_admin()
        manage(
            "trust_root",
            str(self.cast.trusted.root_certificate),
            "--note",
            "Lighthouse Trust Services",
        )
        for address, name in PEOPLE.items():
            link = self.invite(address, name)
            if address == DANA:
                (self.state / "invitation").touch(mode=0o600)
                (self.state / "invitation").write_text(link)
            else:
                self.accept(link)
        say("Delivering mail …")
        now = datetime.now(UTC)
        certificate = self.certificate_of(ALICE)
        self.append(
            ALICE, demo_mail.alice_mail(self.cast, f"Alice Adams <{ALICE}>", certificate, now)
        )
        done.touch()

    def _create_admin(self) -> None:
        self.sealpost.launcher.environment["DJANGO_SUPERUSER_PASSWORD"] = PASSWORD
        self.sealpost.manage("create_admin", ADMIN)
        del self.sealpost.launcher.environment["DJANGO_SUPERUSER_PASSWORD"]

    def invite(self, address: str, name: str) -> str:
        """Provision a person and return the path of the invitation."""
        self.sealpost.launcher.environment["SEALPOST_IMAP_PASSWORD"] = MAIL_SERVER_PASSWORD
        printed = self.sealpost.manage("create_person", address, "--name", name, capture=True)
        del self.sealpost.launcher.environment["SEALPOST_IMAP_PASSWORD"]
        found = INVITATION_PATH.search(printed)
        if found is None:
            raise RuntimeError("create_person printed no invitation")
        return found[0]

    def accept(self, link: str) -> None:
        """What the invited person does: choose a password, keep the recovery code."""
        visitor = Visitor(self.sealpost.origin)
        page = visitor.get(link)
        answer = visitor.submit(page, {"password": PASSWORD, "password_again": PASSWORD})
        if answer.status != 200 or "recovery" not in answer.text.lower():
            raise RuntimeError(f"The invitation was not accepted: {answer.status} {answer.url}")

    def certificate_of(self, address: str) -> Path:
        """The encryption certificate of a colleague, as a PEM file for the openssl program."""
        pem = self.sealpost.manage("export_certificate", address, capture=True)
        path = self.outside / f"{address}.crt"
        path.write_text(pem)
        return path

    def append(self, address: str, mails: Iterable[demo_mail.DemoMail]) -> None:
        """Store mails as if they had arrived at their own times."""
        imap = imaplib.IMAP4("127.0.0.1", self.sealpost.ports["imap"])
        imap.login(address, MAIL_SERVER_PASSWORD)
        for mail in mails:
            flags = " ".join(["\\Seen"] * mail.seen + ["\\Flagged"] * mail.flagged)
            status, _ = imap.append(mail.folder, f"({flags})", mail.received, mail.raw)
            if status != "OK":
                raise RuntimeError(f"The demo's mail server refused a mail for {address}")
        imap.logout()

    def welcome(self) -> str:
        invitation = self.state / "invitation"
        return f"""
Sealpost runs at  {self.sealpost.origin}
  Alice           {ALICE}   password: {PASSWORD}
  Bob             {BOB}     password: {PASSWORD}
  Dana is invited: {self.sealpost.origin}{invitation.read_text() if invitation.exists() else ""}
  Django admin    {self.sealpost.origin}/admin/   {ADMIN}   password: {PASSWORD}

Carol ({self.cast.carol.address}) is outside and uses the openssl program.
  Write to her, then read her newest mail with:   make carol

Logs: {self.state / "log"}/   Data: {self.state}/   Stop with Ctrl-C, remove all with: make clean
"""


def serve(port: int, folder: Path) -> None:
    """What the outside authority publishes: its certificate revocation list."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = partial(Quiet, directory=str(folder))
    http.server.ThreadingHTTPServer(("127.0.0.1", port), handler).serve_forever()


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]), Path(sys.argv[3]))
        return
    install(PACKAGES_OF_DEMO)
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    demo = Demo(
        Path(os.environ.get("SEALPOST_STATE", "var")),
        port=int(os.environ.get("SEALPOST_PORT", "8000")),
    )
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        demo.start()
        say(demo.welcome())
        demo.sealpost.launcher.watch(say=say, until=lambda: stopping)
    except RuntimeError as error:
        sys.exit(f"Sealpost could not start: {error}\nLogs: {demo.state / 'log'}")
    finally:
        demo.sealpost.stop()


if __name__ == "__main__":
    main()
