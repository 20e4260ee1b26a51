"""What Mallory sends, replays, swaps or writes into broker and database is refused."""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from crypto_agent import frames
from crypto_agent.protocol import (
    BODY_LIMIT,
    HEADER_LIMIT,
    REQUEST_LIFETIME_MS,
    TASK_ANNOUNCE,
    TASK_HANDLE,
    Envelope,
    ErrorCode,
    NodeDescriptor,
    ProtocolError,
    SealingKey,
    caller_key,
    node_identity,
    open_request,
    pack,
    read_control,
)
from tests.agent.conftest import ALICE, MALLORY, with_vault
from tests.agent.speaker import (
    CALLER,
    PASSWORD,
    Unlocked,
    ask_service,
    control,
    deliver,
    exchange,
    new_user,
    now_ms,
    opener,
    proven,
    small_record,
    unlock,
)
from tests.support.agent_node import AgentNode, wait_until
from webmail.agent import door, nodes
from webmail.agent.door import KeyHolderSession
from webmail.agent.models import KeySession, Node, Vault
from webmail.agent.tasks import announce_node
from webmail.celery import app

pytestmark = pytest.mark.process

MALLORYS_CALLER = caller_key(bytes(32))


def refused(code: ErrorCode) -> Any:
    return pytest.raises(ProtocolError, match=f"^{code.value}")


@pytest.fixture
def unlocked(node: AgentNode) -> Unlocked:
    return unlock(node)


# --------------------------------------------------------------------------- sessions


def test_who_does_not_hold_the_session_secret_is_refused(unlocked: Unlocked) -> None:
    assert unlocked.ask() == {"echo": "hello"}
    with refused(ErrorCode.WRONG_SESSION):
        unlocked.ask(session_secret=bytes(32))
    with refused(ErrorCode.WRONG_SESSION):
        unlocked.ask(session_secret=None)


def test_a_session_that_is_none_is_refused(unlocked: Unlocked) -> None:
    with refused(ErrorCode.NOT_UNLOCKED):
        unlocked.ask(session="5" * 32)


def test_one_users_session_says_nothing_to_anothers_agent(node: AgentNode) -> None:
    alice, mallory = unlock(node), unlock(node)
    with refused(ErrorCode.AGENT_GONE):  # her own session, his agent
        mallory.ask(to=alice.agent.agent, recipient=alice.agent.public)
    with refused(ErrorCode.NOT_UNLOCKED):  # his name, her session
        mallory.ask(user=alice.user, to=alice.agent.agent, recipient=alice.agent.public)


def test_only_what_the_vault_sealed_is_released(unlocked: Unlocked) -> None:
    """The worker has no session; a forged blob is all that somebody in its place could bring."""
    with refused(ErrorCode.FORGED):
        unlocked.ask(
            "release_sign", session="", session_secret=None,
            payload={"held": bytes(200), "date": now_ms()},
        )  # fmt: skip
    with refused(ErrorCode.NOT_UNLOCKED):  # and nothing else goes without a session
        unlocked.ask("seal_draft", session="", session_secret=None)


# --------------------------------------------------------------------------- callers


