"""The life of an agent: made, asked, locked, killed, grown old, come again."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from crypto_agent.protocol import ErrorCode, ProtocolError
from launcher.redis import SOCKET_NAME, start_redis
from tests.agent.conftest import ALICE, StartNode, introduce, with_vault
from tests.agent.speaker import (
    PASSWORD,
    Unlocked,
    ask_service,
    control,
    deliver,
    new_user,
    open_with,
    opener,
    small_record,
    status,
    unlock,
)
from tests.support.agent_node import AgentNode, running_node, wait_until
from tests.support.servers import short_folder
from webmail.agent import audit, door
from webmail.agent.door import KeyHolderSession
from webmail.agent.models import KeySession, KeyUse
from webmail.agent.tasks import sweep_sessions

pytestmark = pytest.mark.process


def refused(code: ErrorCode) -> Any:
    return pytest.raises(ProtocolError, match=f"^{code.value}")


def is_gone(pid: int) -> bool:
    return not os.path.exists(f"/proc/{pid}")


def assert_no_agent(node: AgentNode) -> None:
    """A process that opened nothing ends right after its answer."""
    wait_until(lambda: node.agents() == [], seconds=3, what="the end of the opener")


def the_agent(node: AgentNode) -> int:
    """The one agent there is, once processes that handed their session over have ended."""
    wait_until(lambda: len(node.agents()) == 1, seconds=3, what="the end of the openers")
    return node.agents()[0]


# --------------------------------------------------------------------------- made, asked, locked


def test_a_vault_is_made_asked_and_locked(known_node: AgentNode, alice: KeyHolderSession) -> None:
    agent = the_agent(known_node)
    assert door.is_unlocked(alice.user)
    assert door.call(alice, "ping", {"echo": "hello"}) == {"echo": "hello"}
    door.lock(alice.user)
    assert is_gone(agent)  # when lock returns, not some time later
    assert not door.is_unlocked(alice.user)
    assert not KeySession.objects.exists()
    with refused(ErrorCode.NOT_UNLOCKED):
        door.call(alice, "ping", {})


def test_the_password_opens_again_and_another_does_not(
    known_node: AgentNode, alice: KeyHolderSession
) -> None:
    door.lock(alice.user)
    with refused(ErrorCode.WRONG_PASSWORD):
        door.unlock(alice.user, way="password", secret=bytearray(b"four calm words of mallory"))
    assert_no_agent(known_node)
    holder = door.unlock(alice.user, way="password", secret=bytearray(PASSWORD))
    assert door.call(holder, "ping", {"echo": 1}) == {"echo": 1}


def test_nobodys_name_is_refused_like_a_wrong_password(known_node: AgentNode, db: None) -> None:
    with refused(ErrorCode.WRONG_PASSWORD):
        door.unlock(new_user(), way="password", secret=bytearray(PASSWORD))
    assert_no_agent(known_node)


def test_every_use_is_in_the_chain_and_a_changed_row_breaks_it(alice: KeyHolderSession) -> None:
    door.lock(alice.user)
    with refused(ErrorCode.WRONG_PASSWORD):
        door.unlock(alice.user, way="password", secret=bytearray(b"not hers"))
    said = list(KeyUse.objects.filter(holder=alice.user).values_list("operation", "outcome"))
    assert said == [
        ("create", "ok"),
        ("create", "ok"),
        ("lock", "ok"),
        ("unlock.password", "wrong_password"),
    ]
    assert audit.verify_chain(alice.user).whole
    KeyUse.objects.filter(holder=alice.user, number=4).update(outcome="ok")
    assert audit.verify_chain(alice.user).broken_at == 4
    KeyUse.objects.filter(holder=alice.user, number=4).delete()
    assert not audit.verify_chain(alice.user).whole


# --------------------------------------------------------------------------- two browsers


def test_a_second_browser_joins_the_same_agent(
    known_node: AgentNode, alice: KeyHolderSession
) -> None:
    agent = the_agent(known_node)
    second = door.unlock(alice.user, way="password", secret=bytearray(PASSWORD))
    assert the_agent(known_node) == agent
    assert second.session != alice.session
    for holder in (alice, second):
        assert door.call(holder, "ping", {"echo": 1}) == {"echo": 1}


def test_locking_one_browser_leaves_the_other_unlocked(
    known_node: AgentNode, alice: KeyHolderSession
) -> None:
    second = door.unlock(alice.user, way="password", secret=bytearray(PASSWORD))
    agent = the_agent(known_node)
    door.lock(alice.user, session=alice.session)
    assert is_gone(agent)
    with refused(ErrorCode.NOT_UNLOCKED):
        door.call(alice, "ping", {})
    assert door.call(second, "ping", {"echo": 2}) == {"echo": 2}  # by a new process, unasked
    with refused(ErrorCode.NOT_UNLOCKED):
        door.call(alice, "ping", {})


def test_who_opens_another_vault_of_the_same_name_does_not_join(node: AgentNode) -> None:
    """Mallory writes her own vault into Alice's row, and knows its password."""
    alice = unlock(node)
    agent = the_agent(node)
    mallory = unlock(node, alice.user, record=small_record(alice.user, b"known to mallory"),
                     password=b"known to mallory")  # fmt: skip
    assert is_gone(agent)
    assert mallory.agent.agent != alice.agent.agent
    with refused(ErrorCode.AGENT_GONE):
        alice.ask()


