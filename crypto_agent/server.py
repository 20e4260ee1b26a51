"""The process that holds keys: its first steps after the fork, and its loop.

A process is one of three. An *opener* was forked for one sealed request to the node's key (create,
unlock, resume, rewrap); it becomes the user's *agent*, or hands its session to the agent that
is there already, or just ends. A *service* was forked at the node's start. Each speaks over two
kinds of sockets: the control socket to the supervisor, and the relay's connections passed through
it.

Nothing of a request's content leaves in an error: a code, or an error id.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import ctypes
import hmac
import logging
import os
import secrets
import select
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto_agent import frames, harden
from crypto_agent.errors import ErrorCode, ProtocolError, code_of
from crypto_agent.keyring.keyops import Keyring
from crypto_agent.keyring.postmaster import postmaster_keyring
from crypto_agent.keyring.sessions import Session, Sessions
from crypto_agent.keyring.vault import Vault
from crypto_agent.operations import registry
from crypto_agent.operations.create import create
from crypto_agent.operations.openers import Opened, Request
from crypto_agent.operations.resume import resume
from crypto_agent.operations.rewrap import rewrap
from crypto_agent.operations.unlock import unlock
from crypto_agent.protocol import (
    BODY_LIMIT,
    RELEASE_OPERATIONS,
    AgentDescriptor,
    Envelope,
    ReplyKey,
    SealingKey,
    derive,
    open_request,
    pack,
    seal_error,
    seal_result,
    unpack,
    wipe,
)

log = logging.getLogger("sealpost.agent")

OPENERS: Final = {"create": create, "unlock": unlock, "resume": resume, "rewrap": rewrap}

PEER_TIMEOUT_S: Final = 20.0
"""A relay that stalls in the middle of a body or reply is given up: others wait behind it."""
JOIN_TIMEOUT_S: Final = 5.0
CONTROL_LIMIT: Final = 128 * 1024
"""Octets of one message on a control socket; larger ones would not fit its buffer."""
TRIM_ABOVE: Final = 1024 * 1024
"""After a request with a body above this, freed memory goes back to the system."""
NONCE_BYTES: Final = 12
SERVICE_KEY_BYTES: Final = 32

_libc: Final = ctypes.CDLL(None)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


# --------------------------------------------------------------------------- control socket


class Control:
    """Messages between an agent and its supervisor: packed dicts, at times with one descriptor."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._waiting: deque[tuple[dict[str, Any], int | None]] = deque()

    def fileno(self) -> int:
        return self.connection.fileno()

    def send(self, message: dict[str, Any]) -> None:
        self.connection.send(pack(message))

    def _receive(self) -> tuple[dict[str, Any], int | None]:
        data, descriptors, _, _ = socket.recv_fds(self.connection, CONTROL_LIMIT, 1)
        if not data:
            raise EOFError
        return unpack(data), descriptors[0] if descriptors else None

    def receive(self) -> tuple[dict[str, Any], int | None]:
        """The next message. Raises EOFError when the supervisor is gone."""
        return self._waiting.popleft() if self._waiting else self._receive()

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting)

    def wait_for(self, kind: str) -> dict[str, Any]:
        """The next message of one kind; requests that arrive before it stay for later."""
        while True:
            message, descriptor = self._receive()
            if message.get("t") == kind:
                return message
            self._waiting.append((message, descriptor))


class ControlLog(logging.Handler):
    """Log lines of an agent go through the supervisor: the agent itself can write no file.

    Without a control socket, in the zygote, they go to the error output.
    """

    control: Control | None = None

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError, ValueError):
            line = record.getMessage()[:1000]
            if self.control is not None:
                self.control.send({"t": "log", "line": line})
            else:
                os.write(2, f"zygote: {line}\n".encode())


control_log: Final = ControlLog()
"""Set up once, before any fork, so that an agent writes to fewer of the pages it shares."""


