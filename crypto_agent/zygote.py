"""The process that agents are forked from. It does nothing else, and that is its point.

* It alone holds the node's private key and those of the service agents; the supervisor, which
  listens to the outside, never has them.
* Forked from a process that stands still, an agent shares almost all its memory with all others.
  (Forked from a busy one, every page that the busy one writes to later becomes the agent's own.)

It takes orders from the supervisor over one inherited socket, forks, and returns a descriptor of
the new process (pidfd), by which the supervisor kills it and learns of its end. When the supervisor
ends, the zygote ends, and with it every agent (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import encodings
import gc
import importlib
import logging
import os
import pkgutil
import secrets
import signal
import socket
import time
from dataclasses import dataclass, field, replace
from typing import Any, Final, NoReturn

from crypto_agent import harden
from crypto_agent.config import SupervisorConfig
from crypto_agent.errors import ErrorCode, ProtocolError
from crypto_agent.operations import registry
from crypto_agent.protocol import (
    SEED_BYTES,
    SERVICE_OPERATIONS,
    NodeDescriptor,
    SealingKey,
    caller_key,
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
    control_log,
    now_ms,
    run_opener,
    run_service,
)

log = logging.getLogger("sealpost.zygote")

NODE_LIFETIME_MS: Final = 30 * 24 * 3600 * 1000
"""How long a node's key is good; the supervisor retires before."""
START_TIMEOUT_S: Final = 60.0
ORDER_TIMEOUT_S: Final = 10.0
ORDER_DESCRIPTORS: Final = 3


@dataclass(frozen=True)
class Forked:
    """A process that the zygote made."""

    pid: int
    handle: int
    """Its pidfd: readable once it has ended."""

    def kill(self) -> None:
        """SIGKILL, to this very process and no other that might have its number by now."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)


class Zygote:
    """The supervisor's side. Raises ZygoteGone when the process is not there any more."""

    def __init__(self, config: SupervisorConfig) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                ours.close()
                _Zygote(config, theirs).live()
            except BaseException as error:
                log.error("the zygote ended: %s", type(error).__name__)
            finally:
                os._exit(1)
        theirs.close()
        self._socket = ours
        self._socket.settimeout(START_TIMEOUT_S)
        self.descriptor = self._greet()
        self._socket.settimeout(ORDER_TIMEOUT_S)

    def _greet(self) -> NodeDescriptor:
        answer, _ = self._receive()
        return NodeDescriptor(
            node=answer["node"],
            start=answer["start"],
            public=answer["public"],
            not_after=answer["not_after"],
            services=tuple((name, public) for name, public in answer["services"]),
            signature=answer["signature"],
        )

    def _receive(self) -> tuple[dict[str, Any], int]:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, CONTROL_LIMIT, 1)
        except OSError as error:
            raise ZygoteGone from error
        if not data:
            raise ZygoteGone
        answer: dict[str, Any] = unpack(data)
        return answer, descriptors[0] if descriptors else -1

    def _fork(self, order: dict[str, Any], descriptors: list[int]) -> Forked:
        try:
            socket.send_fds(self._socket, [pack(order)], descriptors)
        except OSError as error:
            raise ZygoteGone from error
        answer, handle = self._receive()
        if handle < 0:
            raise ProtocolError(ErrorCode.OVERLOADED, "no process could be made")
        return Forked(int(answer["pid"]), handle)

    def fork_opener(
        self,
        *,
        header: bytes,
        uid: int | None,
        control: socket.socket,
        connection: socket.socket,
        existing: socket.socket | None,
    ) -> Forked:
        """A process that opens one request to the node's key; see :func:`server.run_opener`."""
        descriptors = [control.fileno(), connection.fileno()]
        if existing is not None:
            descriptors.append(existing.fileno())
        return self._fork({"kind": "opener", "header": header, "uid": uid}, descriptors)

    def fork_service(
        self, *, name: str, uid: int | None, control: socket.socket, files: list[int]
    ) -> Forked:
        """A service agent; see :func:`server.run_service`."""
        order = {"kind": "service", "name": name, "uid": uid}
        return self._fork(order, [control.fileno(), *files])

    def fileno(self) -> int:
        """Readable only when the zygote has ended."""
        return self._socket.fileno()

    def end(self) -> None:
        self._socket.close()  # it sees the end of file, ends, and takes its children with it
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


