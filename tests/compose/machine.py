"""Speak to :mod:`tests.compose.machine_process`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Machine:
    """The process, and its commands as methods: ``machine("show", pk=...)``."""

    def __init__(self, folder: Path, **settings: str) -> None:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "webmail.settings",
            "PYTHONPATH": str(ROOT),
            "SEALPOST_STATE": str(folder),
            "DATABASE_URL": f"sqlite:///{folder / 'machine.sqlite3'}",
            "SEALPOST_LOG_LEVEL": "ERROR",
            "SEALPOST_ALLOWED_HOSTS": "testserver",
            # Where no broker is needed, a doorbell that cannot be reached must harm nobody.
            "SEALPOST_BROKER": settings.pop("broker", "memory://"),
            "SEALPOST_RESULTS": settings.pop("results", "cache+memory://"),
            **settings,
        }
        with (folder / "machine.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.compose.machine_process"],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.log = folder / "machine.log"

    def __call__(self, command: str, **arguments: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([command, arguments]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, self.log.read_text()[-4000:]
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["ok"]

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
