"""The private broker of the embedded default: Debian's redis-server on a unix socket."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import IO

SOCKET_NAME = "redis.sock"
START_SECONDS = 10.0


def redis_command(folder: Path) -> list[str]:
    """The command line of a Redis that listens on ``folder/redis.sock`` only and writes nothing.

    Nothing is persisted: the broker is a doorbell, and what it forgets the sweepers ring again.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("redis-server is not installed. Run: apt-get install redis-server")
    return [
        program,
        "--port", "0",
        "--unixsocket", str(folder / SOCKET_NAME),
        "--unixsocketperm", "600",
        "--dir", str(folder),
        "--save", "",
        "--appendonly", "no",
        "--maxmemory-policy", "noeviction",
        "--loglevel", "warning",
    ]  # fmt: skip


def wait_for_socket(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Return when ``path`` exists. Raises RuntimeError if ``process`` ends or 10 s pass before."""
    deadline = time.monotonic() + START_SECONDS
    while not path.exists():
        if process.poll() is not None:
            raise RuntimeError(
                f"the process for {path.name} ended with status {process.returncode}"
            )
        if time.monotonic() > deadline:
            raise RuntimeError(f"{path.name} did not appear within {START_SECONDS:.0f} s")
        time.sleep(0.01)


def start_redis(folder: Path, log: IO[bytes] | int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start a private Redis in ``folder`` and wait for its socket."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SOCKET_NAME).unlink(missing_ok=True)
    process = subprocess.Popen(
        redis_command(folder), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
    )
    wait_for_socket(folder / SOCKET_NAME, process)
    return process
