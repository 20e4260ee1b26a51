"""The same sync, on PostgreSQL, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.postgres import running_postgres


def test_sync_and_actions_hold_on_postgresql() -> None:
    with running_postgres() as database:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
             "tests/mailbox/test_sync.py", "tests/mailbox/test_actions.py",
             "tests/mailbox/test_lists.py"],
            env={**os.environ, "DATABASE_URL": database},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
