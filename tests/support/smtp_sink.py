"""A submission server that keeps every mail it accepted, and misbehaves when a test asks it to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from launcher.ports import free_ports


@dataclass(frozen=True)
class Accepted:
    """One mail the server took responsibility for."""

    sender: str
    recipients: tuple[str, ...]
    mail: bytes
    options: tuple[str, ...]


@dataclass
class Sink:
    """What the server is told to do, and what it did."""

    port: int = 0
    accepted: list[Accepted] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    """Recipient → reply to RCPT."""
    data_reply: str = ""
    """Said after the dot instead of taking the mail."""
    after_dot: str = ""
    """"drop": take the mail and cut the line; "lose": cut the line without taking it."""
    delay: float = 0.0
    """Seconds between the dot and the reply."""
    seen_dot: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def clear(self) -> None:
        self.accepted.clear()
        self.refuse.clear()
        self.data_reply, self.after_dot, self.delay = "", "", 0.0
        self.seen_dot.clear()

    def recipients(self) -> list[str]:
        """Every address of every accepted mail, sorted: a double shows."""
        return sorted(address for each in self.accepted for address in each.recipients)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.seen_dot.set()
        if self.data_reply:
            return self.data_reply
        if self.after_dot != "lose":
            taken = Accepted(
                envelope.mail_from or "",
                tuple(envelope.rcpt_tos),
                bytes(envelope.original_content or b""),
                tuple(envelope.mail_options),
            )
            with self.lock:
                self.accepted.append(taken)
        if self.after_dot:
            transport = server.transport
            assert transport is not None
            transport.abort()
            await asyncio.sleep(0.05)
        if self.delay:
            await asyncio.sleep(self.delay)
        return f"250 2.0.0 Ok: queued as {len(self.accepted)}"


@contextmanager
def running_sink(*, size_limit: int = 64 * 1024 * 1024, smtputf8: bool = True) -> Iterator[Sink]:
    """A sink on a port of its own."""
    sink = Sink(port=free_ports(1)[0])
    controller = Controller(
        sink,
        hostname="127.0.0.1",
        port=sink.port,
        data_size_limit=size_limit,
        decode_data=False,
        enable_SMTPUTF8=smtputf8,
        ready_timeout=10,
    )
    controller.start()
    try:
        yield sink
    finally:
        controller.stop()
