"""The supervisor's rehearsal before it forks anything: unlock and answer, with throw-away keys.

It proves at the start that every part works on this machine. And it keeps agents small: whatever
Python and OpenSSL set up at a first use (specialised bytecode, caches, fetched algorithms) is then
in pages that all agents share, instead of being written anew in each of them, 2 MB apiece.
"""

from __future__ import annotations

import secrets
import socket
import uuid
from dataclasses import replace
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crypto_agent import frames
from crypto_agent.keyring import ways
from crypto_agent.keyring.generate import PrivateKey, generate, request
from crypto_agent.keyring.resume import seal_resume
from crypto_agent.keyring.vault import PURPOSES, found_vault
from crypto_agent.operations.openers import Opened, Request
from crypto_agent.protocol import (
    SESSION_SECRET_BYTES,
    AgentDescriptor,
    SealingKey,
    make_request,
    open_reply,
    open_request,
    seal_result,
)
from crypto_agent.server import OPENERS, Agent, ChildSettings, Control, now_ms

ROUNDS: Final = 12
"""CPython 3.11 specialises a function's bytecode at its eighth call."""
DEAR_ROUNDS: Final = 2
"""Of what costs milliseconds."""

_USER: Final = "0" * 32
_SESSION: Final = "1" * 32


def _opened(way: str, payload: dict[str, Any], caller: Ed25519PrivateKey) -> Opened:
    """What an opener does between reading a request and answering it."""
    node_key = SealingKey.generate()
    envelope, reply_key = make_request(
        op=way,
        user=_USER,
        session=_SESSION,
        task=str(uuid.uuid4()),
        to="rehearsal",
        recipient=node_key.public,
        payload=payload,
        caller=caller,
        now=now_ms(),
    )
    envelope.check_body()
    envelope.check_caller(caller.public_key(), now=now_ms())
    opened_payload, agents_reply_key = open_request(envelope, node_key)
    opened = OPENERS[way](
        Request(
            user=_USER,
            session=_SESSION,
            now=now_ms(),
            absolute_ms=60_000,
            payload=opened_payload,
        )
    )
    open_reply(envelope, reply_key, seal_result(envelope, agents_reply_key, opened.result))
    return opened


def _ask(agent: Agent, session_secret: bytes, caller: Ed25519PrivateKey, op: str) -> None:
    """One request over a real socket, as the relay makes it."""
    envelope, reply_key = make_request(
        op=op,
        user=_USER,
        session=_SESSION,
        task=str(uuid.uuid4()),
        to=agent.id,
        recipient=agent.key.public,
        payload={"items": [b"rehearsal"]},
        caller=caller,
        now=now_ms(),
        session_secret=session_secret,
    )
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(envelope.body)
        header = frames.header_frame(envelope, len(envelope.body))
        agent.serve(theirs.detach(), header[frames.LENGTH_BYTES :])
        _, sealed = frames.receive_reply(ours)
        open_reply(envelope, reply_key, sealed)


def _record(private: PrivateKey, password: bytes) -> tuple[bytes, bytes]:
    vault = found_vault(_USER)
    for purpose in PURPOSES:
        vault.add_key(private, purpose=purpose, algorithm="rehearsal", now=0)
    vault.wrap_for(ways.PASSWORD, password, cost=ways.FLOOR)
    return vault.record.to_bytes(), bytes(vault.copy_key())


def rehearse(settings: ChildSettings) -> None:
    """Raises whatever does not work here: better now than at somebody's first unlock."""
    caller = Ed25519PrivateKey.generate()
    settings = replace(settings, caller=caller.public_key(), cpu_s=0)
    private = generate("rsa-3072")
    password = secrets.token_bytes(16)
    record, vault_key = _record(private, password)
    session_secret = secrets.token_bytes(SESSION_SECRET_BYTES)
    supervisor_end, agent_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with supervisor_end, agent_end:
        opened: Opened | None = None
        for _ in range(DEAR_ROUNDS):
            request(private, ["rehearsal@localhost"])
            opened = _opened(
                "unlock",
                {
                    "record": record,
                    "way": ways.PASSWORD,
                    "secret": bytes(bytearray(password)),
                    "session_secret": session_secret,
                },
                caller,
            )
        blob = seal_resume(
            bytearray(vault_key),
            user=_USER,
            session=_SESSION,
            session_secret=session_secret,
            expires=now_ms() + 60_000,
        )
        for _ in range(ROUNDS):
            _opened(
                "resume",
                {"record": record, "resume": blob, "session_secret": session_secret},
                caller,
            )
        assert opened is not None
        assert opened.session is not None
        agent = Agent.of(Control(agent_end), settings, opened.vault, opened.session)
        for _ in range(ROUNDS):
            descriptor: AgentDescriptor = agent.descriptor(_SESSION).authenticate(session_secret)
            AgentDescriptor.from_bytes(descriptor.to_bytes()).check(session_secret)
            _ask(agent, session_secret, caller, "ping")
