"""Start, watch and stop the processes of one Sealpost on one machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

STOP_SECONDS = 10.0
RESTART_PAUSE_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)
"""A process that ends by itself is started again after these pauses, the last one for ever."""
UMASK = 0o077
"""Database, logs and sockets are for the user who runs Sealpost, and for nobody else here."""
CALM_SECONDS = 60.0
"""A process that ran this long is taken to be well: its pauses start again at the shortest."""


class RunAs(TypedDict, total=False):
    """Arguments for Popen: the user to run a program as. Empty: the one who runs this."""

    user: str
    group: str
    extra_groups: list[str]


@dataclass
class Process:
    """One program, its log file and how often it had to be started again."""

    name: str
    command: list[str]
    log: Path
    environment: Mapping[str, str]
    run_as: RunAs = field(default_factory=RunAs)
    popen: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    failures: int = 0
    restart_at: float = 0.0

    def start(self) -> None:
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                start_new_session=True,  # a Ctrl-C in the terminal is for the launcher to handle
                umask=UMASK,
                **self.run_as,
            )
        self.started_at = time.monotonic()
        self.restart_at = 0.0

    def is_running(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def stop(self) -> None:
        """SIGTERM, then SIGKILL for the whole session after ten seconds."""
        if self.popen is None or self.popen.poll() is not None:
            return
        self.popen.terminate()
        try:
            self.popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()


class Launcher:
    """Processes in the order in which they were added; stopped in the reverse one."""

    def __init__(self, log_folder: Path, environment: Mapping[str, str]) -> None:
        self.log_folder = log_folder
        self.environment = dict(environment)
        self.processes: list[Process] = []

    def add(
        self,
        name: str,
        command: list[str],
        *,
        environment: Mapping[str, str] | None = None,
        run_as: RunAs | None = None,
    ) -> Process:
        """Start ``command`` now and keep it running."""
        process = Process(
            name,
            command,
            self.log_folder / f"{name}.log",
            self.environment if environment is None else environment,
            run_as or RunAs(),
        )
        process.start()
        self.processes.append(process)
        return process

    def run(self, command: list[str], *, capture: bool = False) -> str:
        """Run a command to its end. Raises RuntimeError with its last words when it fails."""
        done = subprocess.run(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            umask=UMASK,
        )
        if done.returncode != 0:
            words = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
            raise RuntimeError(f"{' '.join(command[:4])} failed: " + "\n".join(words[-8:]))
        return done.stdout.decode() if capture else ""

    def watch(self, *, say: Callable[[str], None], until: Callable[[], bool]) -> None:
        """Start again what ended, until ``until()`` says so."""
        while not until():
            now = time.monotonic()
            for process in self.processes:
                if process.is_running():
                    if process.failures and now - process.started_at > CALM_SECONDS:
                        process.failures = 0
                elif not process.restart_at:
                    pause = RESTART_PAUSE_SECONDS[
                        min(process.failures, len(RESTART_PAUSE_SECONDS) - 1)
                    ]
                    process.failures += 1
                    process.restart_at = now + pause
                    say(f"{process.name} ended; starting it again in {pause} s. See {process.log}")
                elif now >= process.restart_at:
                    process.start()
            time.sleep(0.2)

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.stop()


def python(*arguments: str) -> list[str]:
    """A command line that runs this very Python."""
    return [sys.executable, *arguments]


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Raises RuntimeError naming ``what`` when ``condition`` is not true within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(0.05)
