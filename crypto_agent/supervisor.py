"""The fork server of an agent node: ``python -m crypto_agent.supervisor``.

It listens on one unix socket, reads the header of each request and nothing of its body, and passes
the connection on to the process that may open it. It holds no user's key. What it does hold, the
node's key and those of the service agents, every forked process drops in its first steps.

All state is here, in one thread and one loop; nothing waits for anybody.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import encodings
import gc
import importlib
import json
import logging
import os
import pkgutil
import secrets
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
from typing import Any, Final, NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from crypto_agent import frames, harden
from crypto_agent.config import ConfigError, SupervisorConfig
from crypto_agent.errors import ErrorCode, ProtocolError
from crypto_agent.operations import registry
from crypto_agent.protocol import (
    CONTROL_OPERATIONS,
    OPENER_OPERATIONS,
    REQUEST_LIFETIME_MS,
    SERVICE_OPERATIONS,
    Envelope,
    NodeDescriptor,
    SealingKey,
    caller_key,
    confirm_control,
    control_key,
    node_identity,
    pack,
    unpack,
    wipe,
)
from crypto_agent.rehearsal import rehearse
from crypto_agent.server import (
    CONTROL_LIMIT,
    ChildSettings,
    Control,
    NodeKey,
    Nonces,
    now_ms,
    run_opener,
    run_service,
)

log = logging.getLogger("sealpost.supervisor")

NODE_LIFETIME_MS: Final = 30 * 24 * 3600 * 1000
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
STATE_LIMIT: Final = CONTROL_LIMIT

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

    pid: int
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
        self.start = secrets.token_hex(16)
        self.began = time.monotonic()
        self._caller: Ed25519PublicKey = caller_key(config.deployment_secret).public_key()
        self._control_key = control_key(config.deployment_secret)
        sealing = SealingKey.generate()
        self._service_keys = {name: SealingKey.generate() for name in config.services}
        self._not_after = now_ms() + NODE_LIFETIME_MS
        # The identity signs once, here, before anything is forked, and is dropped.
        self.descriptor = NodeDescriptor(
            node=config.node,
            start=self.start,
            public=sealing.public,
            not_after=self._not_after,
            services=tuple(sorted((name, key.public) for name, key in self._service_keys.items())),
        ).sign(node_identity(config.deployment_secret))
        self._node_key = NodeKey(sealing)
        del sealing
        self._seccomp = harden.compile_seccomp()
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
        self._child_ended = False
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

        def child_ended(number: int, frame: object) -> None:
            self._child_ended = True

        signal.signal(signal.SIGTERM, end_node)
        signal.signal(signal.SIGINT, end_node)
        signal.signal(signal.SIGCHLD, child_ended)
        self._selector.register(reading, selectors.EVENT_READ, self._woken)

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wakeup[0].recv(4096):
                pass

    def run(self) -> None:
        """Serve until SIGTERM, or until the node's key is too old. Kills every agent at the end."""
        self._watch_signals()
        make_service_key(self.config.key_file)
        for name in self.config.services:
            self._start_service(name)
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
                if self._child_ended:
                    self._child_ended = False
                    self._reap()
                if self._waiting:
                    self._start_waiting()
                if time.monotonic() >= next_tick:
                    next_tick = time.monotonic() + TICK_S
                    self._tick()
        finally:
            self._end()

    def _end(self) -> None:
        for child in list(self._children.values()):
            os.kill(child.pid, signal.SIGKILL)
        for child in list(self._children.values()):
            os.waitpid(child.pid, 0)
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
        raw, envelope, _ = frames.parse_header(header)
        if raw.get("op") == DESCRIBE:
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
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)  # its memory is gone when this returns
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

        def child(control: Control, settings: ChildSettings) -> NoReturn:
            waiting.connection.setblocking(True)
            run_opener(
                control=control,
                settings=settings,
                node_key=self._node_key,
                connection=waiting.connection,
                header=waiting.header,
                existing=ours,
            )

        self._fork(user, waiting.envelope.op, child)
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

    def rehearse(self) -> None:
        """See :mod:`crypto_agent.rehearsal`. Before :meth:`run`."""
        rehearse(self._settings(None))

    def _settings(self, uid: int | None) -> ChildSettings:
        return ChildSettings(
            node=self.config.node,
            caller=self._caller,
            seccomp=self._seccomp,
            uid=uid,
            memory_mb=self.config.memory_mb,
            cpu_s=self.config.cpu_s,
            idle_ms=int(self.config.idle_s * 1000),
            absolute_ms=int(self.config.absolute_s * 1000),
        )

    def _fork(
        self, user: str, op: str, main: Callable[[Control, ChildSettings], NoReturn]
    ) -> Child:
        uid = self._free_uid()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        settings = self._settings(uid)
        pid = os.fork()
        if pid == 0:
            try:
                self._become_child(user)
                main(Control(theirs), settings)
            except BaseException as error:
                # Nothing of the error's text: it may quote content.
                with contextlib.suppress(OSError):
                    theirs.send(pack({"t": "log", "line": f"ended: {type(error).__name__}"}))
            finally:
                os._exit(1)
        theirs.close()
        ours.setblocking(False)
        now = time.monotonic()
        child = Child(pid, Control(ours), user, uid, op, started=now, used=now)
        self._children[pid] = child
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear(child))
        return child

    def _become_child(self, user: str) -> None:
        """Undo, in the forked process, what belongs to the supervisor alone."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        self._control_key = b""
        own = user.removeprefix("service:") if user.startswith("service:") else ""
        self._service_keys = {n: key for n, key in self._service_keys.items() if n == own}
        # Descriptors are closed by number in harden(); these objects must not close them again,
        # when a number has a new meaning.
        for sock in (
            *([self._listener] if self._listener else []),
            *self._wakeup,
            *(child.control.connection for child in self._children.values()),
        ):
            sock.close()
        self._selector.close()

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
                log.info("process %d: %s", child.pid, str(message["line"])[:1000])
            elif kind == "ready" and not child.agent:
                self._ready(child, str(message["agent"]), dict(message["report"]))
            elif kind == "outcome":
                if message["code"] in (ErrorCode.WRONG_PASSWORD, ErrorCode.WRONG_SESSION):
                    self._failures.failed(child.user, now=time.monotonic())
            elif kind == "store":
                self._store(child, str(message["name"]), bytes(message["sealed"]))
        except (ProtocolError, KeyError, TypeError, ValueError):
            log.warning("process %d sent nonsense", child.pid)
            os.kill(child.pid, signal.SIGKILL)

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
            log.info("unlocked user %s by process %d", child.user, child.pid)
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
            os.kill(self._services[name].pid, signal.SIGKILL)  # starts anew with its new state
            self._restart_wait[name] = 0.0

    # ------------------------------------------------------------ ends

    def _reap(self) -> None:
        for pid in list(self._children):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                ended, status = pid, 0
            if ended:
                child = self._children[pid]
                # What it still reported before it ended counts: a wrong password above all.
                for _ in range(16):
                    if child.control.connection.fileno() < 0 or not self._has_report(child):
                        break
                    self._hear(child)
                if self._agents.get(child.user) is child:
                    del self._agents[child.user]
                    log.info("the agent of user %s ended", child.user)
                if status:
                    log.warning(
                        "process %d (%s) ended with %d",
                        pid, child.op, os.waitstatus_to_exitcode(status),
                    )  # fmt: skip
                self._forget(child)

    def _has_report(self, child: Child) -> bool:
        try:
            flags = socket.MSG_PEEK | socket.MSG_DONTWAIT
            return bool(child.control.connection.recv(1, flags))
        except OSError:
            return False

    def _forget(self, child: Child) -> None:
        self._children.pop(child.pid, None)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(child.control.connection)
        child.control.connection.close()
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
        def child(control: Control, settings: ChildSettings) -> NoReturn:
            self._node_key.forget()
            run_service(
                control=control,
                settings=settings,
                name=name,
                start=self.start,
                key=self._service_keys[name],
                key_file=self.config.key_file,
                state_folder=self.config.state_folder,
                read_key=read_service_key,
            )

        self._restart_at.pop(name, None)
        self._services[name] = self._fork(f"service:{name}", "", child)

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
        if wall > self._not_after - RETIRE_BEFORE_MS:
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


def make_service_key(path: Path) -> None:
    """Make the file that seals the state of the service agents, unless it is there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    key = secrets.token_bytes(32)
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(key) + b"\n")
    wipe(key)


def read_service_key(path: Path) -> bytes:
    """Raises ConfigError."""
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ConfigError(f"{path} is readable by others. Run: chmod 600 {path}")
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except binascii.Error as error:
        raise ConfigError(f"{path} is not base64.") from error
    if len(key) != 32:
        raise ConfigError(f"{path} must hold 32 bytes in base64.")
    return key


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


def preload() -> None:
    """Import everything an agent may need: after hardening it can open no file.

    That includes every text codec, which Python else loads when a mail names a charset.
    """
    for module in pkgutil.iter_modules(encodings.__path__):
        with contextlib.suppress(ImportError):  # codecs of other platforms
            importlib.import_module(f"encodings.{module.name}")
    for kind in (registry.USER, *SERVICE_OPERATIONS):
        registry.allowed(kind)
    time.tzset()


def main() -> int:
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
    preload()
    harden.forbid_dumps()
    supervisor = Supervisor(config)
    supervisor.rehearse()
    gc.collect()
    gc.freeze()  # what is there now is shared for good: no collection writes into its pages
    supervisor.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