# --------------------------------------------------------------------------- what a child is given


@dataclass(frozen=True)
class ChildSettings:
    """What the supervisor leaves to a forked process besides sockets."""

    node: str
    caller: Ed25519PublicKey
    seccomp: harden.SeccompFilter
    hardened: dict[str, str]
    """What the zygote gave up already; see :func:`harden.harden_parent`."""
    cpu_s: int
    idle_ms: int
    absolute_ms: int


class NodeKey:
    """The one place that refers to the node's private key, so that a child can drop it."""

    def __init__(self, key: SealingKey) -> None:
        self._key: SealingKey | None = key
        self.public = key.public

    def open(self, envelope: Envelope) -> tuple[dict[str, Any], ReplyKey]:
        """Open a request sealed to the node. Raises ProtocolError."""
        if self._key is None:
            raise ProtocolError(ErrorCode.FORGED, "no node key here")
        return open_request(envelope, self._key)

    def forget(self) -> None:
        """Drop the key; its destructor overwrites this process's copy."""
        self._key = None


class Nonces:
    """A replay window: every nonce once while its request could still be accepted."""

    def __init__(self) -> None:
        self._seen: dict[bytes, int] = {}

    def use(self, envelope: Envelope, *, now: int) -> None:
        """Raises ProtocolError (replayed). Call it only for envelopes whose signature holds."""
        if len(self._seen) > 1000:
            self._seen = {nonce: until for nonce, until in self._seen.items() if until >= now}
        if envelope.nonce in self._seen:
            raise ProtocolError(ErrorCode.REPLAYED)
        self._seen[envelope.nonce] = envelope.expires


# --------------------------------------------------------------------------- the loop


@dataclass
class Server:
    """What agents and services share: take a request, judge it, act, answer."""

    control: Control
    settings: ChildSettings
    user: str
    """User id, or ``service:<name>``."""
    id: str
    key: SealingKey = field(repr=False)
    operations: dict[str, registry.Operation]
    context: Any = field(repr=False)
    nonces: Nonces = field(default_factory=Nonces)

    def admit(self, envelope: Envelope, *, now: int) -> None:
        """Whatever else this kind of process asks of a request. Raises ProtocolError."""

    def take(self, connection: socket.socket, header: bytes) -> Envelope:
        """Read the body and check everything that is outside it. Raises ProtocolError."""
        untrusted = frames.receive_request(connection, header)
        now = now_ms()
        untrusted.check_body()
        untrusted.check_caller(self.settings.caller, now=now)
        envelope = untrusted
        if envelope.to != self.id or envelope.user != self.user:
            raise ProtocolError(ErrorCode.AGENT_GONE)
        if envelope.op not in self.operations:
            raise ProtocolError(ErrorCode.UNKNOWN_OPERATION)
        self.nonces.use(envelope, now=now)
        self.admit(envelope, now=now)
        return envelope

    def answer(self, envelope: Envelope) -> bytes:
        """The sealed reply to a request that was taken. ProtocolError if it will not open."""
        payload, reply_key = open_request(envelope, self.key)
        try:
            result = registry.dispatch(self.operations, envelope.op, self.context, payload)
            sealed = seal_result(envelope, reply_key, result)
            if len(sealed) > BODY_LIMIT:
                raise ProtocolError(ErrorCode.TOO_LARGE)
        except Exception as error:
            code, detail = code_of(error)
            sealed = seal_error(envelope, reply_key, code, detail)
        return sealed

    def serve(self, descriptor: int, header: bytes) -> None:
        """One request from its header to its reply; never raises."""
        with socket.socket(fileno=descriptor) as connection:
            connection.settimeout(PEER_TIMEOUT_S)
            if self.settings.cpu_s:
                harden.limit_cpu(self.settings.cpu_s)
            try:
                try:
                    envelope = self.take(connection, header)
                    sealed = self.answer(envelope)
                except Exception as error:
                    code, _ = code_of(error)
                    frames.send_error(connection, code)
                    return
                frames.send_reply(connection, frames.SEALED, sealed)
                if len(sealed) + len(envelope.body) > TRIM_ABOVE:
                    del sealed, envelope
                    _libc.malloc_trim(0)
            except OSError:  # the relay went away
                return

    def handle(self, message: dict[str, Any], descriptor: int | None) -> None:
        if message.get("t") == "request" and descriptor is not None:
            self.serve(descriptor, message["header"])
        elif descriptor is not None:
            os.close(descriptor)

    def loop(self) -> NoReturn:
        while True:
            try:
                message, descriptor = self.control.receive()
            except (EOFError, OSError):
                os._exit(0)  # the supervisor is gone, and keys must not outlive it
            self.handle(message, descriptor)