def test_a_joining_process_brings_a_newer_record_along(
    known_node: AgentNode, alice: KeyHolderSession
) -> None:
    new = b"five new words for the same keys"
    door.change_password(
        alice.user, way="password", secret=bytearray(PASSWORD), new_password=bytearray(new),
        new_recovery=False,
    )  # fmt: skip
    with refused(ErrorCode.WRONG_PASSWORD):
        door.unlock(alice.user, way="password", secret=bytearray(PASSWORD))
    second = door.unlock(alice.user, way="password", secret=bytearray(new))
    the_agent(known_node)
    for holder in (alice, second):
        assert door.call(holder, "ping", {"echo": 1}) == {"echo": 1}


# --------------------------------------------------------------------------- killed


def test_a_killed_agent_resumes_without_asking(
    known_node: AgentNode, alice: KeyHolderSession
) -> None:
    agent = the_agent(known_node)
    os.kill(agent, signal.SIGKILL)
    wait_until(lambda: is_gone(agent))
    assert door.call(alice, "ping", {"echo": "again"}) == {"echo": "again"}
    another = the_agent(known_node)
    assert another != agent
    assert KeyUse.objects.filter(holder=alice.user, operation="resume", outcome="ok").count() == 1


def test_cookie_alone_and_database_alone_resume_nothing(node: AgentNode) -> None:
    alice = unlock(node)
    node.end_agents()
    alice.resumed().ask()  # positive control: with both halves
    node.end_agents()
    with refused(ErrorCode.WRONG_SESSION):
        open_with(
            node, "resume", alice.user, session=alice.session,
            record=alice.record, resume=alice.resume_blob, session_secret=bytes(32),
        )  # fmt: skip
    with refused(ErrorCode.WRONG_SESSION):
        open_with(
            node, "resume", alice.user, session=alice.session,
            record=alice.record, resume=bytes(100), session_secret=alice.secret,
        )  # fmt: skip
    assert_no_agent(node)


def test_a_node_that_starts_anew_resumes_its_users(
    db: None, start_node: StartNode, settings: Any
) -> None:
    with start_node(SEALPOST_SERVICES="verifier") as node:
        introduce(node, settings)
        _, alice = with_vault(ALICE)
        before = node.descriptor()["start"]
        node.stop_supervisor()
        assert not node.socket_path.exists()
        node.start_supervisor()
        assert node.descriptor()["start"] != before
        assert door.call(alice, "ping", {"echo": "new start"}) == {"echo": "new start"}


@pytest.mark.parametrize("victim", ["supervisor", "zygote"])
def test_no_agent_outlives_its_supervisor(start_node: StartNode, victim: str) -> None:
    with start_node(SEALPOST_SERVICES="verifier") as node:
        unlock(node)
        children = [*node.children(), node.zygote]
        assert len(children) == 3
        assert node.supervisor is not None
        os.kill(node.supervisor.pid if victim == "supervisor" else node.zygote, signal.SIGKILL)
        wait_until(lambda: all(is_gone(pid) for pid in children), what="the end of all")
        node.supervisor.wait(10)


