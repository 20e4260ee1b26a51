"""The submission server of the demo and the tests: SMTP AUTH in, LMTP to the private Dovecot out.

It hands on the raw bytes it was given, adds nothing and knows no other route: a recipient without
a mailbox here is refused at RCPT, as a real server refuses an unknown user.

Run as a process: ``python -m launcher.submission PORT LMTP_PORT USERS_FILE``.
"""

from __future__ import annotations

import asyncio
import hmac
import signal
import sys
from pathlib import Path
from typing import cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from launcher.dovecot import deliver

SIZE_LIMIT = 64 * 1024 * 1024
"""Bytes; generous, since what is refused here should be refused for a reason worth showing."""


def read_users(path: Path) -> dict[str, str]:
    """Address → password from Dovecot's passwd-file."""
    users = {}
    for line in path.read_text().splitlines():
        address, _, rest = line.partition(":{PLAIN}")
        users[address] = rest.partition(":")[0]
    return users


class Relay:
    """aiosmtpd's handler: every hook answers with an SMTP reply line."""

    def __init__(self, lmtp_port: int, users_file: Path) -> None:
        self.lmtp_port = lmtp_port
        self.users_file = users_file

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        if not isinstance(data, LoginPassword):
            return AuthResult(success=False, handled=False)
        address = data.login.decode("utf-8", "replace").lower()
        expected = read_users(self.users_file).get(address)
        good = expected is not None and hmac.compare_digest(expected.encode(), data.password)
        return AuthResult(success=good, auth_data=address)

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        signed_in = cast("str | None", session.auth_data)  # what authenticate() gave
        if address.lower() != signed_in:
            return "553 5.7.1 Sender address is not yours"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.lower() not in read_users(self.users_file):
            return "550 5.1.1 No such mailbox here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        mail = envelope.original_content or b""
        recipients = [address.lower() for address in envelope.rcpt_tos]
        sender = envelope.mail_from or ""
        try:
            await asyncio.to_thread(deliver, self.lmtp_port, sender, recipients, mail)
        except OSError:
            return "451 4.3.0 The mailbox store did not take the message; try again later"
        return "250 2.0.0 Delivered"


def make_controller(port: int, lmtp_port: int, users_file: Path) -> Controller:
    relay = Relay(lmtp_port, users_file)
    return Controller(
        relay,
        hostname="127.0.0.1",
        port=port,
        ready_timeout=10,
        authenticator=relay.authenticate,
        auth_required=True,
        auth_require_tls=False,  # loopback only
        data_size_limit=SIZE_LIMIT,
        decode_data=False,
        enable_SMTPUTF8=True,
        ident="Sealpost submission",
    )


def main() -> None:
    port, lmtp_port, users_file = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    controller = make_controller(port, lmtp_port, users_file)
    controller.start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    controller.stop()


if __name__ == "__main__":
    main()