class Agent(Server):
    """The process of one unlocked user."""

    sessions: Sessions
    joining: list[socket.socket]

    @classmethod
    def of(cls, control: Control, settings: ChildSettings, vault: Vault, session: Session) -> Agent:
        agent = cls(
            control=control,
            settings=settings,
            user=vault.user,
            id=secrets.token_hex(16),
            key=SealingKey.generate(),
            operations=registry.allowed(registry.USER),
            context=Keyring(vault),
        )
        agent.sessions = Sessions(idle_ms=settings.idle_ms)
        agent.sessions.add(session)
        agent.joining = []
        return agent

    def descriptor(self, session: str) -> AgentDescriptor:
        return AgentDescriptor(
            node=self.settings.node,
            agent=self.id,
            public=self.key.public,
            user=self.user,
            session=session,
        )

    def admit(self, envelope: Envelope, *, now: int) -> None:
        # release_* come from the worker, which has no session; they act only on blobs that this
        # vault sealed for exactly that purpose.
        if envelope.op not in RELEASE_OPERATIONS:
            self.sessions.check(envelope, now=now)

    def handle(self, message: dict[str, Any], descriptor: int | None) -> None:
        if message.get("t") == "join" and descriptor is not None:
            self.joining.append(socket.socket(fileno=descriptor))
            return
        super().handle(message, descriptor)

    def welcome(self, joining: socket.socket) -> None:
        """Take over the session of a process that opened the same vault; see :func:`join`."""
        self.joining.remove(joining)
        with joining:
            joining.settimeout(JOIN_TIMEOUT_S)
            try:
                message = unpack(joining.recv(CONTROL_LIMIT))
                session, request_key, expires, revision, proof = message
                vault: Vault = self.context.vault
                if not hmac.compare_digest(proof, vault.prove(_join_text(message))):
                    log.warning("a process with another vault wanted to join")
                    return
                if revision > vault.record.revision:
                    joining.send(pack(["record"]))
                    if vault.adopt(joining.recv(CONTROL_LIMIT)):
                        self.context.reload()
                self.sessions.add(
                    Session(id=session, request_key=request_key, expires=expires, used=now_ms())
                )
                joining.send(pack(["joined", self.id, self.key.public]))
            except (OSError, ProtocolError, ValueError, TypeError):
                return  # the other side sees the end of file and becomes the agent itself

    def loop(self) -> NoReturn:
        while True:
            self.sessions.expire(now=now_ms())
            end = self.sessions.next_end()
            if end is None and not self.joining:
                log.info("the last session ended")
                os._exit(0)
            if not self.control.has_waiting:
                poll = select.poll()
                for waiting in (self.control.connection, *self.joining):
                    poll.register(waiting, select.POLLIN)
                timeout = max(0, end - now_ms()) + 1 if end is not None else JOIN_TIMEOUT_S * 1000
                ready = {number for number, _ in poll.poll(timeout)}
                for joining in [one for one in self.joining if one.fileno() in ready]:
                    self.welcome(joining)
                if self.control.fileno() not in ready:
                    continue
            try:
                message, descriptor = self.control.receive()
            except (EOFError, OSError):
                os._exit(0)
            self.handle(message, descriptor)


