"""The embedded default: every process of Sealpost on one machine, with its data in one folder."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from launcher.dovecot import (
    Dovecot,
    dovecot_command,
    mail_folder,
    run_as_nobody,
    wait_for_port,
    write_configuration,
)
from launcher.environment import OVERWRITE_FREED, agent_environment, make_environment
from launcher.ports import free_ports
from launcher.processes import Launcher, Process, python, wait_until
from launcher.redis import SOCKET_NAME, redis_command, wait_for_socket

PORT_NAMES = ("imap", "lmtp", "submission", "outside")


def remembered_ports(state: Path) -> dict[str, int]:
    """The same ports at every start, because accounts in the database name them."""
    path = state / "ports.json"
    if path.exists():
        ports: dict[str, int] = json.loads(path.read_text())
        return ports
    ports = dict(zip(PORT_NAMES, free_ports(len(PORT_NAMES)), strict=True))
    path.write_text(json.dumps(ports))
    return ports


class Sealpost:
    """All processes of ``docs/architecture.md`` on one machine.

    ``start()`` brings them up in order and returns when the site answers; ``stop()`` ends them.
    """

    def __init__(
        self,
        state: Path,
        *,
        port: int,
        settings: Mapping[str, str],
        caller: Mapping[str, str] = os.environ,
    ) -> None:
        self.state = state.resolve()
        self.state.mkdir(parents=True, exist_ok=True)
        # Not 0700: under root, the mail server is another user and passes through to its folder.
        self.state.chmod(0o711)
        self.port = port
        self.origin = f"http://localhost:{port}"
        self.ports = remembered_ports(self.state)
        mail_server = {
            "SEALPOST_ORIGIN": self.origin,
            "SEALPOST_IMAP_DEFAULT": f"none://127.0.0.1:{self.ports['imap']}",
            "SEALPOST_SMTP_DEFAULT": f"none://127.0.0.1:{self.ports['submission']}",
            "SEALPOST_FETCH_ALLOWED_HOSTS": f"127.0.0.1:{self.ports['outside']}",
        }
        self.environment = make_environment(self.state, mail_server | dict(settings), caller=caller)
        self.launcher = Launcher(self.state / "log", self.environment)
        self.dovecot: Dovecot | None = None

    # ----------------------------------------------------------------- start and stop

    def start(self, say: Callable[[str], None] = lambda sentence: None) -> None:
        say("Starting the broker and the mail server …")
        self._start_redis()
        self._start_mail_server()
        say("Preparing the database …")
        self.manage("migrate", "--noinput", "-v0")
        self.manage("collectstatic", "--noinput", "-v0")
        say("Starting web, worker, beat, relay and supervisor …")
        self._start_sealpost()
        self._wait_for_site()
        say("Looking after the certification authority …")
        self.manage("init_authority", "--wait", "60")

    def stop(self) -> None:
        self.launcher.stop()

    def manage(self, *arguments: str, capture: bool = False) -> str:
        """Run a management command. Raises RuntimeError with its last words when it fails."""
        return self.launcher.run(python("manage.py", *arguments), capture=capture)

    # ----------------------------------------------------------------- single processes

    def _start_redis(self) -> None:
        if str(self.state / SOCKET_NAME) not in self.environment["SEALPOST_BROKER"]:
            return  # the settings name a broker that runs elsewhere
        (self.state / SOCKET_NAME).unlink(missing_ok=True)
        process = self.launcher.add("redis", redis_command(self.state))
        wait_for_socket(self.state / SOCKET_NAME, _popen(process))

    def _start_mail_server(self) -> None:
        folder = mail_folder(self.state / "mail")
        folder.mkdir(parents=True, exist_ok=True)
        imap, lmtp = self.ports["imap"], self.ports["lmtp"]
        configuration = write_configuration(folder, imap, lmtp)
        dovecot = self.launcher.add(
            "dovecot", dovecot_command(configuration), run_as=run_as_nobody()
        )
        submission = self.launcher.add(
            "submission",
            python(
                "-m", "launcher.submission", str(self.ports["submission"]), str(lmtp),
                str(folder / "users"),
            ),
        )  # fmt: skip
        wait_for_port(imap, _popen(dovecot))
        wait_for_port(self.ports["submission"], _popen(submission))
        self.dovecot = Dovecot(_popen(dovecot), folder, imap, lmtp)

    def _start_sealpost(self) -> None:
        node = self.environment["SEALPOST_NODE"]
        socket = Path(self.environment["SEALPOST_AGENT_SOCKET"])
        socket.unlink(missing_ok=True)
        agent_side = agent_environment(self.environment)
        supervisor = self.launcher.add(
            "supervisor", python("-m", "crypto_agent.supervisor"), environment=agent_side
        )
        wait_for_socket(socket, _popen(supervisor))
        celery = ("-m", "celery", "-A")
        quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        self.launcher.add(
            "relay",
            python(*celery, "crypto_agent.tasks", "worker", "-P", "threads", "-c", "8",
                   "-Q", f"agent.{node}", "-n", f"relay@{node}", *quiet),
            environment=agent_side,
        )  # fmt: skip
        self.launcher.add(
            "worker",
            python(*celery, "webmail", "worker", "-P", "threads", "-c", "6",
                   "-Q", "worker", "-n", f"worker@{node}", *quiet),
        )  # fmt: skip
        self.launcher.add(
            "beat", python(*celery, "webmail", "beat", "-s", str(self.state / "beat-schedule"))
        )
        self.launcher.add(
            "web",
            python("-m", "gunicorn", "webmail.wsgi", "--bind", f"127.0.0.1:{self.port}",
                   "--workers", "2", "--threads", "8", "--timeout", "120", "--no-control-socket"),
            environment=self.environment | OVERWRITE_FREED,
        )  # fmt: skip

    def _wait_for_site(self) -> None:
        def answers() -> bool:
            try:
                with urllib.request.urlopen(f"{self.origin}/healthz", timeout=5) as response:  # noqa: S310 - our own loopback address
                    return bool(response.status == 200)
            except urllib.error.HTTPError as error:
                raise RuntimeError(
                    f"The site answers {error.code}. See {self.state / 'log' / 'web.log'}"
                ) from error
            except OSError:
                return False

        wait_until(answers, seconds=60, what=f"An answer of {self.origin}")


def _popen(process: Process) -> subprocess.Popen[bytes]:
    if process.popen is None:
        raise RuntimeError(f"{process.name} was not started")
    return process.popen
