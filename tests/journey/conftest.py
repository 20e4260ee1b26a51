"""The whole system as ``make demo`` starts it, on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from launcher.demo import Demo
from launcher.ports import free_ports
from tests.support.postgres import running_postgres
from tests.support.servers import short_folder

CALLER = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
"""The journey has its own secrets and database, not those of the test run."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def demo(request: pytest.FixtureRequest) -> Iterator[Demo]:
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        settings = {"SEALPOST_UNDO_SEND": "2"}
        if request.param == "postgresql":
            settings["DATABASE_URL"] = stack.enter_context(running_postgres())
        system = Demo(folder / "state", port=free_ports(1)[0], settings=settings, caller=CALLER)
        stack.callback(system.sealpost.stop)
        system.start()
        yield system
