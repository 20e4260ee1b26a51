"""Mallory writes to the broker. What she can ask of the web's worker is to look at rows again."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from tests.environment import TEST_ENVIRONMENT
from webmail.celery import app

pytestmark = pytest.mark.process

TASKS = {
    "certificates.refresh_due", "compose.advance", "compose.file_draft", "compose.sweep",
    "webmail.accounts.forget_ended", "webmail.agent.tasks.announce_node",
    "webmail.agent.tasks.sweep_nodes",
    "webmail.agent.tasks.sweep_sessions", "webmail.agent.tasks.sweep_spool",
    "webmail.authority.refresh_lists", "webmail.mailbox.sync_account", "webmail.mailbox.sync_due",
    "webmail.mailbox.sync_folder", "webmail.onboarding.deliver_tour",
}  # fmt: skip
"""Each takes an id or nothing, and does what its row says and when; ``announce`` takes a signed
description of a node."""


def test_the_worker_runs_no_other_task() -> None:
    app.loader.import_default_modules()
    ours = {name for name in app.tasks if not name.startswith("celery.")}
    assert ours == TASKS


def test_only_json_is_read() -> None:
    assert app.conf.accept_content == app.conf.result_accept_content == ["json"]


@pytest.fixture
def worker(broker: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **TEST_ENVIRONMENT,
        "PATH": "/usr/bin:/bin",
        "DJANGO_SETTINGS_MODULE": "webmail.settings",
        "SEALPOST_STATE": str(tmp_path),
        "SEALPOST_BROKER": broker,
        "SEALPOST_RESULTS": broker,
    }
    log = tmp_path / "log"
    with log.open("wb") as out:
        running = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "webmail", "worker", "-P", "solo", "-l", "INFO",
             "-Q", "nothing", "-n", "attacked@test"],
            env=environment, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    deadline = time.monotonic() + 60
    while b"ready" not in log.read_bytes():
        assert running.poll() is None, log.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    yield running
    running.terminate()
    running.wait(20)


def test_the_broker_cannot_end_or_question_the_worker(
    worker: subprocess.Popen[bytes], broker: str
) -> None:
    mallory = Celery(broker=broker, backend=broker)
    assert not mallory.control.inspect(timeout=2).conf()
    mallory.control.shutdown()
    time.sleep(2)
    assert worker.poll() is None
