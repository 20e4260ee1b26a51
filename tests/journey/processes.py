"""The processes of a running demo, and holding one of them up."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from launcher.demo import Demo


def process_of(demo: Demo, name: str) -> int:
    (process,) = [each for each in demo.sealpost.launcher.processes if each.name == name]
    assert process.popen is not None
    return process.popen.pid


@contextmanager
def while_it_waits(demo: Demo, act: Callable[[], object]) -> Iterator[None]:
    """``act`` under way, and its request to the agent not answered before this ends."""
    relay = process_of(demo, "relay")
    with ThreadPoolExecutor(1) as pool:
        os.kill(relay, signal.SIGSTOP)
        try:
            done = pool.submit(act)
            yield
        finally:
            os.kill(relay, signal.SIGCONT)
        done.result(60)
