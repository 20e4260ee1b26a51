"""What agents cost: time to fork and unlock, memory per user, and the way through the broker.

``python -m bench.agent [users]`` prints one line per figure, with its limit.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("SEALPOST_STATE", tempfile.mkdtemp(prefix="sealpost-bench-"))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webmail.settings")

import tests.environment  # noqa: F401 - throw-away secrets, before Django reads any
from crypto_agent.keyring import ways
from crypto_agent.keyring.generate import PrivateKey, generate
from crypto_agent.keyring.vault import PURPOSES, found_vault
from crypto_agent.protocol import TASK_HANDLE
from tests.support.agent_node import AgentNode, running_node, use_broker
from tests.support.servers import running_redis

PASSWORD = b"a password for measuring"
ROUNDS = 200
UNLOCK_LIMIT_MS = 25.0
MEMORY_LIMIT_MB = 3.0
TRIP_LIMIT_MS = 2.0


def private_mb(pid: int) -> float:
    """Private_Clean + Private_Dirty of a process in MB."""
    total = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean", "Private_Dirty")):
            total += int(line.split()[1])
    return total / 1024


def say(name: str, value: float, unit: str, limit: float) -> None:
    mark = "ok" if value <= limit else "OVER"
    print(f"{name:<52} {value:8.2f} {unit}  (limit {limit:g} {unit}) {mark}", flush=True)


def argon2_ms() -> float:
    times = []
    for _ in range(9):
        begin = time.perf_counter()
        ways.spend(PASSWORD)
        times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)


def measure_unlock(node: AgentNode, user: str, record: bytes) -> list[float]:
    """Milliseconds from sending to the agent's reply, over the supervisor's own socket."""
    import secrets
    import socket
    import uuid

    from crypto_agent import frames
    from crypto_agent.protocol import (
        NodeDescriptor,
        caller_key,
        make_request,
        node_identity,
        open_reply,
    )
    from tests.support.agent_node import SECRET

    now = time.time_ns() // 1_000_000
    identity = node_identity(SECRET).public_key()
    descriptor = NodeDescriptor.from_wire(node.descriptor(), identity, now=now)
    times = []
    for _ in range(21):
        envelope, reply_key = make_request(
            op="unlock", user=user, session=uuid.uuid4().hex, task=str(uuid.uuid4()),
            to=descriptor.start, recipient=descriptor.public, caller=caller_key(SECRET),
            now=time.time_ns() // 1_000_000,
            payload={
                "record": record, "way": "password", "secret": PASSWORD,
                "session_secret": secrets.token_bytes(32),
            },
        )  # fmt: skip
        for pid in node.agents():
            os.kill(pid, 9)
        time.sleep(0.05)
        begin = time.perf_counter()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(node.socket_path))
            header = frames.header_frame(envelope, len(envelope.body))
            connection.sendall(header + envelope.body)
            _, sealed = frames.receive_reply(connection)
        times.append((time.perf_counter() - begin) * 1000)
        open_reply(envelope, reply_key, sealed)
    return times


def small_vault(user: str, keys: list[PrivateKey]) -> bytes:
    """A record with both keys, wrapped at the floor cost: what is measured is not Argon2id."""
    vault = found_vault(user)
    for key, purpose in zip(keys, PURPOSES, strict=True):
        vault.add_key(key, purpose=purpose, algorithm="rsa-3072", now=0)
    vault.wrap_for(ways.PASSWORD, PASSWORD, cost=ways.FLOOR)
    return vault.record.to_bytes()


def main() -> int:
    users = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0, skip_checks=True)
    from webmail.accounts.models import User
    from webmail.agent import door, nodes
    from webmail.agent.models import Vault
    from webmail.celery import app

    with running_redis() as broker, tempfile.TemporaryDirectory() as spool:
        use_broker(broker, Path(spool))
        with running_node(broker, Path(spool), SEALPOST_MAX_AGENTS="1000") as node:
            node.wait_for_services()
            nodes.remember(node.descriptor())

            # --- the way through the broker
            user = User.objects.create_user("bench@acme.example")
            holder, _ = door.create_vault(
                user.hex,
                {
                    "password": bytearray(PASSWORD),
                    "addresses": ["bench@acme.example"],
                    "key_algorithm": "rsa-3072",
                },
            )
            bare, sealed = [], []
            for _ in range(ROUNDS):
                begin = time.perf_counter()
                # An empty request is refused by the relay at once: a task without any work.
                result = app.send_task(
                    TASK_HANDLE, args=[{}], queue="agent.test", ignore_result=False
                )
                result.get(timeout=10)
                result.forget()
                bare.append((time.perf_counter() - begin) * 1000)
                begin = time.perf_counter()
                door.call(holder, "ping", {})
                sealed.append((time.perf_counter() - begin) * 1000)
            bare_ms, sealed_ms = statistics.median(bare), statistics.median(sealed)
            print(f"bare Celery task {bare_ms:.2f} ms, sealed request {sealed_ms:.2f} ms (medians)")
            say("sealed round trip beyond a bare Celery task", sealed_ms - bare_ms, "ms",
                TRIP_LIMIT_MS)  # fmt: skip

            # --- fork and unlock
            record = bytes(Vault.objects.get(user=user).record)
            stretch = argon2_ms()
            unlock = statistics.median(measure_unlock(node, user.hex, record))
            print(f"Argon2id {stretch:.1f} ms, fork and unlock {unlock:.1f} ms (medians)")
            say("agent fork + unlock beyond Argon2id", unlock - stretch, "ms", UNLOCK_LIMIT_MS)

            # --- memory
            door.lock(user.hex)
            keys = [generate("rsa-3072"), generate("rsa-3072")]
            for number in range(users):
                person = User.objects.create_user(f"bench{number}@acme.example")
                Vault.objects.create(user=person, record=small_vault(person.hex, keys))
                holder = door.unlock(person.hex, way="password", secret=bytearray(PASSWORD))
                for _ in range(3):
                    door.call(holder, "ping", {})
            memory = [private_mb(pid) for pid in node.agents()]
            print(
                f"{len(memory)} unlocked users, each with two RSA-3072 keys, after three requests"
            )
            say("private memory per unlocked user (median)", statistics.median(memory), "MB",
                MEMORY_LIMIT_MB)  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
