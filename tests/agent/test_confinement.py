"""An agent can do nothing but speak over its socket; every refusal stands beside its control."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crypto_agent import harden
from tests.agent.conftest import StartNode
from tests.agent.speaker import status, unlock
from tests.support.agent_node import AgentNode, wait_until

pytestmark = pytest.mark.process

FORBIDDEN = (
    "open a file",
    "write a file",
    "list a folder",
    "look at another process",
    "make a TCP socket",
    "connect an inherited TCP socket",
    "make a unix socket",
    "start a program",
    "fork",
    "trace a child",
    "read another's memory",
    "signal another",
    "make memory executable",
    "map executable memory",
)
ALLOWED = (
    "speak over an inherited socket",
    "allocate memory",
    "know the time",
    "draw random octets",
)
BEHIND_LANDLOCK = {
    "open a file": 1,
    "write a file": 1,
    "list a folder": 1,
    "look at another process": 1,
    "connect an inherited TCP socket": 4,
    "signal another": 6,
}
"""Refused by Landlock alone → since which version of it."""
BEHIND_MDWE = ("make memory executable", "map executable memory")

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="looks at a process of another user id")


def run_probes(how: str) -> dict[str, dict[str, str]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.agent.probes", how],
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    probed: dict[str, dict[str, str]] = json.loads(done.stdout)
    return probed


@pytest.fixture(scope="module")
def free() -> dict[str, str]:
    return run_probes("free")["done"]


@pytest.fixture(scope="module")
def hardened() -> dict[str, dict[str, str]]:
    return run_probes("agent")


@pytest.fixture(scope="module")
def without_seccomp() -> dict[str, dict[str, str]]:
    return run_probes("walls")


def landlock_version() -> int:
    return int(harden._libc.syscall(harden._SYS_LANDLOCK_CREATE_RULESET, None, 0, 1))


@pytest.mark.parametrize("act", FORBIDDEN)
def test_an_agent_cannot(
    act: str, free: dict[str, str], hardened: dict[str, dict[str, str]]
) -> None:
    assert free[act] == "done"  # positive control: the probe does work
    assert hardened["report"]["seccomp"] == "on"
    assert hardened["done"][act] == "EPERM"


@pytest.mark.parametrize("act", ALLOWED)
def test_an_agent_can(act: str, hardened: dict[str, dict[str, str]]) -> None:
    assert hardened["done"][act] == "done"


@pytest.mark.parametrize("act", BEHIND_LANDLOCK)
def test_landlock_is_a_wall_of_its_own(
    act: str, free: dict[str, str], without_seccomp: dict[str, dict[str, str]]
) -> None:
    if landlock_version() < BEHIND_LANDLOCK[act]:
        pytest.skip("this kernel's Landlock does not know it")
    assert without_seccomp["report"]["landlock"] == "on"
    assert free[act] == "done"
    assert without_seccomp["done"][act] in ("EACCES", "EPERM")


@pytest.mark.parametrize("act", BEHIND_MDWE)
def test_memory_stays_data_without_seccomp_too(
    act: str, free: dict[str, str], without_seccomp: dict[str, dict[str, str]]
) -> None:
    if without_seccomp["report"]["memory deny write execute"] != "on":
        pytest.skip("this kernel does not know it")
    assert free[act] == "done"
    assert without_seccomp["done"][act] in ("EACCES", "EPERM")


def test_an_agent_that_grows_without_end_is_stopped(
    free: dict[str, str], hardened: dict[str, dict[str, str]]
) -> None:
    assert free["allocate without end"] == "done"
    assert hardened["done"]["allocate without end"] == "refused"


def in_a_child(act: Callable[[], object]) -> int:
    """Run ``act`` in a forked process; its exit status, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
        finally:
            os._exit(0)
    _, ended = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(ended)


def count(rounds: int) -> int:
    return sum(1 for _ in range(rounds))


def test_a_request_that_computes_without_end_is_stopped() -> None:
    assert in_a_child(lambda: count(1000)) == 0

    def endless() -> None:
        harden.limit_cpu(1)
        while True:
            count(10_000_000)

    assert in_a_child(endless) == -24  # SIGXCPU


