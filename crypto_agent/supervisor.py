"""The supervisor of an agent node: ``python -m crypto_agent.supervisor``.

It listens on one unix socket, reads the header of each request and nothing of its body, and passes
the connection on to the process that may open it. It holds no private key at all: no user's, and
not the node's, which lives in the zygote that it lets fork (:mod:`crypto_agent.zygote`).

All state is here, in one thread and one loop; nothing waits for anybody.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import secrets
import select
import selectors
import signal
import socket
import stat
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from crypto_agent import frames, harden
from crypto_agent.config import ConfigError, SupervisorConfig
from crypto_agent.errors import ErrorCode, ProtocolError
from crypto_agent.protocol import (
    CONTROL_OPERATIONS,
    OPENER_OPERATIONS,
    REQUEST_LIFETIME_MS,
    SERVICE_OPERATIONS,
    Envelope,
    caller_key,
    confirm_control,
    control_key,
    pack,
    unpack,
    wipe,
)
from crypto_agent.server import CONTROL_LIMIT, SERVICE_KEY_BYTES, Control, Nonces, now_ms
from crypto_agent.zygote import Forked, Zygote, ZygoteGone

log = logging.getLogger("sealpost.supervisor")

RETIRE_BEFORE_MS: Final = 3600 * 1000
"""The process ends this long before its descriptor does, and is started anew with a new key."""
HEADER_TIMEOUT_S: Final = 5.0
HANDSHAKING_LIMIT: Final = 256
"""Connections whose header has not arrived yet; more are refused at once."""
OPENING_LIMIT: Final = 4
"""Processes that stretch a password at the same time, 64 MiB each."""
WAITING_LIMIT: Final = 200
"""Opener requests that wait for their turn."""
EVICT_IDLE_S: Final = 60.0
"""With all places taken, an agent idle for this long makes room; its sessions resume by itself."""
SPARE_IDLE_S: Final = 5.0
"""An agent ends by its own clock; this much later the supervisor ends it."""
RESTART_FIRST_S: Final = 0.2
RESTART_MOST_S: Final = 30.0
"""Back-off of a service agent that keeps dying."""
TICK_S: Final = 1.0
KILL_TIMEOUT_MS: Final = 5000

_CREDENTIALS: Final = struct.Struct("3i")
DESCRIBE: Final = "describe"
"""Asked by the relay on its own: the node's descriptor, which is public."""

MAY_STORE: Final = {
    "authority": frozenset({"authority", "timestamp", "postmaster"}),
    "timestamp": frozenset({"timestamp"}),
    "postmaster": frozenset({"postmaster"}),
}
"""Service → whose state it may write."""


@dataclass
class Handshake:
    """A connection whose header is still arriving."""

    connection: socket.socket
    deadline: float
    wanted: int = frames.LENGTH_BYTES
    prefix: bytes = b""
    data: bytes = b""


@dataclass
class Waiting:
    """An opener request that waits for its turn."""

    connection: socket.socket
    header: bytes
    envelope: Envelope
    deadline: float


@dataclass
class Child:
    """A forked process."""

    process: Forked
    control: Control
    user: str
    """User id, or ``service:<name>``."""
    uid: int | None
    op: str
    started: float
    used: float
    agent: str = ""
    """Its id once it is ready to be asked."""
    report: dict[str, str] = field(default_factory=dict)


class FailureBuckets:
    """Wrong passwords per user: after so many in a window, no more are tried."""

    def __init__(self, *, failures: int, window_s: float) -> None:
        self._failures = failures
        self._window_s = window_s
        self._times: dict[str, deque[float]] = {}

    def _recent(self, user: str, now: float) -> deque[float]:
        times = self._times.get(user)
        if times is None:
            return deque()
        while times and times[0] <= now - self._window_s:
            times.popleft()
        if not times:
            del self._times[user]
        return times

    def check(self, user: str, *, now: float) -> None:
        """Raises ProtocolError (rate_limited)."""
        if len(self._recent(user, now)) >= self._failures:
            raise ProtocolError(ErrorCode.RATE_LIMITED)

    def failed(self, user: str, *, now: float) -> None:
        self._times.setdefault(user, deque()).append(now)

    def sweep(self, *, now: float) -> None:
        for user in list(self._times):
            self._recent(user, now)


