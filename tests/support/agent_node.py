"""A real agent node for tests: supervisor and relay as processes in a folder of their own."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crypto_agent import frames
from crypto_agent.protocol import Envelope
from tests.support.servers import short_folder

ROOT = Path(__file__).resolve().parents[2]
START_S = 20.0
SECRET = base64.b64decode(os.environ["SEALPOST_DEPLOYMENT_SECRET"])


def wait_until(condition: Any, *, seconds: float = START_S, what: str = "the condition") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {seconds} s")
        time.sleep(0.01)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def private_mb(pid: int) -> float:
    """Memory that a process shares with no other, in MiB."""
    kilobytes = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean", "Private_Dirty")):
            kilobytes += int(line.split()[1])
    return kilobytes / 1024


@dataclass
class AgentNode:
    """One node: its processes, its environment, and what tests may do to it."""

    name: str
    folder: Path
    spool: Path
    broker: str
    settings: dict[str, str] = field(default_factory=dict)
    supervisor: subprocess.Popen[bytes] | None = None
    relay: subprocess.Popen[bytes] | None = None
    services: set[int] = field(default_factory=set)

    @property
    def socket_path(self) -> Path:
        return self.folder / "agent.sock"

    @property
    def log(self) -> str:
        return (self.folder / "supervisor.log").read_text(errors="replace")

    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {
            **kept,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "SEALPOST_STATE": str(self.folder),
            "SEALPOST_AGENT_SOCKET": str(self.socket_path),
            "SEALPOST_AGENT_STATE": str(self.folder / "services"),
            "SEALPOST_DEPLOYMENT_SECRET": os.environ["SEALPOST_DEPLOYMENT_SECRET"],
            "SEALPOST_NODE": self.name,
            "SEALPOST_BROKER": self.broker,
            "SEALPOST_SPOOL": str(self.spool),
            **self.settings,
        }

    def _run(self, log: str, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("ab") as file:
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def start_supervisor(self) -> None:
        self.socket_path.unlink(missing_ok=True)
        self.supervisor = self._run("supervisor.log", "-m", "crypto_agent.supervisor")
        process = self.supervisor
        wait_until(
            lambda: self.socket_path.exists() or process.poll() is not None, what="the supervisor"
        )
        assert process.poll() is None, self.log

    def start_relay(self) -> None:
        self.relay = self._run(
            "relay.log",
            *("-m", "celery", "-A", "crypto_agent.tasks", "worker", "-P", "threads", "-c", "4"),
            *("-Q", f"agent.{self.name}", "-n", f"relay@{self.name}"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        )
        ready = self.folder / "relay.log"
        process = self.relay
        wait_until(lambda: b"is ready" in ready.read_bytes() or process.poll() is not None)
        assert process.poll() is None, ready.read_text()

    def stop_supervisor(self, number: int = signal.SIGTERM) -> None:
        if self.supervisor is not None:
            self.supervisor.send_signal(number)
            self.supervisor.wait(20)
            self.supervisor = None

    def stop_relay(self) -> None:
        if self.relay is not None:
            self.relay.kill()
            self.relay.wait(20)
            self.relay = None

    def descriptor(self) -> dict[str, Any]:
        """The node's descriptor, asked over its socket."""
        import json
        import socket

        empty = Envelope(op="describe", user="", session="", task="", to="", nonce=b"", expires=0)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.socket_path))
            connection.sendall(frames.header_frame(empty, 0))
            _, content = frames.receive_reply(connection)
        described: dict[str, Any] = json.loads(content)["descriptor"]
        return described

    @property
    def zygote(self) -> int:
        assert self.supervisor is not None
        return children_of(self.supervisor.pid)[0]

    def children(self) -> list[int]:
        """Process ids of all agents and services that live."""
        return children_of(self.zygote)

    def wait_for_services(self) -> None:
        """Until every service agent answers; notes which processes they are."""
        names = self.settings.get("SEALPOST_SERVICES", "verifier,authority,timestamp,postmaster")
        wanted = len([name for name in names.split(",") if name])
        wait_until(lambda: len(self.children()) >= wanted, what="the service agents")
        self.services = set(self.children())

    def agents(self) -> list[int]:
        """Process ids of users' agents."""
        return [pid for pid in self.children() if pid not in self.services]

    def end_agents(self) -> None:
        """Kill every user's agent, as the kernel might, and wait until the supervisor knows."""
        for pid in self.agents():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.agents(), what="the end of the agents")
        time.sleep(0.05)


def use_broker(address: str, spool: Path) -> None:
    """Point this process's web side at a broker and a spool."""
    import threading

    from django.conf import settings

    from webmail.celery import app

    settings.BROKER_URL = settings.RESULT_BACKEND = address
    settings.SPOOL_DIR = spool
    app.conf.broker_url = app.conf.broker_read_url = app.conf.broker_write_url = address
    app.conf.result_backend = address
    app._pool = None
    app._local = threading.local()
    app.amqp.__dict__.pop("_producer_pool", None)
    app.amqp._producer_pool = None


@contextmanager
def running_node(
    broker: str, spool: Path, name: str = "test", **settings: str
) -> Iterator[AgentNode]:
    """A supervisor with its relay."""
    with short_folder() as folder:
        node = AgentNode(name, folder, spool, broker, settings)
        try:
            node.start_supervisor()
            node.start_relay()
            yield node
        finally:
            node.stop_relay()
            node.stop_supervisor()
