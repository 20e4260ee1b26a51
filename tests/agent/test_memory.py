"""Where keys and passwords are in memory, searched with root's eyes, and how much memory it takes.

Every "nowhere" stands beside the same search that finds them.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import statistics
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.agent.speaker import (
    Unlocked,
    control,
    new_user,
    now_ms,
    open_with,
    proven,
    small_record,
    unlock,
)
from tests.support.agent_node import AgentNode, private_mb, wait_until
from tests.support.memory import masked, search

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(os.geteuid() != 0, reason="an agent's memory is readable by root alone"),
]

ALICE = {"name": "Alice Adams", "address": "alice@acme.example"}
MEMORY_LIMIT_MB = 3.2
"""``make bench`` shows the figure itself (limit 3 MB); this notices when it grows."""


@dataclass(frozen=True)
class Known:
    """A vault whose secrets this process knows only masked."""

    user: str
    password: str
    record: bytes = field(repr=False)
    needles: dict[str, str] = field(repr=False)

    def where(self, *pids: int) -> dict[int, set[str]]:
        """Process id → names of the secrets found in it; all of this machine when none is named."""
        names = list(self.needles)
        found = search(list(self.needles.values()), pids)
        return {pid: {names[number] for number in hits} for pid, hits in found.items()}


@pytest.fixture
def known() -> Known:
    user, password = new_user(), f"a password of {new_user()}"
    made = subprocess.run(
        [sys.executable, "-m", "tests.agent.make_vault", user],
        input=password.encode(), capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    content = json.loads(made.stdout)
    return Known(user, password, base64.b64decode(content["record"]), content["needles"])


def use_both_keys(alice: Unlocked) -> None:
    """Sign a mail, and decrypt a draft."""
    draft = {
        "subject": "s", "from": ALICE, "to": [ALICE], "cc": [], "bcc": [], "text": "t",
        "html": None, "attachments": [], "in_reply_to": "", "references": [], "headers": {},
    }  # fmt: skip
    sealed = alice.ask("seal_draft", payload={"draft": draft})
    assert alice.ask("open_draft", payload=sealed)["draft"]["text"] == "t"
    held = alice.ask(
        "hold",
        payload={
            "draft": draft, "recipients": [ALICE | {"kind": "to", "certificates": []}],
            "encrypt": False, "from": ALICE, "message_id": "<1@acme.example>",
        },
    )  # fmt: skip
    alice.ask("release_sign", payload={"held": held["held"], "date": now_ms()})


def test_private_keys_are_in_the_agent_alone_and_nowhere_after_the_lock(
    node: AgentNode, known: Known
) -> None:
    alice = unlock(node, known.user, record=known.record, password=known.password.encode())
    (agent,) = node.agents()
    assert known.where(agent) == {agent: {"vault key"}}  # keys are opened at their first use
    use_both_keys(alice)
    primes = {f"{purpose} {letter}" for purpose in ("sign", "encrypt") for letter in "pq"}
    assert known.where() == {agent: {"vault key"} | primes}
    control(node, "lock", alice.user)
    assert known.where() == {}


def test_the_search_sees_every_process(tmp_path: Path) -> None:
    """Positive control of the search itself, in a process that has nothing to do with us."""
    needle = os.urandom(32)
    code = f"import time; x = bytes.fromhex('{needle.hex()}'); print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        found = search([masked(needle), masked(os.urandom(32))])
        holder.kill()
    assert set(found) >= {holder.pid, os.getpid()}
    assert all(hits == [0] for hits in found.values())


def test_the_nodes_key_is_in_the_zygote_and_in_no_agent(node: AgentNode) -> None:
    """What opens other users' unlock requests has left an agent before it can be asked anything."""
    unlock(node)
    unlock(node)
    wait_until(lambda: len(node.agents()) == 2)
    assert node.supervisor is not None
    public = proven(node).public[-32:].hex()
    others = [str(pid) for pid in (node.supervisor.pid, *node.services, *node.agents())]
    done = subprocess.run(
        [sys.executable, "-m", "tests.agent.find_node_key", public, str(node.zygote), *others],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [node.zygote]


def processes_with(node: AgentNode, secret: bytes) -> set[int]:
    """Of the node's processes and this test's."""
    assert node.supervisor is not None
    assert node.relay is not None
    processes = [node.supervisor.pid, node.zygote, node.relay.pid, *node.services, *node.agents()]
    return set(search([masked(secret)], [*processes, os.getpid()]))


def test_the_password_is_in_no_process_of_the_node_after_the_unlock(
    node: AgentNode, known: Known
) -> None:
    """Found in this test, which sent it; not in supervisor, zygote, relay or agent."""
    unlock(node, known.user, record=known.record, password=known.password.encode())
    assert processes_with(node, known.password.encode()) == {os.getpid()}


def test_password_and_recovery_code_are_in_no_process_of_the_node_after_the_vault_was_made(
    node: AgentNode,
) -> None:
    password = f"a password of {new_user()}".encode()
    made = open_with(
        node, "create", new_user(), session=uuid.uuid4().hex,
        password=password, session_secret=secrets.token_bytes(32),
        addresses=[ALICE["address"]], key_algorithm="p-256",
    )  # fmt: skip
    assert len(node.agents()) == 1
    code = made["recovery_code"]
    letters = code.replace(b"-", b"")
    for secret in (password, code, letters):
        assert processes_with(node, secret) == {os.getpid()}


def test_an_unlocked_user_takes_little_memory_of_his_own(node: AgentNode) -> None:
    for _ in range(12):
        alice = unlock(node)
        for _ in range(3):
            alice.ask()
    sizes = [private_mb(pid) for pid in node.agents()]
    assert len(sizes) == 12
    assert statistics.median(sizes) <= MEMORY_LIMIT_MB
    assert private_mb(os.getpid()) > MEMORY_LIMIT_MB  # positive control: a process of its own


def test_a_large_message_does_not_stay_in_the_agents_memory(node: AgentNode) -> None:
    alice = unlock(node, record=small_record(user := new_user()), user=user)
    (agent,) = node.agents()
    alice.ask(payload={"echo": bytes(30 * 1024 * 1024)})
    wait_until(lambda: private_mb(agent) < 8, seconds=5, what="giving memory back")