class ZygoteGone(Exception):
    """The zygote ended; so must the supervisor."""


@dataclass
class _Zygote:
    """The zygote's own side."""

    config: SupervisorConfig
    orders: socket.socket
    start: str = field(default_factory=lambda: secrets.token_hex(16))

    def live(self) -> NoReturn:
        preload()
        logging.getLogger().handlers[:] = [control_log]
        harden.forbid_dumps()
        os.setsid()  # the terminal's signals are the supervisor's
        # Ends with the supervisor, not before it; and so does all that is forked from here.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel collects; pidfds tell
        secret = self.config.deployment_secret
        settings = ChildSettings(
            node=self.config.node,
            caller=caller_key(secret).public_key(),
            seccomp=harden.compile_seccomp(),
            hardened={},
            cpu_s=self.config.cpu_s,
            idle_ms=int(self.config.idle_s * 1000),
            absolute_ms=int(self.config.absolute_s * 1000),
        )
        sealing = SealingKey.generate()
        self.service_seeds = {
            name: bytearray(secrets.token_bytes(SEED_BYTES)) for name in self.config.services
        }
        descriptor = NodeDescriptor(
            node=self.config.node,
            start=self.start,
            public=sealing.public,
            not_after=now_ms() + NODE_LIFETIME_MS,
            services=tuple(
                (name, SealingKey.from_seed(seed).public)
                for name, seed in sorted(self.service_seeds.items())
            ),
        ).sign(node_identity(secret))
        # The identity signed once and is gone; so is the secret it came from. What is forked from
        # here can neither pretend to be a node nor a caller.
        wipe(secret)
        self.node_key = NodeKey(sealing)
        del sealing, secret
        # After the rehearsal: what Python still loads at a first use is loaded by then.
        rehearse(settings)
        hardened = harden.harden_parent(memory_mb=self.config.memory_mb)
        self.settings = replace(settings, hardened=hardened)
        self.orders.send(
            pack(
                {
                    "node": descriptor.node,
                    "start": descriptor.start,
                    "public": descriptor.public,
                    "not_after": descriptor.not_after,
                    "services": descriptor.services,
                    "signature": descriptor.signature,
                }
            )
        )
        gc.collect()
        gc.freeze()  # what is there now is shared for good: no collection writes into its pages
        while True:
            data, descriptors, _, _ = socket.recv_fds(self.orders, CONTROL_LIMIT, ORDER_DESCRIPTORS)
            if not data:
                os._exit(0)  # the supervisor is gone
            self.obey(unpack(data), descriptors)

    def obey(self, order: dict[str, Any], descriptors: list[int]) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            log.error("fork: %s", error.strerror)
            pid = -1
        if pid == 0:
            try:
                self.become(order, descriptors)
            except BaseException as error:
                # Nothing of the error's text: it may quote content.
                with contextlib.suppress(OSError):
                    line = f"ended: {type(error).__name__}"
                    os.write(descriptors[0], pack({"t": "log", "line": line}))
            finally:
                os._exit(1)
        for descriptor in descriptors:
            os.close(descriptor)
        if pid < 0:
            self.orders.send(pack({"pid": 0}))
            return
        handle = os.pidfd_open(pid)
        socket.send_fds(self.orders, [pack({"pid": pid})], [handle])
        os.close(handle)

    def become(self, order: dict[str, Any], descriptors: list[int]) -> NoReturn:
        """The first steps of a forked process."""
        harden.die_with_parent()
        self.orders.close()
        control = Control(socket.socket(fileno=descriptors[0]))
        if order["kind"] == "service":
            self.node_key.forget()
            name = str(order["name"])
            key = SealingKey.from_seed(self.service_seeds[name])
            wipe(*self.service_seeds.values())
            run_service(
                control=control,
                settings=self.settings,
                uid=order["uid"],
                name=name,
                start=self.start,
                key=key,
                files=descriptors[1:],
            )
        wipe(*self.service_seeds.values())
        run_opener(
            control=control,
            settings=self.settings,
            uid=order["uid"],
            node_key=self.node_key,
            connection=socket.socket(fileno=descriptors[1]),
            header=order["header"],
            existing=socket.socket(fileno=descriptors[2]) if len(descriptors) > 2 else None,
        )


# --------------------------------------------------------------------------- helpers


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
