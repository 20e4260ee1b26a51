"""What crosses the border to the agent is fresh, ours, and readable by its addressee alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crypto_agent import protocol
from crypto_agent.protocol import (
    AgentDescriptor,
    Envelope,
    ErrorCode,
    NodeDescriptor,
    ReplyKey,
    SealingKey,
)

NOW = 1_790_000_000_000
SECRET = bytes(range(32))
SESSION_SECRET = bytes(range(32, 64))
CALLER = protocol.caller_key(SECRET)
IDENTITY = protocol.node_identity(SECRET)


def request(key: SealingKey, **changes: Any) -> tuple[Envelope, ReplyKey]:
    arguments: dict[str, Any] = {
        "op": "open",
        "user": "a" * 32,
        "session": "b" * 32,
        "task": "task-1",
        "to": "agent-1",
        "recipient": key.public,
        "payload": {"raw": b"canary of Alice"},
        "caller": CALLER,
        "now": NOW,
        "session_secret": SESSION_SECRET,
    }
    return protocol.make_request(**(arguments | changes))


def refused(code: ErrorCode) -> Any:
    return pytest.raises(protocol.ProtocolError, match=code.value)


def test_a_request_reaches_its_addressee_and_the_reply_its_caller() -> None:
    agent = SealingKey.generate()
    envelope, reply_key = request(agent)
    arrived = Envelope.from_wire(envelope.to_wire())
    arrived.check_caller(CALLER.public_key(), now=NOW)
    arrived.check_body()
    arrived.check_session(protocol.derive(SESSION_SECRET, "request"))
    payload, agents_reply_key = protocol.open_request(arrived, agent)
    assert payload == {"raw": b"canary of Alice"}
    sealed = protocol.seal_result(arrived, agents_reply_key, {"answer": 1})
    assert protocol.open_reply(envelope, reply_key, sealed) == {"answer": 1}


def test_nothing_of_the_payload_is_on_the_wire() -> None:
    envelope, _ = request(SealingKey.generate())
    assert b"canary" in protocol.pack({"raw": b"canary of Alice"})  # positive control
    assert b"canary" not in envelope.body
    assert "canary" not in str(envelope.to_wire())


def test_another_process_cannot_open_it() -> None:
    envelope, _ = request(SealingKey.generate())
    with refused(ErrorCode.FORGED):
        protocol.open_request(envelope, SealingKey.generate())


@pytest.mark.parametrize(
    "change",
    [
        {"op": "hold"},
        {"user": "c" * 32},
        {"session": "c" * 32},
        {"task": "task-2"},
        {"to": "agent-2"},
        {"nonce": b"x" * 16},
        {"expires": NOW + 50_000},
        {"background": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_routing_fact_breaks_signature_proof_and_seal(change: dict[str, Any]) -> None:
    agent = SealingKey.generate()
    forged = replace(request(agent)[0], **change)
    with refused(ErrorCode.FORGED):
        forged.check_caller(CALLER.public_key(), now=NOW)
    with refused(ErrorCode.WRONG_SESSION):
        forged.check_session(protocol.derive(SESSION_SECRET, "request"))
    with refused(ErrorCode.FORGED):
        protocol.open_request(forged, agent)


def test_an_exchanged_body_is_noticed() -> None:
    agent = SealingKey.generate()
    first, second = request(agent)[0], request(agent)[0]
    with refused(ErrorCode.FORGED):
        replace(first, body=second.body).check_body()


def test_a_stranger_cannot_sign_a_request() -> None:
    stranger = protocol.caller_key(bytes(32))
    envelope, _ = request(SealingKey.generate(), caller=stranger)
    envelope.check_caller(stranger.public_key(), now=NOW)  # positive control
    with refused(ErrorCode.FORGED):
        envelope.check_caller(CALLER.public_key(), now=NOW)


@pytest.mark.parametrize("late_ms", [60_001, 3_600_000, -60_001])
def test_a_request_outside_its_minute_is_refused(late_ms: int) -> None:
    envelope, _ = request(SealingKey.generate())
    envelope.check_caller(CALLER.public_key(), now=NOW + 59_000)  # positive control
    with refused(ErrorCode.EXPIRED):
        envelope.check_caller(CALLER.public_key(), now=NOW + late_ms)


def test_another_session_cannot_prove_itself() -> None:
    envelope, _ = request(SealingKey.generate(), session_secret=bytes(32))
    with refused(ErrorCode.WRONG_SESSION):
        envelope.check_session(protocol.derive(SESSION_SECRET, "request"))


def test_an_error_of_the_agent_keeps_its_code_and_says_no_content() -> None:
    agent = SealingKey.generate()
    envelope, reply_key = request(agent)
    _, agents_reply_key = protocol.open_request(envelope, agent)
    sealed = protocol.seal_error(envelope, agents_reply_key, ErrorCode.WRONG_PASSWORD)
    with refused(ErrorCode.WRONG_PASSWORD):
        protocol.open_reply(envelope, reply_key, sealed)


def test_a_reply_to_another_request_does_not_open() -> None:
    agent = SealingKey.generate()
    first, _ = request(agent)
    second, second_key = request(agent)
    _, agents_reply_key = protocol.open_request(second, agent)
    sealed = protocol.seal_result(first, agents_reply_key, {})
    with refused(ErrorCode.FORGED):
        protocol.open_reply(second, second_key, sealed)


def node_descriptor() -> NodeDescriptor:
    key = SealingKey.generate()
    services = (("verifier", SealingKey.generate().public),)
    return NodeDescriptor("node1", "s" * 32, key.public, NOW + 1000, services).sign(IDENTITY)


def test_a_node_descriptor_of_ours_is_accepted_until_it_expires() -> None:
    wire = node_descriptor().to_wire()
    assert NodeDescriptor.from_wire(wire, IDENTITY.public_key(), now=NOW).node == "node1"
    with refused(ErrorCode.EXPIRED):
        NodeDescriptor.from_wire(wire, IDENTITY.public_key(), now=NOW + 1000)


def test_a_forged_node_descriptor_does_not_get_a_password() -> None:
    wire = node_descriptor().to_wire()
    wire["public"] = protocol.b64(SealingKey.generate().public)
    with refused(ErrorCode.FORGED):
        NodeDescriptor.from_wire(wire, IDENTITY.public_key(), now=NOW)


def test_an_agent_descriptor_is_bound_to_the_session_secret() -> None:
    descriptor = AgentDescriptor("node1", "agent-1", SealingKey.generate().public, "u", "s")
    descriptor = descriptor.authenticate(SESSION_SECRET)
    AgentDescriptor.from_bytes(descriptor.to_bytes()).check(SESSION_SECRET)
    with refused(ErrorCode.FORGED):
        replace(descriptor, public=SealingKey.generate().public).check(SESSION_SECRET)
    with refused(ErrorCode.FORGED):
        descriptor.check(bytes(32))


@pytest.mark.parametrize("junk", [b"", b"\xc1", b"\x81", b"\x91" * 5000, b"\xdd\xff\xff\xff\xff"])
def test_junk_is_one_clear_error(junk: bytes) -> None:
    with refused(ErrorCode.BAD_REQUEST):
        protocol.unpack(junk)


@pytest.mark.parametrize("wire", [{}, {"v": 99}, {"v": 1}, {"v": 1, "op": "x", "nonce": "%"}])
def test_a_malformed_envelope_is_one_clear_error(wire: dict[str, Any]) -> None:
    with pytest.raises(protocol.ProtocolError):
        Envelope.from_wire(wire)


def test_the_spool_gives_back_what_it_took_and_refuses_other_names(tmp_path: Path) -> None:
    spool = protocol.FolderSpool(tmp_path)
    name = spool.put(b"sealed")
    assert spool.get(name) == b"sealed"
    for path in tmp_path.glob("*/*"):
        assert path.stat().st_mode & 0o077 == 0
    with refused(ErrorCode.BAD_REQUEST):
        spool.get("../../etc/passwd")
    spool.delete(name)
    with refused(ErrorCode.EXPIRED):
        spool.get(name)


def test_old_blobs_are_swept_and_young_ones_stay(tmp_path: Path) -> None:
    spool = protocol.FolderSpool(tmp_path)
    name = spool.put(b"sealed")
    assert spool.sweep(older_than_s=60) == 0
    assert spool.sweep(older_than_s=-1) == 1
    with refused(ErrorCode.EXPIRED):
        spool.get(name)
