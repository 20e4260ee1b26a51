"""Real servers for tests, each in its own folder and on its own port."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launcher.dovecot import Dovecot, start_dovecot
from launcher.redis import SOCKET_NAME, start_redis

PASSWORD = "mail server password of the tests"


@contextmanager
def short_folder() -> Iterator[Path]:
    """A temporary folder whose path is short enough for unix sockets and open to other users."""
    folder = Path(tempfile.mkdtemp(prefix="sp-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_dovecot(*addresses: str) -> Iterator[Dovecot]:
    """A Dovecot with a mailbox per address, all with :data:`PASSWORD`."""
    with short_folder() as folder:
        dovecot = start_dovecot(folder / "mail", dict.fromkeys(addresses, PASSWORD))
        try:
            yield dovecot
        finally:
            dovecot.stop()


@contextmanager
def running_redis() -> Iterator[str]:
    """A Redis without persistence; yields its broker address."""
    with short_folder() as folder:
        process = start_redis(folder)
        try:
            yield f"redis+socket://{folder / SOCKET_NAME}"
        finally:
            process.terminate()
            process.wait(10)
