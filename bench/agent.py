"""What agents cost: the way through the broker, time to fork and unlock, memory per user."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from django.core.management import call_command

from bench.figures import say, say_beyond
from crypto_agent.keyring import ways
from crypto_agent.keyring.generate import PrivateKey, generate
from crypto_agent.keyring.vault import PURPOSES, found_vault
from crypto_agent.protocol import TASK_HANDLE, AgentDescriptor, make_request, open_reply
from tests.agent.speaker import CALLER, PASSWORD, new_user, unlock
from tests.support.agent_node import AgentNode, private_mb, running_node, use_broker
from tests.support.servers import running_redis
from webmail.accounts.models import User
from webmail.agent import door, nodes
from webmail.agent.door import KeyHolderSession
from webmail.agent.exchange import ask_agent, new_task_id, now_ms
from webmail.agent.models import KeySession
from webmail.celery import app

TRIPS = 300
UNLOCKS = 25
USERS = 200
TRIP_LIMIT_MS = 2.0
UNLOCK_LIMIT_MS = 25.0
MEMORY_LIMIT_MB = 3.0


def took_ms(act: Callable[[], object]) -> float:
    begin = time.perf_counter()
    act()
    return (time.perf_counter() - begin) * 1000


def bare_task() -> None:
    """A Celery task without any work: the relay refuses an empty request at once."""
    result = app.send_task(TASK_HANDLE, args=[{}], queue="agent.test", ignore_result=False)
    result.get(timeout=10)
    result.forget()


def round_trip(holder: KeyHolderSession, agent: AgentDescriptor) -> None:
    """A request that asks for nothing: sealed, carried, opened by the agent, and its answer."""
    envelope, reply_key = make_request(
        op="ping", user=holder.user, session=holder.session, task=new_task_id(), to=agent.agent,
        recipient=agent.public, payload={}, caller=CALLER, now=now_ms(),
        session_secret=holder.secret,
    )  # fmt: skip
    sealed = ask_agent(agent.node, envelope)
    assert isinstance(sealed, bytes)
    open_reply(envelope, reply_key, sealed)


def measure_trip() -> None:
    user = User.objects.create_user("bench@acme.example")
    holder, _ = door.create_vault(
        user.hex,
        {
            "password": bytearray(PASSWORD),
            "addresses": ["bench@acme.example"],
            "key_algorithm": "rsa-3072",
        },
    )
    agent = AgentDescriptor.from_bytes(bytes(KeySession.objects.get(pk=holder.session).descriptor))
    bare, sealed, called = [], [], []
    for _ in range(TRIPS):
        bare.append(took_ms(bare_task))
        sealed.append(took_ms(lambda: round_trip(holder, agent)))
        called.append(took_ms(lambda: door.call(holder, "ping", {})))
    door.lock(user.hex)
    say("bare Celery task (reference)", bare, "ms")
    say("agent round trip", sealed, "ms")
    say_beyond("  beyond the bare task", sealed, bare, "ms", limit=TRIP_LIMIT_MS)
    say("the same for a page, with its session's row", called, "ms")


def record_of(user: str, keys: list[PrivateKey], cost: ways.Cost) -> bytes:
    vault = found_vault(user)
    for key, purpose in zip(keys, PURPOSES, strict=True):
        vault.add_key(key, purpose=purpose, algorithm="rsa-3072", now=0)
    vault.wrap_for(ways.PASSWORD, PASSWORD, cost=cost)
    return vault.record.to_bytes()


def measure_unlock(node: AgentNode, keys: list[PrivateKey]) -> None:
    """From sending the request to the agent's reply, over the supervisor's own socket."""
    user = new_user()
    record = record_of(user, keys, ways.DEFAULT)
    stretched, unlocked = [], []
    for _ in range(UNLOCKS):
        node.end_agents()
        stretched.append(took_ms(lambda: ways.spend(PASSWORD)))
        unlocked.append(took_ms(lambda: unlock(node, user, record=record)))
    node.end_agents()
    say("Argon2id, 64 MiB, 3 passes (reference)", stretched, "ms")
    say("fork and unlock", unlocked, "ms")
    say_beyond("  beyond Argon2id", unlocked, stretched, "ms", limit=UNLOCK_LIMIT_MS)


def measure_memory(node: AgentNode, keys: list[PrivateKey]) -> None:
    for _ in range(USERS):
        user = new_user()
        alice = unlock(node, user, record=record_of(user, keys, ways.FLOOR))
        for _ in range(3):
            alice.ask()
    sizes = [private_mb(pid) for pid in node.agents()]
    print(f"{len(sizes)} unlocked users, each with two RSA-3072 keys, after three requests:")
    say("private memory per unlocked user", sizes, "MB", limit=MEMORY_LIMIT_MB)


def main() -> None:
    call_command("migrate", verbosity=0, skip_checks=True)
    with running_redis() as broker, tempfile.TemporaryDirectory() as spool:
        use_broker(broker, Path(spool))
        with running_node(broker, Path(spool), SEALPOST_MAX_AGENTS="1000") as node:
            node.wait_for_services()
            nodes.remember(node.descriptor())
            keys = [generate("rsa-3072") for _ in PURPOSES]
            measure_trip()
            measure_unlock(node, keys)
            measure_memory(node, keys)


if __name__ == "__main__":
    main()
