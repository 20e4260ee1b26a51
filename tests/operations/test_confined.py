"""A confined agent may open nothing: every operation works without a file, import or process."""

from __future__ import annotations

import subprocess
import sys


def test_no_operation_opens_or_imports_anything() -> None:
    """In a process of its own, where no other test has imported what is missing here."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.operations.confined"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