def test_a_killed_service_starts_again_under_the_same_key(node: AgentNode) -> None:
    assert ask_service(node, "verifier", "ping", {"echo": 1}) == {"echo": 1}
    for pid in node.services:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(set(node.children()) - node.services) == 4, what="new services")
    node.wait_for_services()
    wait_until(lambda: set(status(node)["services"].values()) == {"up"}, what="ready services")
    assert ask_service(node, "verifier", "ping", {"echo": 2}) == {"echo": 2}


def test_a_dead_relay_is_told_and_a_new_one_goes_on(
    db: None, start_node: StartNode, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start_node(SEALPOST_SERVICES="verifier") as node:
        introduce(node, settings)
        _, alice = with_vault(ALICE)
        node.stop_relay()
        monkeypatch.setattr("webmail.agent.exchange.PATIENCE_S", 0.5)
        monkeypatch.setattr("webmail.agent.exchange.DESCRIBE_TIMEOUT_S", 0.5)
        began = time.monotonic()
        with refused(ErrorCode.NODE_GONE):
            door.call(alice, "ping", {})
        assert time.monotonic() - began < 10, "a page must not wait a minute for each answer"
        began = time.monotonic()
        with refused(ErrorCode.NODE_GONE):
            door.call(alice, "ping", {})
        assert time.monotonic() - began < 2, "nor may every thread of the web wait"
        monkeypatch.undo()
        node.start_relay()

        def answers() -> bool:
            try:
                return door.call(alice, "ping", {"echo": 1}) == {"echo": 1}
            except ProtocolError:
                return False

        wait_until(answers, what="an answer of the new relay")


def test_an_answer_that_takes_long_is_waited_for_while_the_relay_is_there(
    db: None, start_node: StartNode, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start_node(SEALPOST_SERVICES="verifier") as node:
        introduce(node, settings)
        _, alice = with_vault(ALICE)
        monkeypatch.setattr("webmail.agent.exchange.PATIENCE_S", 0.0)
        assert door.call(alice, "ping", {"echo": 1}) == {"echo": 1}


def test_a_broker_that_starts_anew_is_told_and_then_used_again(
    db: None, tmp_path: Path, settings: Any
) -> None:
    with short_folder() as folder:
        redis = start_redis(folder)
        address = f"redis+socket://{folder / SOCKET_NAME}"
        try:
            with running_node(
                address, tmp_path, name="restart", SEALPOST_SERVICES="verifier"
            ) as node:
                introduce(node, settings)
                _, alice = with_vault(ALICE)
                redis.kill()
                redis.wait()
                begin = time.monotonic()
                with refused(ErrorCode.BROKER_GONE):
                    door.call(alice, "ping", {})
                assert time.monotonic() - begin < 15
                redis = start_redis(folder)
                assert eventually(alice) == {"echo": "back"}
        finally:
            redis.kill()
            redis.wait()


def eventually(holder: KeyHolderSession) -> dict[str, Any]:
    """The relay connects again by itself, within seconds."""
    deadline = time.monotonic() + 40
    while True:
        try:
            return door.call(holder, "ping", {"echo": "back"})
        except ProtocolError as error:
            if error.code is not ErrorCode.BROKER_GONE or time.monotonic() > deadline:
                raise


# --------------------------------------------------------------------------- grown old


def has_ended(session: Unlocked, **how: Any) -> bool:
    """Ask, and see whether the session is over."""
    try:
        session.ask(**how)
    except ProtocolError as error:
        if error.code in (ErrorCode.NOT_UNLOCKED, ErrorCode.AGENT_GONE):
            return True
        raise
    return False


def test_an_idle_agent_ends_by_itself(start_node: StartNode) -> None:
    with start_node(SEALPOST_SESSION_IDLE="1.5", SEALPOST_SERVICES="verifier") as node:
        alice = unlock(node)
        for _ in range(4):  # positive control: who uses it stays unlocked
            time.sleep(0.75)
            alice.ask()
        agent = the_agent(node)
        for _ in range(4):  # a polling page does not
            time.sleep(0.6)
            if has_ended(alice, background=True):
                break
        else:
            pytest.fail("a polling page kept the agent alive")
        wait_until(lambda: is_gone(agent), seconds=3)


def test_the_absolute_end_comes_even_to_the_busy(start_node: StartNode) -> None:
    with start_node(SEALPOST_SESSION_ABSOLUTE="2.5", SEALPOST_SERVICES="verifier") as node:
        alice = unlock(node)
        agent = the_agent(node)
        begin = time.monotonic()
        while not has_ended(alice):
            assert time.monotonic() - begin < 10
            time.sleep(0.2)
        assert time.monotonic() - begin > 1.5
        wait_until(lambda: is_gone(agent), seconds=3)
        with refused(ErrorCode.EXPIRED):
            alice.resumed()  # the end is inside the blob: no clock of the database prolongs it


def test_an_expired_session_is_swept(
    known_node: AgentNode, alice: KeyHolderSession, settings: Any
) -> None:
    agent = the_agent(known_node)
    assert sweep_sessions() == 0
    settings.SESSION_IDLE_SECONDS = 0
    with refused(ErrorCode.NOT_UNLOCKED):
        door.call(alice, "ping", {})
    assert sweep_sessions() == 1
    assert is_gone(agent)
    assert not KeySession.objects.exists()


# --------------------------------------------------------------------------- locked in time


def test_an_unlock_that_the_broker_delivers_after_the_lock_opens_nothing(node: AgentNode) -> None:
    user = new_user()
    secret = bytes(range(32))
    late, _ = opener(
        node, "unlock", user, session="5" * 32,
        record=small_record(user), way="password", secret=PASSWORD, session_secret=secret,
    )  # fmt: skip
    time.sleep(0.01)
    control(node, "lock", user)
    with refused(ErrorCode.NOT_UNLOCKED):
        deliver(node, late)
    assert_no_agent(node)
    time.sleep(0.01)
    unlock(node, user)  # positive control: who asks after the lock is let in


def test_a_session_that_was_locked_is_not_resumed_by_a_late_request(node: AgentNode) -> None:
    alice = unlock(node)
    control(node, "lock", alice.user, session=alice.session)
    with refused(ErrorCode.NOT_UNLOCKED):
        alice.resumed()


# --------------------------------------------------------------------------- limits


def test_a_full_node_says_so_and_makes_room_only_of_idle_agents(start_node: StartNode) -> None:
    with start_node(SEALPOST_MAX_AGENTS="1", SEALPOST_SERVICES="verifier") as node:
        alice = unlock(node)
        with refused(ErrorCode.OVERLOADED):
            unlock(node)
        assert alice.ask() == {"echo": "hello"}
        control(node, "lock", alice.user)
        unlock(node)


def test_after_ten_wrong_passwords_no_more_are_tried(node: AgentNode) -> None:
    user, other = new_user(), new_user()
    record = small_record(user)
    for _ in range(10):
        with refused(ErrorCode.WRONG_PASSWORD):
            unlock(node, user, record=record, password=b"a guess")
    with refused(ErrorCode.RATE_LIMITED):
        unlock(node, user, record=record, password=b"a guess")
    with refused(ErrorCode.RATE_LIMITED):
        unlock(node, user, record=record)  # not even the right one
    assert isinstance(unlock(node, other), Unlocked)  # others go on


def test_status_tells_what_runs_and_what_protects(node: AgentNode) -> None:
    alice = unlock(node)
    said = status(node, alice.user)
    assert said["agents"] == 1
    assert said["unlocked"] is True
    assert status(node, new_user())["unlocked"] is False
    assert set(said["services"]) == {"verifier", "authority", "timestamp", "postmaster"}
    assert set(said["hardening"]) == {
        "memory limit", "no new privileges", "memory deny write execute", "landlock", "no dumps",
        "own user id", "swap", "seccomp", "overwriting freed memory",
    }  # fmt: skip


def test_a_replay_does_not_keep_a_session_young(start_node: StartNode) -> None:
    """Who can write to the broker sends an old request again and again."""
    with start_node(SEALPOST_SESSION_IDLE="2", SEALPOST_SERVICES="verifier") as node:
        alice = unlock(node)
        envelope, _ = alice.request()
        deliver(node, envelope)
        agent = the_agent(node)
        for _ in range(6):
            time.sleep(0.5)
            try:
                deliver(node, envelope)
            except ProtocolError as error:
                if error.code is ErrorCode.NOT_UNLOCKED:
                    break
                if error.code is not ErrorCode.REPLAYED:
                    raise
        else:
            pytest.fail("a replay kept the agent alive")
        wait_until(lambda: is_gone(agent), seconds=3)
