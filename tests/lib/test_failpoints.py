from __future__ import annotations

import os
import subprocess
import sys

import pytest

from webmail.lib import failpoints
from webmail.lib.failpoints import EXIT_CODE, Failpoint, failpoint, parse

PROGRAM = """
from webmail.lib.failpoints import failpoint
print("before", flush=True)
failpoint("send.after_dot")
print("after", flush=True)
"""


def run(armed: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SEALPOST_FAILPOINTS": armed}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_armed_exit_ends_the_process_there() -> None:
    ended = run("send.after_dot=exit")
    assert (ended.returncode, ended.stdout) == (EXIT_CODE, "before\n")


def test_nothing_happens_at_another_place_or_when_unset() -> None:
    for armed in ("", "send.before_dot=exit"):
        ended = run(armed)
        assert (ended.returncode, ended.stdout) == (0, "before\nafter\n"), ended.stderr


def test_an_armed_raise_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failpoints, "_armed", parse("a=raise; b=sleep:0.01"))
    failpoint("b")
    with pytest.raises(Failpoint):
        failpoint("a")


@pytest.mark.parametrize("text", ["a", "a=stop", "=exit", "a=sleep", "a=exit:1", "a=sleep:x"])
def test_a_wrong_setting_stops_the_start(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)