def test_the_next_request_has_its_own_time() -> None:
    def two() -> None:
        for _ in range(3):
            harden.limit_cpu(1)
            count(3_000_000)

    assert in_a_child(two) == 0


# --------------------------------------------------------------------------- a living agent


def facts(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_a_living_agent_has_given_up_what_it_says(node: AgentNode) -> None:
    unlock(node)
    (agent,) = node.agents()
    said = status(node)["hardening"]
    living = facts(agent)
    assert (said["seccomp"] == "on") == (living["Seccomp"].strip() == "2")
    assert living["NoNewPrivs"].strip() == "1"
    assert facts(os.getpid())["NoNewPrivs"].strip() == "0"  # positive control
    limits = Path(f"/proc/{agent}/limits").read_text()
    for name in ("Max core file size", "Max file size"):
        line = next(line for line in limits.splitlines() if line.startswith(name))
        assert line.removeprefix(name).split()[:2] == ["0", "0"]


def test_what_the_nodes_processes_free_is_overwritten(node: AgentNode) -> None:
    """Control: a Python that was started like any other leaves it as it was."""
    look = "from crypto_agent.harden import overwrites_freed_memory as look; print(look())"
    plain = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    said = subprocess.run(
        [sys.executable, "-c", look], env=plain, capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith("not available")
    if platform.libc_ver()[0] == "glibc":
        assert status(node)["hardening"]["overwriting freed memory"] == "on"


def held(pid: int) -> list[str]:
    """What the descriptors of a process are."""
    return [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]


@needs_root
def test_an_agent_inherits_one_socket_and_nothing_else(node: AgentNode) -> None:
    """No other user's connection, no log file, no descriptor of the supervisor's."""
    unlock(node)
    unlock(node)
    for agent in node.agents():
        wait_until(lambda pid=agent: len(held(pid)) == 1, seconds=3, what="the end of the request")
        assert held(agent)[0].startswith("socket:")
    assert node.supervisor is not None
    assert len(held(node.supervisor.pid)) > 5  # positive control


@needs_root
def test_the_zygote_stands_behind_the_same_wall(node: AgentNode) -> None:
    living = facts(node.zygote)
    assert living["NoNewPrivs"].strip() == "1"
    assert run_as(0, node.zygote) == "done"  # root may; see what SECURITY.md does not promise


@needs_root
def test_every_agent_has_a_user_id_of_its_own_that_gives_no_way_in(start_node: StartNode) -> None:
    """Not to another agent of the node, nor to a program that came to run under the same id."""
    with start_node(SEALPOST_AGENT_UIDS="700000-700009", SEALPOST_SERVICES="verifier") as node:
        alice, mallory = unlock(node), unlock(node)
        assert status(node)["hardening"]["own user id"] == "on"
        uids = {agent: os.stat(f"/proc/{agent}/cmdline").st_uid for agent in node.agents()}
        real = {int(facts(agent)["Uid"].split()[0]) for agent in uids}
        assert len(real) == 2
        assert all(700000 <= uid <= 700009 for uid in real)
        for agent in node.agents():
            uid = int(facts(agent)["Uid"].split()[0])
            assert facts(agent)["CapEff"].strip() == "0" * 16
            assert run_as(uid, agent) == "PermissionError"
            assert run_as_beside(uid) == "done"  # positive control: not of any process
        assert alice.ask() == mallory.ask()


def run_as(uid: int, pid: int) -> str:
    """Try to read the memory of ``pid`` as ``uid``."""
    code = (
        f"import os\nos.setresgid({uid},{uid},{uid}); os.setresuid({uid},{uid},{uid})\n"
        f"try:\n open('/proc/{pid}/mem','rb').close()\n"
        "except OSError as error: print(type(error).__name__)\nelse: print('done')"
    )
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def run_as_beside(uid: int) -> str:
    """The same with an ordinary process of that user id."""
    victim: Any = subprocess.Popen(["sleep", "30"], user=uid, group=uid)
    try:
        return run_as(uid, victim.pid)
    finally:
        victim.kill()
        victim.wait()