FORGERIES: dict[str, Callable[[AgentNode, Unlocked], object]] = {
    "session": lambda node, alice: alice.ask(caller=MALLORYS_CALLER),
    "unlock": lambda node, alice: deliver(
        node,
        opener(node, "unlock", alice.user, session="5" * 32, record=None)[0].sign(MALLORYS_CALLER),
    ),
    "lock": lambda node, alice: control(node, "lock", alice.user, caller=MALLORYS_CALLER),
    "status": lambda node, alice: control(node, "status", "", caller=MALLORYS_CALLER),
    "service": lambda node, alice: ask_service(
        node, "verifier", "ping", {}, caller=MALLORYS_CALLER
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_task_that_no_process_of_ours_signed_is_refused(
    node: AgentNode, unlocked: Unlocked, forgery: str
) -> None:
    with refused(ErrorCode.FORGED):
        FORGERIES[forgery](node, unlocked)
    assert unlocked.ask() == {"echo": "hello"}  # positive control; and the lock did nothing


@pytest.mark.parametrize("late_ms", [-REQUEST_LIFETIME_MS - 1000, 2 * REQUEST_LIFETIME_MS])
def test_a_request_of_another_time_is_refused(
    node: AgentNode, unlocked: Unlocked, late_ms: int
) -> None:
    with refused(ErrorCode.EXPIRED):
        unlocked.ask(now=now_ms() + late_ms)
    with refused(ErrorCode.EXPIRED):
        ask_service(node, "verifier", "ping", {}, now=now_ms() + late_ms)


def test_a_request_is_done_once(node: AgentNode, unlocked: Unlocked) -> None:
    envelope, _ = unlocked.request()
    deliver(node, envelope)
    with refused(ErrorCode.REPLAYED):
        deliver(node, envelope)


def test_an_unlock_is_done_once(node: AgentNode) -> None:
    user = new_user()
    envelope, _ = opener(
        node, "unlock", user, session="5" * 32,
        record=small_record(user), way="password", secret=PASSWORD, session_secret=bytes(32),
    )  # fmt: skip
    deliver(node, envelope)
    node.end_agents()
    with refused(ErrorCode.REPLAYED):
        deliver(node, envelope)
    wait_until(lambda: node.agents() == [], seconds=3)


def test_a_body_of_another_request_is_refused(node: AgentNode, unlocked: Unlocked) -> None:
    first, _ = unlocked.request()
    second, _ = unlocked.request()
    with refused(ErrorCode.FORGED):
        deliver(node, replace(first, body=second.body))


@pytest.mark.parametrize("op", ["export", "open_key", "lock!", "create", ""])
def test_what_is_not_in_the_list_is_not_done(unlocked: Unlocked, op: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        unlocked.ask(op)
    assert caught.value.code in (ErrorCode.UNKNOWN_OPERATION, ErrorCode.NODE_GONE)


@pytest.mark.parametrize(
    ("service", "op"),
    [("verifier", "hold"), ("timestamp", "issue"), ("postmaster", "open"), ("root", "ping")],
)
def test_a_service_does_only_its_own(node: AgentNode, service: str, op: str) -> None:
    descriptor = proven(node)
    recipient = descriptor.service(service if service != "root" else "verifier")
    envelope, _ = _service_request(service, op, descriptor, recipient)
    with refused(ErrorCode.UNKNOWN_OPERATION):
        deliver(node, envelope)


def _service_request(name: str, op: str, descriptor: NodeDescriptor, recipient: bytes) -> Any:
    from crypto_agent.protocol import make_request

    return make_request(
        op=op, user=f"service:{name}", session="", task="t", to=descriptor.start,
        recipient=recipient, payload={}, caller=CALLER, now=now_ms(),
    )  # fmt: skip


# --------------------------------------------------------------------------- another's unlock


def test_an_agent_cannot_open_what_was_sealed_to_the_node(node: AgentNode) -> None:
    """Mallory, with all of the web at her command, brings Alice's unlock request to her own agent.

    ``test_memory`` shows that the node's key is not there at all.
    """
    mallory = unlock(node)
    alice = new_user()
    envelope, _ = opener(
        node, "unlock", alice, session="5" * 32,
        record=small_record(alice), way="password", secret=PASSWORD, session_secret=bytes(32),
    )  # fmt: skip
    wrapped, _ = mallory.request()
    swapped = replace(wrapped, body=envelope.body, digest=envelope.digest)
    with refused(ErrorCode.FORGED):
        deliver(node, swapped.prove(mallory.secret).sign(CALLER))
    deliver(node, envelope)  # positive control: it is whole, and the node opens it


# --------------------------------------------------------------------------- size and shape


def test_a_body_above_the_limit_is_refused_by_its_announcement(unlocked: Unlocked) -> None:
    envelope, _ = unlocked.request()
    kind, content = exchange(unlocked.node, frames.header_frame(envelope, BODY_LIMIT + 1))
    assert (kind, content) == (frames.ERROR, b"too_large")
    assert unlocked.ask() == {"echo": "hello"}


@pytest.mark.parametrize("length", [0, 1, HEADER_LIMIT + 1, 0xFFFFFFFF])
def test_a_header_of_a_wrong_length_is_refused(node: AgentNode, length: int) -> None:
    kind, content = exchange(node, struct.pack("!I", length) + b"x" * 64)
    assert (kind, content) == (frames.ERROR, b"bad_request")


def broken_headers() -> list[bytes]:
    whole = [1, "ping", "u", "s", "t", "a", b"n", 1, False, b"d", b"s", b"p", 0]
    return [
        b"{}" * 20,
        pack([]),
        pack({"op": "ping"}),
        pack(whole[:-1]),
        pack([*whole, 1]),
        pack([*whole[:-1], -1]),
        pack([*whole[:-1], "7"]),
        pack([1, 2, *whole[2:]]),
        pack([1, ["ping"], *whole[2:]]),
        b"\x91" * 5000,
        b"\xff" * 40,
    ]


@pytest.mark.parametrize("header", broken_headers())
def test_a_broken_header_is_one_clear_error(node: AgentNode, header: bytes) -> None:
    kind, content = exchange(node, struct.pack("!I", len(header)) + header)
    assert (kind, content) == (frames.ERROR, b"bad_request")


def test_another_version_is_told_apart(node: AgentNode) -> None:
    header = pack([99, "ping"])
    kind, content = exchange(node, struct.pack("!I", len(header)) + header)
    assert (kind, content) == (frames.ERROR, b"unsupported_version")


def test_a_header_that_never_ends_does_not_keep_others_waiting(unlocked: Unlocked) -> None:
    with socket.socket(socket.AF_UNIX) as slow:
        slow.connect(str(unlocked.node.socket_path))
        slow.sendall(b"\x00\x00")
        begin = time.monotonic()
        assert unlocked.ask() == {"echo": "hello"}
        assert time.monotonic() - begin < 4
        slow.settimeout(12)
        assert slow.recv(1) == b""  # and is closed after five seconds


def test_a_large_request_is_answered_whole(node: AgentNode, unlocked: Unlocked) -> None:
    large = os.urandom(3 * 1024 * 1024)
    assert unlocked.ask(payload={"echo": large}) == {"echo": large}


def test_other_users_of_the_machine_cannot_reach_the_socket(node: AgentNode) -> None:
    assert node.socket_path.stat().st_mode & 0o777 == 0o600
    if os.geteuid() != 0:
        return
    pid = os.fork()
    if pid == 0:  # somebody else
        code = 1
        try:
            os.setresuid(65534, 65534, 65534)
            socket.socket(socket.AF_UNIX).connect(str(node.socket_path))
        except PermissionError:
            code = 0
        finally:
            os._exit(code)
    _, ended = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(ended) == 0


# --------------------------------------------------------------------------- answers


def test_an_answer_about_locking_that_the_supervisor_did_not_give_is_refused(
    node: AgentNode,
) -> None:
    from crypto_agent.protocol import b64, control_key, make_control
    from tests.support.agent_node import SECRET

    envelope = make_control(
        op="status", user="", session="", task="t", to=proven(node).start, caller=CALLER,
        now=now_ms(),
    )  # fmt: skip
    answer = json.loads(deliver(node, envelope))
    assert read_control(envelope, control_key(SECRET), answer)["agents"] == 0
    answer["control"] = b64(pack({"agents": 7}))
    with refused(ErrorCode.FORGED):
        read_control(envelope, control_key(SECRET), answer)


# --------------------------------------------------------------------------- through the broker


def by_broker(node: AgentNode, wire: object) -> Any:
    """What somebody who can write to the broker gets for a task of their own making."""
    result = app.send_task(
        TASK_HANDLE, args=[wire], queue=f"agent.{node.name}", ignore_result=False
    )
    try:
        return result.get(timeout=20)
    finally:
        result.forget()


def test_a_task_that_is_run_twice_is_refused_the_second_time(
    known_node: AgentNode,
) -> None:
    wire = unlock(known_node).request()[0].to_wire()
    assert set(by_broker(known_node, wire)) == {"sealed"}
    assert by_broker(known_node, wire) == {"error": "replayed"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"op": "lock"}, "forged"),
        ({"expires": 1}, "expired"),
        ({"v": 9}, "unsupported_version"),
        ({"nonce": "%"}, "bad_request"),
        ({"expires": "never"}, "bad_request"),
        ({"spool": "../../etc/passwd", "body": ""}, "bad_request"),
        ({"spool": "0" * 64, "body": ""}, "expired"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_task_of_mallorys_making_is_one_clear_error(
    known_node: AgentNode, change: dict[str, Any], code: str
) -> None:
    wire = unlock(known_node).request()[0].to_wire()
    assert by_broker(known_node, wire | change) == {"error": code}


@pytest.mark.parametrize("wire", [None, [], "x", {}, 7])
def test_a_task_without_any_shape_is_one_clear_error(known_node: AgentNode, wire: object) -> None:
    assert by_broker(known_node, wire) == {"error": "unsupported_version"}


def test_large_bodies_and_replies_go_through_the_spool_and_leave_it(
    known_node: AgentNode, alice: KeyHolderSession
) -> None:
    large = os.urandom(2 * 1024 * 1024)
    seen: list[int] = []
    put = door.ask_agent.__globals__["spool"]().put.__func__

    def watching(spool: Any, sealed: bytes) -> str:
        assert large[:64] not in sealed
        seen.append(len(sealed))
        name: str = put(spool, sealed)
        return name

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crypto_agent.protocol.FolderSpool.put", watching)
        assert door.call(alice, "ping", {"echo": large}) == {"echo": large}
    assert len(seen) == 1
    assert [path for path in known_node.spool.rglob("*") if path.is_file()] == []


# --------------------------------------------------------------------------- database and broker


def mallorys_descriptor(node: AgentNode) -> tuple[dict[str, Any], SealingKey]:
    """Everything as the node says, but the key that passwords are sealed to is Mallory's."""
    key = SealingKey.generate()
    mine = replace(proven(node), public=key.public)
    return mine.sign(node_identity(bytes(32))).to_wire(), key


def test_a_forged_node_row_gets_no_password(
    known_node: AgentNode, alice: KeyHolderSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Envelope] = []
    monkeypatch.setattr(
        "webmail.agent.door.ask_agent", lambda node, envelope, **_: sent.append(envelope)
    )
    wire, key = mallorys_descriptor(known_node)
    Node.objects.filter(name=known_node.name).update(descriptor=wire)
    with refused(ErrorCode.FORGED):
        door.unlock(alice.user, way="password", secret=bytearray(PASSWORD))
    assert sent == []
    # Positive control: were the row believed, the password would be Mallory's.
    monkeypatch.setattr("webmail.agent.nodes._prove", lambda row: _believe(row))
    with pytest.raises(ProtocolError):
        door.unlock(alice.user, way="password", secret=bytearray(PASSWORD))
    payload, _ = open_request(sent[0], key)
    assert payload["secret"] == PASSWORD


def _believe(wire: dict[str, Any]) -> NodeDescriptor:
    mallory = node_identity(bytes(32)).public_key()
    return NodeDescriptor.from_wire(wire, mallory, now=now_ms())


def test_a_forged_announcement_changes_nothing(known_node: AgentNode) -> None:
    before = Node.objects.get(name=known_node.name)
    forged, _ = mallorys_descriptor(known_node)
    for wire in (forged, {**known_node.descriptor(), "start": "0" * 32}, {}, {"v": 1}):
        announce_node(wire)
    after = Node.objects.get(name=known_node.name)
    assert (after.descriptor, after.seen_at) == (before.descriptor, before.seen_at)
    announce_node(known_node.descriptor())  # positive control
    assert Node.objects.get(name=known_node.name).seen_at > before.seen_at
    assert announce_node.name == TASK_ANNOUNCE


def test_a_true_node_under_another_nodes_name_is_not_believed(known_node: AgentNode) -> None:
    Node.objects.create(
        name="other", descriptor=known_node.descriptor(), start="x", seen_at="2026-01-01T00:00Z"
    )
    with refused(ErrorCode.FORGED):
        nodes.describe(Node.objects.get(name="other"))


def test_a_session_row_that_points_to_mallorys_agent_gets_no_mail(
    alice: KeyHolderSession,
) -> None:
    _, mallory = with_vault(MALLORY)
    mine, hers = (KeySession.objects.get(pk=holder.session) for holder in (alice, mallory))
    assert door.call(alice, "ping", {"echo": 1}) == {"echo": 1}
    KeySession.objects.filter(pk=mine.pk).update(descriptor=hers.descriptor)
    with refused(ErrorCode.FORGED):
        door.call(alice, "ping", {"echo": "for Alice's eyes"})


def test_a_session_row_given_to_another_user_opens_nothing(alice: KeyHolderSession) -> None:
    """Mallory moves Alice's row to her own account; she holds only her own cookie."""
    user, mallory = with_vault(MALLORY)
    KeySession.objects.filter(pk=alice.session).update(user=user)
    stolen = KeyHolderSession(user=mallory.user, session=alice.session, secret=mallory.secret)
    with refused(ErrorCode.FORGED):
        door.call(stolen, "ping", {})


def test_a_vault_given_to_another_user_opens_nothing(
    known_node: AgentNode, alice: KeyHolderSession
) -> None:
    """Alice's record in Mallory's row, with Alice's password: the record names its user."""
    user, _ = with_vault(MALLORY)
    record = bytes(Vault.objects.get(user_id=alice.user).record)
    Vault.objects.filter(user=user).update(record=record)
    with pytest.raises(ProtocolError) as caught:
        door.unlock(user.hex, way="password", secret=bytearray(PASSWORD))
    assert caught.value.code in (ErrorCode.WRONG_PASSWORD, ErrorCode.VAULT_DAMAGED)
    assert ALICE != MALLORY


def test_one_octet_of_a_vault_changed_is_noticed(
    known_node: AgentNode, alice: KeyHolderSession
) -> None:
    row = Vault.objects.get(user_id=alice.user)
    record = bytearray(row.record)
    door.unlock(alice.user, way="password", secret=bytearray(PASSWORD))  # positive control
    record[-1] ^= 1  # in its MAC
    Vault.objects.filter(user_id=alice.user).update(record=bytes(record))
    with refused(ErrorCode.VAULT_DAMAGED):
        door.unlock(alice.user, way="password", secret=bytearray(PASSWORD))
