"""The whole system as ``make demo`` starts it; by settings alone on PostgreSQL and RabbitMQ too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from launcher.demo import Demo
from launcher.ports import free_ports
from tests.support.postgres import running_postgres
from tests.support.rabbitmq import running_rabbitmq
from tests.support.servers import short_folder

CALLER = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
"""The journey has its own secrets and database, not those of the test run."""


@pytest.fixture(scope="package", params=["embedded", "shared"])
def demo(request: pytest.FixtureRequest) -> Iterator[Demo]:
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        settings = {"SEALPOST_UNDO_SEND": "2"}
        if request.param == "shared":
            settings["DATABASE_URL"] = stack.enter_context(running_postgres())
            settings["SEALPOST_BROKER"] = stack.enter_context(running_rabbitmq())
        system = Demo(folder / "state", port=free_ports(1)[0], settings=settings, caller=CALLER)
        stack.callback(system.sealpost.stop)
        stack.callback(_show_troubles, system)
        system.start()
        yield system


def _show_troubles(demo: Demo) -> None:
    """What the processes logged above INFO; pytest shows it beside a test that failed."""
    for log in sorted((demo.state / "log").glob("*.log")):
        lines = [
            line for line in log.read_text(errors="replace").splitlines() if " INFO" not in line
        ]
        print(f"--- {log.name}", *lines[-80:], sep="\n")
