"""Speak to a node over its own unix socket, without broker and database."""

from __future__ import annotations

import json
import secrets
import socket
import time
import uuid
from dataclasses import dataclass, field, replace
from typing import Any

from crypto_agent import frames
from crypto_agent.keyring import ways
from crypto_agent.keyring.generate import generate
from crypto_agent.keyring.vault import PURPOSES, found_vault
from crypto_agent.protocol import (
    AgentDescriptor,
    Envelope,
    ErrorCode,
    NodeDescriptor,
    ProtocolError,
    ReplyKey,
    caller_key,
    control_key,
    make_control,
    make_request,
    node_identity,
    open_reply,
    read_control,
)
from tests.support.agent_node import SECRET, AgentNode

PASSWORD = b"four calm words of alice"
CALLER = caller_key(SECRET)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def new_user() -> str:
    return uuid.uuid4().hex


def small_record(user: str, password: bytes = PASSWORD) -> bytes:
    """A vault with two keys, wrapped at the lowest cost that is accepted: tests need no stretch."""
    vault = found_vault(user)
    for purpose in PURPOSES:
        vault.add_key(generate("p-256"), purpose=purpose, algorithm="p-256", now=0)
    vault.wrap_for(ways.PASSWORD, password, cost=ways.FLOOR)
    return vault.record.to_bytes()


def exchange(node: AgentNode, frame: bytes) -> tuple[bytes, bytes]:
    """Kind and content of the reply to whatever octets."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(node.socket_path))
        connection.sendall(frame)
        return frames.receive_reply(connection)


def deliver(node: AgentNode, envelope: Envelope) -> bytes:
    """The sealed reply, or the JSON of a control answer. Raises ProtocolError with a bare code."""
    frame = frames.header_frame(envelope, len(envelope.body)) + envelope.body
    kind, content = exchange(node, frame)
    if kind == frames.ERROR:
        raise ProtocolError(ErrorCode(content.decode()))
    return content


@dataclass(frozen=True)
class Unlocked:
    """A session that a node opened."""

    node: AgentNode
    user: str
    record: bytes = field(repr=False)
    session: str
    secret: bytes = field(repr=False)
    resume_blob: bytes = field(repr=False)
    agent: AgentDescriptor

    def request(self, op: str = "ping", **changes: Any) -> tuple[Envelope, ReplyKey]:
        arguments: dict[str, Any] = {
            "op": op,
            "user": self.user,
            "session": self.session,
            "task": str(uuid.uuid4()),
            "to": self.agent.agent,
            "recipient": self.agent.public,
            "payload": {"echo": "hello"},
            "caller": CALLER,
            "now": now_ms(),
            "session_secret": self.secret,
        }
        return make_request(**(arguments | changes))

    def ask(self, op: str = "ping", **changes: Any) -> dict[str, Any]:
        envelope, reply_key = self.request(op, **changes)
        return open_reply(envelope, reply_key, deliver(self.node, envelope))

    def resumed(self) -> Unlocked:
        """The same session in a process made anew."""
        result = open_with(
            self.node, "resume", self.user, session=self.session,
            record=self.record, resume=self.resume_blob, session_secret=self.secret,
        )  # fmt: skip
        descriptor = AgentDescriptor.from_bytes(result["descriptor"])
        descriptor.check(self.secret)
        return replace(self, agent=descriptor)


def proven(node: AgentNode) -> NodeDescriptor:
    identity = node_identity(SECRET).public_key()
    return NodeDescriptor.from_wire(node.descriptor(), identity, now=now_ms())


def opener(
    node: AgentNode, op: str, user: str, *, session: str, **payload: Any
) -> tuple[Envelope, ReplyKey]:
    """A request to the node's own key."""
    descriptor = proven(node)
    return make_request(
        op=op, user=user, session=session, task=str(uuid.uuid4()), to=descriptor.start,
        recipient=descriptor.public, payload=payload, caller=CALLER, now=now_ms(),
    )  # fmt: skip


def open_with(node: AgentNode, op: str, user: str, *, session: str, **payload: Any) -> Any:
    envelope, reply_key = opener(node, op, user, session=session, **payload)
    return open_reply(envelope, reply_key, deliver(node, envelope))


def unlock(
    node: AgentNode,
    user: str | None = None,
    *,
    record: bytes | None = None,
    password: bytes = PASSWORD,
) -> Unlocked:
    """Raises ProtocolError (wrong_password, ...)."""
    user = user or new_user()
    record = record or small_record(user)
    session, secret = uuid.uuid4().hex, secrets.token_bytes(32)
    result = open_with(
        node, "unlock", user, session=session,
        record=record, way="password", secret=bytes(bytearray(password)), session_secret=secret,
    )  # fmt: skip
    descriptor = AgentDescriptor.from_bytes(result["descriptor"])
    descriptor.check(secret)
    return Unlocked(node, user, record, session, secret, result["resume"], descriptor)


def ask_service(
    node: AgentNode, name: str, op: str, payload: dict[str, Any], **changes: Any
) -> dict[str, Any]:
    descriptor = proven(node)
    arguments: dict[str, Any] = {
        "op": op, "user": f"service:{name}", "session": "", "task": str(uuid.uuid4()),
        "to": descriptor.start, "recipient": descriptor.service(name), "payload": payload,
        "caller": CALLER, "now": now_ms(),
    }  # fmt: skip
    envelope, reply_key = make_request(**(arguments | changes))
    return open_reply(envelope, reply_key, deliver(node, envelope))


def control(
    node: AgentNode, op: str, user: str, *, session: str = "", caller: Any = CALLER
) -> dict[str, Any]:
    """``lock`` or ``status``, answered by the supervisor."""
    envelope = make_control(
        op=op, user=user, session=session, task=str(uuid.uuid4()), to=proven(node).start,
        caller=caller, now=now_ms(),
    )  # fmt: skip
    return read_control(envelope, control_key(SECRET), json.loads(deliver(node, envelope)))


def status(node: AgentNode, user: str = "") -> dict[str, Any]:
    return control(node, "status", user)
