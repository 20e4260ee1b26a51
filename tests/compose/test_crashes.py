"""The send machine is killed at every failpoint; a real server counts what it accepted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.dovecot import Dovecot
from tests.compose.machine import ROOT, Machine
from tests.support.agent_node import AgentNode
from tests.support.smtp_sink import Sink
from webmail.lib.failpoints import EXIT_CODE

pytestmark = pytest.mark.process

BOB = "bob@acme.example"
CAROL = "carol@partner.example"
DAVE = "dave@partner.example"

BEFORE_THE_DOT = [
    "send.before_submitting",
    "send.after_submitting",
    "send.after_connect",
    "send.before_mail",
    "send.before_data",
    "send.before_dot",
]
AFTER_THE_REPLY = [
    "send.after_accepted",
    "send.before_row_accepted",
    "send.after_row_accepted",
    "file.before_append",
    "file.after_append",
    "file.after_commit",
    "finish.before_commit",
    "finish.after_commit",
]
DECLARED_UNKNOWN = ["send.at_dot", "send.after_dot", "send.before_accepted"]
"""Between writing down that the dot leaves and writing down its reply nobody knows."""

BEFORE_THE_MAIL_IS_MADE = [
    "prepare.before_sign",
    "prepare.after_sign",
    "prepare.before_commit",
    "prepare.after_commit",
]


@pytest.fixture(scope="module")
def machine(
    dovecot: Dovecot, running_submission: Sink, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    running = Machine(tmp_path_factory.mktemp("machine"))
    running("setup", imap_port=dovecot.imap_port, smtp_port=running_submission.port)
    yield running
    running.stop()


def go_on(machine: Machine, pk: str, times: int = 4) -> dict[str, Any]:
    """Let time pass and workers come by, as sweeper and broker do."""
    for _ in range(times):
        machine("lapse", pk=pk)
        assert machine("advance", pk=pk) == 0
    shown: dict[str, Any] = machine("show", pk=pk)
    return shown


def test_a_mail_that_meets_no_trouble_is_accepted_once_and_filed_once(
    machine: Machine, sink: Sink
) -> None:
    pk = machine("prepared", copies=[[BOB, CAROL]])
    assert machine("advance", pk=pk) == 0
    shown = machine("show", pk=pk)
    assert shown["state"] == "done"
    assert shown["sealed_left"] == 0
    assert sink.recipients() == [BOB, CAROL]
    assert sink.accepted[0].mail.endswith(b"sealed\r\n.\r\n..dots\r\n")
    assert machine("in_folder", role="sent", message_id=shown["message_id"]) == 1


@pytest.mark.parametrize("place", BEFORE_THE_DOT)
def test_killed_before_the_dot_it_is_sent_by_the_next_worker_once(
    machine: Machine, sink: Sink, place: str
) -> None:
    pk = machine("prepared", copies=[[BOB]])
    assert machine("advance", pk=pk, armed=f"{place}=exit") == EXIT_CODE
    assert sink.recipients() == []
    assert machine("show", pk=pk)["claimed"]
    shown = go_on(machine, pk)
    assert shown["state"] == "done"
    assert sink.recipients() == [BOB]
    assert machine("in_folder", role="sent", message_id=shown["message_id"]) == 1


@pytest.mark.parametrize("place", AFTER_THE_REPLY)
def test_killed_after_the_reply_it_is_not_sent_again_and_filed_once(
    machine: Machine, sink: Sink, place: str
) -> None:
    pk = machine("prepared", copies=[[BOB]])
    assert machine("advance", pk=pk, armed=f"{place}=exit") == EXIT_CODE
    assert sink.recipients() == [BOB]
    shown = go_on(machine, pk)
    assert shown["state"] == "done"
    assert sink.recipients() == [BOB]
    assert machine("in_folder", role="sent", message_id=shown["message_id"]) == 1


@pytest.mark.parametrize("place", DECLARED_UNKNOWN)
def test_killed_between_dot_and_reply_it_is_declared_unknown_and_never_resent(
    machine: Machine, sink: Sink, place: str
) -> None:
    pk = machine("prepared", copies=[[BOB]])
    assert machine("advance", pk=pk, armed=f"{place}=exit") == EXIT_CODE
    taken = sink.recipients()
    shown = go_on(machine, pk)
    assert shown["state"] == "unknown"
    assert shown["people"] == {BOB: ["unknown", ""]}
    assert sink.recipients() == taken, "not without the user's word"
    assert machine("in_folder", role="sent", message_id=shown["message_id"]) == 0


def test_an_unknown_mail_goes_again_on_the_users_word_under_the_same_message_id(
    machine: Machine, sink: Sink
) -> None:
    pk = machine("prepared", copies=[[BOB]])
    machine("advance", pk=pk, armed="send.at_dot=exit")
    assert go_on(machine, pk, 1)["state"] == "unknown"
    assert machine("act", pk=pk, name="resend")
    shown = go_on(machine, pk, 1)
    assert shown["state"] == "done"
    assert sink.recipients() == [BOB]
    assert shown["message_id"].encode() in sink.accepted[0].mail


def test_an_unknown_mail_that_arrived_is_filed_on_the_users_word_and_not_sent(
    machine: Machine, sink: Sink
) -> None:
    pk = machine("prepared", copies=[[BOB]])
    machine("advance", pk=pk, armed="send.before_accepted=exit")
    assert go_on(machine, pk, 1)["state"] == "unknown"
    assert machine("act", pk=pk, name="arrived")
    shown = go_on(machine, pk, 1)
    assert shown["state"] == "done"
    assert sink.recipients() == [BOB]
    assert machine("in_folder", role="sent", message_id=shown["message_id"]) == 1


def test_an_unknown_mail_may_be_given_up(machine: Machine, sink: Sink) -> None:
    pk = machine("prepared", copies=[[BOB]])
    machine("advance", pk=pk, armed="send.at_dot=exit")
    assert go_on(machine, pk, 1)["state"] == "unknown"
    assert machine("act", pk=pk, name="not_sent")
    assert go_on(machine, pk, 1)["state"] == "cancelled"
    assert sink.recipients() == []


def test_a_copy_that_comes_back_to_the_sender_proves_that_an_unknown_mail_was_taken(
    machine: Machine, sink: Sink, dovecot: Dovecot
) -> None:
    alice = "alice@acme.example"
    pk = machine("prepared", copies=[[alice, BOB]])
    machine("advance", pk=pk, armed="send.before_accepted=exit")
    assert go_on(machine, pk, 1)["state"] == "unknown"
    dovecot.deliver(alice, sink.accepted[0].mail)
    machine("sync_inbox")
    shown = go_on(machine, pk, 2)
    assert shown["state"] == "done"
    assert sink.recipients() == [alice, BOB]
    assert machine("in_folder", role="sent", message_id=shown["message_id"]) == 1


def test_a_lost_connection_after_the_dot_is_unknown_whether_taken_or_not(
    machine: Machine, sink: Sink
) -> None:
    for told, taken in (("drop", [BOB]), ("lose", [])):
        sink.clear()
        sink.after_dot = told
        pk = machine("prepared", copies=[[BOB]])
        assert machine("advance", pk=pk) == 0
        assert machine("show", pk=pk)["state"] == "unknown"
        sink.after_dot = ""
        assert go_on(machine, pk)["state"] == "unknown"
        assert sink.recipients() == taken


def test_each_bcc_copy_is_a_transaction_of_its_own_and_none_is_sent_twice(
    machine: Machine, sink: Sink
) -> None:
    pk = machine("prepared", copies=[[BOB], [CAROL], [DAVE]])
    # The first copy is done; killed before the second leaves.
    assert machine("advance", pk=pk, armed="send.after_accepted=exit") == EXIT_CODE
    assert sink.recipients() == [BOB]
    shown = go_on(machine, pk)
    assert shown["state"] == "done"
    assert sink.recipients() == [BOB, CAROL, DAVE]
    assert all(len(each.recipients) == 1 for each in sink.accepted)


def test_a_mail_that_kills_its_worker_three_times_is_set_aside(
    machine: Machine, sink: Sink
) -> None:
    pk = machine("prepared", copies=[[BOB]])
    for _ in range(3):
        machine("lapse", pk=pk)
        assert machine("advance", pk=pk, armed="send.after_connect=exit") == EXIT_CODE
    shown = go_on(machine, pk)
    assert (shown["state"], shown["problem"]) == ("quarantined", "crashed")
    assert sink.recipients() == []
    assert machine("act", pk=pk, name="retry")
    assert go_on(machine, pk)["state"] == "done"
    assert sink.recipients() == [BOB]


def test_an_error_in_our_own_code_counts_like_a_crash(machine: Machine, sink: Sink) -> None:
    pk = machine("prepared", copies=[[BOB]])
    for _ in range(3):
        machine("lapse", pk=pk)
        assert machine("advance", pk=pk, armed="send.after_connect=raise") == 0
    assert machine("show", pk=pk)["state"] == "quarantined"
    assert sink.recipients() == []


def test_an_accepted_mail_that_cannot_be_filed_three_times_is_never_sent_again(
    machine: Machine, sink: Sink
) -> None:
    pk = machine("prepared", copies=[[BOB]])
    for _ in range(4):
        machine("lapse", pk=pk)
        machine("advance", pk=pk, armed="file.before_append=exit")
    assert machine("show", pk=pk)["state"] == "quarantined"
    assert not machine("act", pk=pk, name="cancel"), "it was sent: there is nothing to take back"
    assert machine("act", pk=pk, name="retry")
    assert go_on(machine, pk)["state"] == "done"
    assert sink.recipients() == [BOB]


def test_a_second_worker_does_nothing_while_the_first_is_at_it(
    machine: Machine, sink: Sink
) -> None:
    pk = machine("prepared", copies=[[BOB]])
    sink.delay = 1.5
    first = machine("start", pk=pk)
    assert sink.seen_dot.wait(10)
    for _ in range(3):
        assert machine("advance", pk=pk) == 0
    assert machine("wait", child=first) == 0
    assert machine("show", pk=pk)["state"] == "done"
    assert sink.recipients() == [BOB]


def test_a_worker_killed_while_the_server_thinks_leaves_an_unknown_mail(
    machine: Machine, sink: Sink
) -> None:
    pk = machine("prepared", copies=[[BOB]])
    sink.delay = 1.0
    first = machine("start", pk=pk)
    assert sink.seen_dot.wait(10)
    machine("kill", child=first)
    assert go_on(machine, pk)["state"] == "unknown"
    assert sink.recipients() == [BOB]


# --------------------------------------------------------------------------- with keys


@pytest.fixture(scope="module")
def keyed_machine(
    dovecot: Dovecot,
    running_submission: Sink,
    running_agents: AgentNode,
    broker: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Machine]:
    """A machine whose mail is signed and sealed by a real agent."""
    folder: Path = tmp_path_factory.mktemp("keyed")
    running = Machine(
        folder, broker=broker, results=broker, SEALPOST_SPOOL=str(running_agents.spool)
    )
    running(
        "setup_agents",
        imap_port=dovecot.imap_port,
        smtp_port=running_submission.port,
        descriptor=running_agents.descriptor(),
        spool=str(running_agents.spool),
    )
    yield running
    running.stop()


@pytest.mark.parametrize("place", BEFORE_THE_MAIL_IS_MADE)
def test_killed_while_signing_it_is_sent_once_and_nothing_signed_twice_leaves(
    keyed_machine: Machine, sink: Sink, place: str
) -> None:
    pk = keyed_machine("queued")
    assert keyed_machine("advance", pk=pk, armed=f"{place}=exit") == EXIT_CODE
    before = keyed_machine("show", pk=pk)
    assert before["state"] == ("prepared" if place == "prepare.after_commit" else "queued")
    shown = go_on(keyed_machine, pk)
    assert shown["state"] == "done", shown
    assert shown["timestamped"]
    assert sink.recipients() == ["alice@acme.example"]
    if before["digests"]:
        assert shown["digests"] == before["digests"], "prepared bytes are never made again"


def test_every_failpoint_of_the_machine_was_tried() -> None:
    """A new failpoint needs a test here; a removed one shows as well."""
    tried = {*BEFORE_THE_DOT, *AFTER_THE_REPLY, *DECLARED_UNKNOWN, *BEFORE_THE_MAIL_IS_MADE}
    elsewhere = {"queue.before_commit", "queue.after_commit"}
    on_trouble = {"send.before_rejected", "send.before_not_taken", "send.before_unknown"}
    source = "".join(
        (ROOT / "webmail" / "compose" / name).read_text() for name in ("outbox.py", "smtp.py")
    )
    found = set(re.findall(r'failpoint\("([a-z_.]+)"\)', source))
    assert found == tried | elsewhere | on_trouble


@pytest.mark.parametrize(
    ("place", "told", "state"),
    [
        ("send.before_rejected", "550 5.1.1 No such mailbox", "rejected"),
        ("send.before_not_taken", "451 4.3.0 Later", "prepared"),
    ],
)
def test_killed_before_a_refusal_is_written_down_the_server_is_asked_again(
    machine: Machine, sink: Sink, place: str, told: str, state: str
) -> None:
    sink.refuse[BOB] = told
    pk = machine("prepared", copies=[[BOB]])
    assert machine("advance", pk=pk, armed=f"{place}=exit") == EXIT_CODE
    assert go_on(machine, pk, 1)["state"] == state
    assert sink.recipients() == []
    sink.refuse.clear()
    if state == "rejected":
        assert machine("act", pk=pk, name="retry")
    assert go_on(machine, pk, 1)["state"] == "done"
    assert sink.recipients() == [BOB]


def test_killed_before_unknown_is_written_down_it_is_unknown_all_the_same(
    machine: Machine, sink: Sink
) -> None:
    sink.after_dot = "drop"
    pk = machine("prepared", copies=[[BOB]])
    assert machine("advance", pk=pk, armed="send.before_unknown=exit") == EXIT_CODE
    sink.after_dot = ""
    assert go_on(machine, pk)["state"] == "unknown"
    assert sink.recipients() == [BOB]