# --------------------------------------------------------------------------- joining


def _join_text(message: list[Any]) -> bytes:
    return b"sealpost/1 join\0" + pack(message[:4])


def join(existing: socket.socket, vault: Vault, session: Session) -> tuple[str, bytes] | None:
    """Hand ``session`` to the user's agent; its id and sealing key, or None when it is gone.

    The MAC under the vault key shows that we opened the very vault which the agent holds.
    """
    existing.settimeout(JOIN_TIMEOUT_S)
    message: list[Any] = [session.id, session.request_key, session.expires, vault.record.revision]
    try:
        existing.send(pack([*message, vault.prove(_join_text(message))]))
        answer = unpack(existing.recv(CONTROL_LIMIT))
        if answer == ["record"]:
            existing.send(vault.record.to_bytes())
            answer = unpack(existing.recv(CONTROL_LIMIT))
        _, agent_id, public = answer
    except (OSError, ProtocolError, ValueError, TypeError):
        return None
    return agent_id, public


# --------------------------------------------------------------------------- first steps


def _first_steps(
    control: Control, settings: ChildSettings, uid: int | None, keep: list[int]
) -> dict[str, str]:
    """Harden; what came of it, by measure."""
    control_log.control = control
    own = harden.harden_child(keep=[control.fileno(), *keep], seccomp=settings.seccomp, uid=uid)
    sys.stdin = sys.stdout = sys.stderr = None
    return {**settings.hardened, **own}


def run_opener(
    *,
    control: Control,
    settings: ChildSettings,
    uid: int | None,
    node_key: NodeKey,
    connection: socket.socket,
    header: bytes,
    existing: socket.socket | None,
) -> NoReturn:
    """The life of a process forked for one opener request."""
    keep = [connection.fileno()] + ([existing.fileno()] if existing else [])
    report = _first_steps(control, settings, uid, keep)
    agent: Agent | None = None
    with connection:
        connection.settimeout(PEER_TIMEOUT_S)
        harden.limit_cpu(settings.cpu_s)
        try:
            untrusted = frames.receive_request(connection, header)
            untrusted.check_body()
            untrusted.check_caller(settings.caller, now=now_ms())
            envelope = untrusted
            payload, reply_key = node_key.open(envelope)
        except Exception as error:
            code, _ = code_of(error)
            with contextlib.suppress(OSError):
                frames.send_error(connection, code)
            os._exit(0)
        finally:
            node_key.forget()
        try:
            opened = OPENERS[envelope.op](
                Request(
                    user=envelope.user,
                    session=envelope.session,
                    now=now_ms(),
                    absolute_ms=settings.absolute_ms,
                    payload=payload,
                )
            )
            del payload
            agent, result = _settle(control, settings, opened, existing, report)
            sealed = seal_result(envelope, reply_key, result)
            wipe(*(value for value in result.values() if isinstance(value, bytearray)))
        except Exception as error:
            code, detail = code_of(error)
            control.send({"t": "outcome", "code": code.value})
            sealed = seal_error(envelope, reply_key, code, detail)
        with contextlib.suppress(OSError):
            frames.send_reply(connection, frames.SEALED, sealed)
        del sealed, envelope, untrusted
    if existing is not None:
        existing.close()
    if agent is None:
        os._exit(0)
    _libc.malloc_trim(0)  # what stretching the password left free goes back
    agent.loop()


