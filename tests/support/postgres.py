"""A private PostgreSQL cluster in a temporary folder, on a unix socket only."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers import short_folder

DATABASE = "sealpost"


def _program(name: str) -> str:
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / name).exists():
            return str(folder / name)
    found = shutil.which(name)
    if found is None:
        raise RuntimeError("PostgreSQL is not installed. Run: apt-get install postgresql")
    return found


def _as_user() -> dict[str, object]:
    """PostgreSQL refuses to run as root; Debian's package brings the user ``postgres``."""
    if os.geteuid() != 0:
        return {}
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


@contextmanager
def running_postgres() -> Iterator[str]:
    """Yields a ``postgres://`` address whose database exists and is empty."""
    with short_folder() as folder:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        data = folder / "data"
        user = _as_user()
        subprocess.run(
            [_program("initdb"), "-D", str(data), "-U", "sealpost", "-A", "trust", "-E", "UTF8",
             "--no-locale", "--no-sync"],
            check=True, capture_output=True, cwd=folder, **user,
        )  # fmt: skip
        process = subprocess.Popen(
            [_program("postgres"), "-D", str(data), "-k", str(folder), "-c", "listen_addresses=",
             "-c", "fsync=off", "-c", "max_connections=200"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, **user,
        )  # fmt: skip
        try:
            _create_database(folder)
            yield f"postgres://sealpost@/{DATABASE}?host={folder}"
        finally:
            process.terminate()
            process.wait(20)


def _create_database(folder: Path) -> None:
    import psycopg

    deadline = time.monotonic() + 20
    while True:
        try:
            with psycopg.connect(
                f"host={folder} user=sealpost dbname=postgres", autocommit=True
            ) as connection:
                connection.execute(f"CREATE DATABASE {DATABASE}")
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def dump_postgres(address: str) -> bytes:
    """Everything a database holds, as the program for backups writes it."""
    done = subprocess.run([_program("pg_dump"), "--dbname", address], check=True,
                          capture_output=True)  # fmt: skip
    return done.stdout