class Supervisor:
    """See the module's docstring. ``run`` returns when the node is asked to end."""

    def __init__(self, config: SupervisorConfig) -> None:
        self.config = config
        self.began = time.monotonic()
        self._caller: Ed25519PublicKey = caller_key(config.deployment_secret).public_key()
        self._control_key = control_key(config.deployment_secret)
        self._zygote = Zygote(config)
        wipe(config.deployment_secret)
        self.descriptor = self._zygote.descriptor
        self.start = self.descriptor.start
        self._selector = selectors.DefaultSelector()
        self._listener: socket.socket | None = None
        self._handshakes: dict[int, Handshake] = {}
        self._waiting: deque[Waiting] = deque()
        self._children: dict[int, Child] = {}
        self._agents: dict[str, Child] = {}
        self._services: dict[str, Child] = {}
        self._restart_at: dict[str, float] = dict.fromkeys(config.services, 0.0)
        self._restart_wait: dict[str, float] = {}
        self._nonces = Nonces()
        self._failures = FailureBuckets(failures=config.failures, window_s=config.failure_window_s)
        self._locked_users: dict[str, int] = {}
        self._locked_sessions: dict[str, int] = {}
        self._report: dict[str, str] = {}
        self._ending = False
        self._next_uid = config.uids[0] if config.uids else 0
        self._peers = config.peers | {0, os.getuid()}

    # ------------------------------------------------------------ start and end

    def _listen(self) -> None:
        path = self.config.socket_path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Created with mode 0600 from the first moment; other peers are told apart by SO_PEERCRED.
        mask = os.umask(0o111 if self.config.peers else 0o177)
        try:
            # The socket appears under its name only once it listens.
            partial = path.with_name(f".{path.name}.{os.getpid()}")
            partial.unlink(missing_ok=True)
            listener.bind(str(partial))
        finally:
            os.umask(mask)
        listener.listen(128)
        listener.setblocking(False)
        partial.rename(path)
        self._listener = listener
        self._selector.register(listener, selectors.EVENT_READ, self._accept)

    def _watch_signals(self) -> None:
        reading, writing = socket.socketpair()
        for end in (reading, writing):
            end.setblocking(False)
        signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        self._wakeup = (reading, writing)

        def end_node(number: int, frame: object) -> None:
            self._ending = True

        signal.signal(signal.SIGTERM, end_node)
        signal.signal(signal.SIGINT, end_node)
        self._selector.register(reading, selectors.EVENT_READ, self._woken)

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wakeup[0].recv(4096):
                pass

    def run(self) -> None:
        """Serve until SIGTERM, or until the node's key is too old. Kills every agent at the end."""
        self._watch_signals()
        for name in self.config.services:
            self._start_service(name)
        self._selector.register(self._zygote, selectors.EVENT_READ, self._zygote_ended)
        self._listen()
        log.info("node %s serves", self.config.node)
        next_tick = 0.0
        try:
            while not self._ending:
                events = self._selector.select(TICK_S)
                # Control sockets first: what a child reported precedes what a relay then asks.
                if len(events) > 1:
                    events.sort(key=lambda event: event[0].data == self._accept)
                for key, _ in events:
                    key.data()
                if self._waiting:
                    self._start_waiting()
                if time.monotonic() >= next_tick:
                    next_tick = time.monotonic() + TICK_S
                    self._tick()
        finally:
            self._end()

    def _zygote_ended(self) -> None:
        log.error("the zygote ended, and with it every agent")
        self._ending = True

    def _end(self) -> None:
        for child in self._children.values():
            child.process.kill()
        self._zygote.end()
        self.config.socket_path.unlink(missing_ok=True)
        log.info("node %s ended", self.config.node)

    # ------------------------------------------------------------ connections

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        _, uid, _ = _CREDENTIALS.unpack(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        if uid not in self._peers:
            log.warning("refused a peer with user id %d", uid)
            connection.close()
            return
        connection.setblocking(False)
        if len(self._handshakes) >= HANDSHAKING_LIMIT:
            self._refuse(connection, ErrorCode.OVERLOADED)
            return
        handshake = Handshake(connection, time.monotonic() + HEADER_TIMEOUT_S)
        self._handshakes[connection.fileno()] = handshake
        self._selector.register(
            connection, selectors.EVENT_READ, lambda: self._read_header(handshake)
        )
        self._read_header(handshake)

    def _drop_handshake(self, handshake: Handshake) -> None:
        self._selector.unregister(handshake.connection)
        del self._handshakes[handshake.connection.fileno()]

    def _read_header(self, handshake: Handshake) -> None:
        """Read exactly prefix and header; the first octet of the body stays in the socket."""
        if handshake.connection.fileno() not in self._handshakes:
            return
        try:
            while len(handshake.data) < handshake.wanted:
                received = handshake.connection.recv(handshake.wanted - len(handshake.data))
                if not received:
                    self._drop_handshake(handshake)
                    handshake.connection.close()
                    return
                handshake.data += received
                if not handshake.prefix and len(handshake.data) == frames.LENGTH_BYTES:
                    handshake.prefix = handshake.data
                    handshake.wanted = frames.header_length(handshake.prefix)
                    handshake.data = b""
        except BlockingIOError:
            return
        except OSError:
            self._drop_handshake(handshake)
            handshake.connection.close()
            return
        except ProtocolError as error:
            self._drop_handshake(handshake)
            self._refuse(handshake.connection, error.code)
            return
        self._drop_handshake(handshake)
        try:
            self._route(handshake.connection, handshake.data)
        except ProtocolError as error:
            self._refuse(handshake.connection, error.code)

    def _refuse(self, connection: socket.socket, code: ErrorCode) -> None:
        with contextlib.suppress(OSError):
            frames.send_error(connection, code)
        _finish(connection)

    # ------------------------------------------------------------ routing

    def _route(self, connection: socket.socket, header: bytes) -> None:
        """Raises ProtocolError; the connection then still is ours."""
        envelope, _ = frames.parse_header(header)
        if envelope.op == DESCRIBE:
            answer = {"descriptor": self.descriptor.to_wire()}
            _answer(connection, answer)
            return
        if envelope.op in CONTROL_OPERATIONS:
            self._check(envelope)
            _answer(connection, self._control_answer(envelope))
            return
        if envelope.op in OPENER_OPERATIONS:
            self._check(envelope)
            self._take_opener(connection, header, envelope)
            return
        if envelope.user.startswith("service:"):
            self._check(envelope)
            name = envelope.user.removeprefix("service:")
            child = self._services.get(name)
            if name not in SERVICE_OPERATIONS or envelope.op not in SERVICE_OPERATIONS[name]:
                raise ProtocolError(ErrorCode.UNKNOWN_OPERATION)
            if child is None or not child.agent:
                raise ProtocolError(ErrorCode.AGENT_GONE)
            self._pass(connection, header, child)
            return
        child = self._agents.get(envelope.user)
        if child is None:
            raise ProtocolError(ErrorCode.NOT_UNLOCKED)
        if child.agent != envelope.to:
            raise ProtocolError(ErrorCode.AGENT_GONE)
        if not envelope.background:
            child.used = time.monotonic()
        self._pass(connection, header, child)

    def _check(self, envelope: Envelope) -> None:
        """What concerns the node itself must be ours, fresh, unused and meant for this start."""
        now = now_ms()
        envelope.check_caller(self._caller, now=now)
        if envelope.to != self.start:
            raise ProtocolError(ErrorCode.NODE_GONE)
        self._nonces.use(envelope, now=now)

    def _pass(self, connection: socket.socket, header: bytes, child: Child) -> None:
        connection.setblocking(True)
        try:
            socket.send_fds(
                child.control.connection,
                [pack({"t": "request", "header": header})],
                [connection.fileno()],
                socket.MSG_DONTWAIT,
            )
        except BlockingIOError as error:
            connection.setblocking(False)
            raise ProtocolError(ErrorCode.OVERLOADED) from error
        except OSError as error:
            connection.setblocking(False)
            raise ProtocolError(ErrorCode.AGENT_GONE) from error
        connection.close()

    def _control_answer(self, envelope: Envelope) -> dict[str, Any]:
        if envelope.op == "lock":
            until = envelope.expires + REQUEST_LIFETIME_MS
            if envelope.session:
                self._locked_sessions[envelope.session] = until
            else:
                self._locked_users[envelope.user] = envelope.created
            killed = self._lock(envelope.user)
            answer: dict[str, Any] = {"locked": True, "had_agent": killed}
        else:
            answer = {
                "node": self.config.node,
                "start": self.start,
                "agents": len(self._agents),
                "max_agents": self.config.max_agents,
                "up_s": int(time.monotonic() - self.began),
                "services": {
                    name: "up" if self._is_up(name) else "down" for name in self.config.services
                },
                "hardening": dict(self._report),
                "unlocked": envelope.user in self._agents,
            }
        return confirm_control(envelope, self._control_key, answer)

    def _is_up(self, name: str) -> bool:
        child = self._services.get(name)
        return child is not None and bool(child.agent)

    def _lock(self, user: str) -> bool:
        """SIGKILL: no code of the agent's decides whether it ends. Returns when it is gone."""
        child = self._agents.pop(user, None)
        if child is None:
            return False
        child.process.kill()
        _wait_for_end(child.process)  # its memory is gone when this returns
        self._forget(child)
        log.info("locked user %s", user)
        return True

    # ------------------------------------------------------------ openers

    def _take_opener(self, connection: socket.socket, header: bytes, envelope: Envelope) -> None:
        self._refuse_locked(envelope)
        self._failures.check(envelope.user, now=time.monotonic())
        if len(self._waiting) >= WAITING_LIMIT:
            raise ProtocolError(ErrorCode.OVERLOADED)
        deadline = time.monotonic() + REQUEST_LIFETIME_MS / 1000
        self._waiting.append(Waiting(connection, header, envelope, deadline))

    def _refuse_locked(self, envelope: Envelope) -> None:
        """A request made before a lock must not undo it, however late the broker delivers it."""
        if envelope.session in self._locked_sessions:
            raise ProtocolError(ErrorCode.NOT_UNLOCKED)
        if envelope.created <= self._locked_users.get(envelope.user, 0):
            raise ProtocolError(ErrorCode.NOT_UNLOCKED)

    def _start_waiting(self) -> None:
        """Start openers in their order, one at a time per user, a few at a time in all."""
        opening = {child.user for child in self._children.values() if child.op and not child.agent}
        for waiting in list(self._waiting):
            if len(opening) >= OPENING_LIMIT:
                return
            if waiting.envelope.user in opening:
                continue
            self._waiting.remove(waiting)
            opening.add(waiting.envelope.user)
            try:
                self._refuse_locked(waiting.envelope)
                self._failures.check(waiting.envelope.user, now=time.monotonic())
                self._make_room(waiting.envelope.user)
            except ProtocolError as error:
                self._refuse(waiting.connection, error.code)
                continue
            self._fork_opener(waiting)

    def _make_room(self, user: str) -> None:
        """Raises ProtocolError (overloaded)."""
        if user in self._agents or len(self._agents) < self.config.max_agents:
            return
        idlest = min(self._agents.values(), key=lambda child: child.used)
        if time.monotonic() - idlest.used < EVICT_IDLE_S:
            raise ProtocolError(ErrorCode.OVERLOADED)
        self._lock(idlest.user)

    def _fork_opener(self, waiting: Waiting) -> None:
        user = waiting.envelope.user
        existing = self._agents.get(user)
        ours: socket.socket | None = None
        theirs: socket.socket | None = None
        if existing is not None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                socket.send_fds(
                    existing.control.connection,
                    [pack({"t": "join"})],
                    [theirs.fileno()],
                    socket.MSG_DONTWAIT,
                )
            except OSError:
                ours.close()
                ours = None
            theirs.close()

        def fork(control: socket.socket, uid: int | None) -> Forked:
            return self._zygote.fork_opener(
                header=waiting.header,
                uid=uid,
                control=control,
                connection=waiting.connection,
                existing=ours,
            )

        waiting.connection.setblocking(True)
        try:
            self._fork(user, waiting.envelope.op, fork)
        except ProtocolError as error:
            self._refuse(waiting.connection, error.code)
        waiting.connection.close()
        if ours is not None:
            ours.close()

    # ------------------------------------------------------------ forking

    def _free_uid(self) -> int | None:
        if self.config.uids is None or os.geteuid() != 0:
            return None
        first, last = self.config.uids
        used = {child.uid for child in self._children.values()}
        for _ in range(last - first + 1):
            uid = self._next_uid
            self._next_uid = first if uid == last else uid + 1
            if uid not in used:
                return uid
        raise ProtocolError(ErrorCode.OVERLOADED, "no user id is free")

    def _fork(
        self, user: str, op: str, fork: Callable[[socket.socket, int | None], Forked]
    ) -> Child:
        """Raises ProtocolError (overloaded)."""
        uid = self._free_uid()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = fork(theirs, uid)
        ours.setblocking(False)
        now = time.monotonic()
        child = Child(process, Control(ours), user, uid, op, started=now, used=now)
        self._children[process.pid] = child
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear(child))
        self._selector.register(
            process.handle, selectors.EVENT_READ, lambda: self._child_ended(child)
        )
        return child

    def _hear(self, child: Child) -> None:
        """One report of a child. It may be under an attacker's control: every field is checked."""
        try:
            data = child.control.connection.recv(CONTROL_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            # It ends; _reap collects it. Not selecting the closed socket any more avoids spinning.
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(child.control.connection)
            return
        try:
            message = unpack(data)
            kind = message.get("t") if isinstance(message, dict) else None
            if kind == "log":
                log.info("process %d: %s", child.process.pid, str(message["line"])[:1000])
            elif kind == "ready" and not child.agent:
                self._ready(child, str(message["agent"]), dict(message["report"]))
            elif kind == "outcome":
                if message["code"] in (ErrorCode.WRONG_PASSWORD, ErrorCode.WRONG_SESSION):
                    self._failures.failed(child.user, now=time.monotonic())
            elif kind == "store":
                self._store(child, str(message["name"]), bytes(message["sealed"]))
        except (ProtocolError, KeyError, TypeError, ValueError):
            log.warning("process %d sent nonsense", child.process.pid)
            child.process.kill()

    def _ready(self, child: Child, agent: str, report: dict[str, str]) -> None:
        self._report = {str(name): str(state) for name, state in report.items()}
        if child.user.startswith("service:"):
            child.agent = self.start
        else:
            previous = self._agents.get(child.user)
            if previous is not None and previous is not child:
                self._lock(child.user)  # it did not welcome the new session
            child.agent = agent
            child.used = time.monotonic()
            self._agents[child.user] = child
            log.info("unlocked user %s by process %d", child.user, child.process.pid)
        child.control.send({"t": "go"})

    def _store(self, child: Child, name: str, sealed: bytes) -> None:
        writer = child.user.removeprefix("service:")
        if child.user != f"service:{writer}" or name not in MAY_STORE.get(writer, frozenset()):
            raise ProtocolError(ErrorCode.FORGED)
        try:
            write_state(self.config.state_folder, name, sealed)
        except OSError as error:
            log.error("the state of service %s was not written: %s", name, error.strerror)
            child.control.send({"t": "stored", "ok": False})
            return
        child.control.send({"t": "stored", "ok": True})
        if name != writer and name in self._services:
            self._services[name].process.kill()  # starts anew with its new state
            self._restart_wait[name] = 0.0

    # ------------------------------------------------------------ ends

    def _child_ended(self, child: Child) -> None:
        if child.process.pid not in self._children:
            return
        # What it still reported before it ended counts: a wrong password above all.
        for _ in range(16):
            if not self._has_report(child):
                break
            self._hear(child)
        if self._agents.get(child.user) is child:
            del self._agents[child.user]
            log.info("the agent of user %s ended", child.user)
        self._forget(child)

    def _has_report(self, child: Child) -> bool:
        try:
            flags = socket.MSG_PEEK | socket.MSG_DONTWAIT
            return bool(child.control.connection.recv(1, flags))
        except OSError:
            return False

    def _forget(self, child: Child) -> None:
        self._children.pop(child.process.pid, None)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(child.control.connection)
        child.control.connection.close()
        self._selector.unregister(child.process.handle)
        os.close(child.process.handle)
        name = child.user.removeprefix("service:")
        if self._services.get(name) is child:
            del self._services[name]
            wait = self._restart_wait.get(name, RESTART_FIRST_S)
            if time.monotonic() - child.started > RESTART_MOST_S:
                wait = RESTART_FIRST_S
            self._restart_at[name] = time.monotonic() + wait
            self._restart_wait[name] = min(max(wait, RESTART_FIRST_S) * 2, RESTART_MOST_S)
            if not wait:
                self._start_service(name)

    def _start_service(self, name: str) -> None:
        files = self._service_files(name)

        def fork(control: socket.socket, uid: int | None) -> Forked:
            return self._zygote.fork_service(name=name, uid=uid, control=control, files=files)

        self._restart_at.pop(name, None)
        try:
            self._services[name] = self._fork(f"service:{name}", "", fork)
        finally:
            for descriptor in files:
                os.close(descriptor)

    def _service_files(self, name: str) -> list[int]:
        """Open, but do not read, the key file and the service's sealed state."""
        if name not in MAY_STORE:
            return []
        files = [os.open(self.config.key_file, os.O_RDONLY)]
        with contextlib.suppress(FileNotFoundError):
            files.append(os.open(self.config.state_folder / f"{name}.state", os.O_RDONLY))
        return files

    def _tick(self) -> None:
        now = time.monotonic()
        for handshake in list(self._handshakes.values()):
            if now > handshake.deadline:
                self._drop_handshake(handshake)
                handshake.connection.close()
        for waiting in list(self._waiting):
            if now > waiting.deadline:
                self._waiting.remove(waiting)
                self._refuse(waiting.connection, ErrorCode.TIMEOUT)
        for child in list(self._agents.values()):
            if now - child.used > self.config.idle_s + SPARE_IDLE_S:
                self._lock(child.user)
        for name, at in list(self._restart_at.items()):
            if now >= at and name not in self._services:
                log.info("starting service %s anew", name)
                self._start_service(name)
        self._failures.sweep(now=now)
        wall = now_ms()
        self._locked_sessions = {s: t for s, t in self._locked_sessions.items() if t > wall}
        self._locked_users = {
            user: at
            for user, at in self._locked_users.items()
            if at + 3 * REQUEST_LIFETIME_MS > wall
        }
        if wall > self.descriptor.not_after - RETIRE_BEFORE_MS:
            log.info("the node's key is old: ending to start with a new one")
            self._ending = True


# --------------------------------------------------------------------------- helpers


def _finish(connection: socket.socket) -> None:
    """Close after our last octets, without losing them to a reset over unread input."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
    connection.close()


def _answer(connection: socket.socket, answer: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        frames.send_reply(connection, frames.CONTROL, json.dumps(answer).encode())
    _finish(connection)


def _wait_for_end(process: Forked) -> None:
    poll = select.poll()
    poll.register(process.handle, select.POLLIN)
    poll.poll(KILL_TIMEOUT_MS)


def make_service_key(path: Path) -> None:
    """Make the file that seals the state of the service agents, unless it is there.

    Raises ConfigError when others can read it.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ConfigError(f"{path} is readable by others. Run: chmod 600 {path}") from None
        return
    key = secrets.token_bytes(SERVICE_KEY_BYTES)
    encoded = base64.b64encode(key) + b"\n"
    with os.fdopen(descriptor, "wb") as file:
        file.write(encoded)
    wipe(key, encoded)


def write_state(folder: Path, name: str, sealed: bytes) -> None:
    """Replace a service's state file at once, and only by a complete one. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = folder / f".{name}.partial"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(sealed)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(folder / f"{name}.state")


def main() -> int:
    harden.overwrite_freed_memory()
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        config = SupervisorConfig.from_environment()
    except ConfigError as error:
        log.error("%s", error)
        return 2
    for name in list(os.environ):
        if name.startswith("SEALPOST_"):
            del os.environ[name]  # no secret in the environment of what is forked
    harden.forbid_dumps()
    try:
        make_service_key(config.key_file)
    except ConfigError as error:
        log.error("%s", error)
        return 2
    try:
        Supervisor(config).run()
    except ZygoteGone:
        log.error("the zygote ended; see above")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