def _settle(
    control: Control,
    settings: ChildSettings,
    opened: Opened,
    existing: socket.socket | None,
    report: dict[str, str],
) -> tuple[Agent | None, dict[str, Any]]:
    """Join the user's agent or become it; the result with the agent's descriptor."""
    if opened.session is None or opened.session_secret is None:
        return None, opened.result
    joined = join(existing, opened.vault, opened.session) if existing is not None else None
    if joined is not None:
        agent_id, public = joined
        agent = None
        descriptor = AgentDescriptor(
            node=settings.node,
            agent=agent_id,
            public=public,
            user=opened.vault.user,
            session=opened.session.id,
        )
        opened.vault.close()
    else:
        agent = Agent.of(control, settings, opened.vault, opened.session)
        descriptor = agent.descriptor(opened.session.id)
        control.send({"t": "ready", "agent": agent.id, "report": report})
        control.wait_for("go")
    authenticated = descriptor.authenticate(opened.session_secret)
    return agent, {**opened.result, "descriptor": authenticated.to_bytes()}


# --------------------------------------------------------------------------- services


class ServiceStore:
    """Sealed state of the service agents. The file is written by the supervisor, which cannot
    read it; the key is derived from the service key, which only service agents read."""

    def __init__(self, control: Control, service_key: bytes) -> None:
        self._control = control
        self._key = service_key

    def open(self, name: str, sealed: bytes) -> dict[str, Any]:
        """Raises ProtocolError (vault_damaged)."""
        try:
            opened = AESGCM(derive(self._key, f"service {name}")).decrypt(
                sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], name.encode()
            )
        except (InvalidTag, ValueError) as error:
            raise ProtocolError(ErrorCode.VAULT_DAMAGED, "service state") from error
        state: dict[str, Any] = unpack(opened)
        return state

    def put(self, name: str, state: dict[str, Any]) -> None:
        """Seal and store; returns when it is on disk. Raises ProtocolError (internal)."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + AESGCM(derive(self._key, f"service {name}")).encrypt(
            nonce, pack(state), name.encode()
        )
        if len(sealed) > CONTROL_LIMIT - 1024:
            raise ProtocolError(ErrorCode.TOO_LARGE, "service state")
        self._control.send({"t": "store", "name": name, "sealed": sealed})
        if self._control.wait_for("stored").get("ok") is not True:
            raise ProtocolError(ErrorCode.INTERNAL, "service state was not stored")


def _read_all(descriptor: int, limit: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.read(limit)


def _read_service_key(descriptor: int) -> bytes:
    """Raises ProtocolError (vault_damaged) when the file does not hold 32 octets in base64."""
    try:
        key = base64.b64decode(_read_all(descriptor, 1024).strip(), validate=True)
    except binascii.Error as error:
        raise ProtocolError(ErrorCode.VAULT_DAMAGED, "service key") from error
    if len(key) != SERVICE_KEY_BYTES:
        raise ProtocolError(ErrorCode.VAULT_DAMAGED, "service key")
    return key


def run_service(
    *,
    control: Control,
    settings: ChildSettings,
    uid: int | None,
    name: str,
    start: str,
    key: SealingKey,
    files: list[int],
) -> NoReturn:
    """The life of a service agent. ``files`` are descriptors of the service key and, once there is
    one, of its state: it cannot open any file itself."""
    report = _first_steps(control, settings, uid, files)
    context: Any = None
    if files:
        service_key = _read_service_key(files[0])
        sealed = _read_all(files[1], CONTROL_LIMIT) if len(files) > 1 else None
        store = ServiceStore(control, service_key)
        state = store.open(name, sealed) if sealed is not None else {}
        if name == "postmaster":
            context = postmaster_keyring(state, derive(service_key, "postmaster vault"))
        else:

            def keep(target: str, changed: dict[str, Any]) -> None:
                store.put(target, changed)
                if target == name:
                    state.clear()
                    state.update(changed)

            context = registry.ServiceContext(name=name, state=state, store=keep)
    server = Server(
        control=control,
        settings=settings,
        user=f"service:{name}",
        id=start,
        key=key,
        operations=registry.allowed(name),
        context=context,
    )
    control.send({"t": "ready", "agent": start, "report": report})
    control.wait_for("go")
    server.loop()
