"""Speaking to a submission server: what it offers, what it refuses, what must never be said."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.smtp_sink import Sink, running_sink
from webmail.compose import sentences, smtp

ALICE = "alice@acme.example"
BOB = "bob@acme.example"
CAROL = "carol@partner.example"
MAIL = b"Subject: x\r\n\r\nhello\r\n"


@dataclass
class Account:
    """The fields of a mail account that submission uses."""

    smtp_port: int
    smtp_host: str = "127.0.0.1"
    smtp_tls: str = "none"
    login: tuple[str, str] | None = None

    def smtp_login(self) -> tuple[str, str] | None:
        return self.login


def submit(
    port: int, mail: bytes = MAIL, to: tuple[str, ...] = (BOB,), sender: str = ALICE
) -> smtp.Taken:
    account: Any = Account(port)
    with smtp.Submission(account, alive=lambda: None) as submission:
        return submission.submit(sender, to, mail, before_dot=lambda: None)


def test_a_mail_arrives_byte_for_byte(sink: Sink) -> None:
    mail = b"Subject: x\r\n\r\n.\r\n..\r\n.leading\r\nend\r\n"
    taken = submit(sink.port, mail)
    assert sink.accepted[0].mail == mail
    assert taken.accepted == (BOB,)
    assert taken.reply.startswith("250 ")


def test_line_ends_are_made_whole_so_that_no_mail_hides_in_another() -> None:
    smuggled = b"Subject: x\n\nhello\n.\nMAIL FROM:<mallory@x>\r.\rend"
    plain = smtp.stuff_dots(smtp.normalise_lines(smuggled))
    assert b"\n" not in plain.replace(b"\r\n", b"")
    assert b"\r" not in plain.replace(b"\r\n", b"")
    assert b"\r\n.\r\n" not in plain
    assert plain.endswith(b"\r\n")


def test_a_bare_line_feed_before_a_dot_does_not_end_the_mail(sink: Sink) -> None:
    submit(sink.port, smtp.normalise_lines(b"Subject: x\r\n\r\none\n.\r\ntwo\r\n"))
    [taken] = sink.accepted
    assert taken.mail.endswith(b"one\r\n.\r\ntwo\r\n")


@pytest.mark.parametrize(
    "address",
    [
        "bob@acme.example\r\nRCPT TO:<mallory@x.example>",
        "bob@acme.example\nDATA",
        "bob@acme.example> SIZE=1",
        "<bob@acme.example",
        "bob @acme.example",
        "bob\0@acme.example",
        "bob",
        "@acme.example",
        "",
        "a" * 400 + "@acme.example",
    ],
)
def test_an_address_that_could_say_more_is_refused(sink: Sink, address: str) -> None:
    for to, sender in (((address,), ALICE), ((BOB,), address)):
        with pytest.raises(smtp.Refused) as refused:
            submit(sink.port, to=to, sender=sender)
        assert refused.value.code == "address"
    assert sink.accepted == []


def test_who_is_refused_and_who_is_put_off_is_told_apart(sink: Sink) -> None:
    sink.refuse = {BOB: "550 5.1.1 No such user", CAROL: "451 4.7.1 Greylisted"}
    taken = submit(sink.port, to=(ALICE, BOB, CAROL))
    assert taken.accepted == (ALICE,)
    assert taken.refused == {BOB: "550 5.1.1 No such user"}
    assert taken.later == {CAROL: "451 4.7.1 Greylisted"}


def test_nobody_accepted_is_no_mail(sink: Sink) -> None:
    sink.refuse = {BOB: "550 5.1.1 No such user"}
    with pytest.raises(smtp.Refused) as refused:
        submit(sink.port)
    assert refused.value.refused == {BOB: "550 5.1.1 No such user"}
    sink.refuse = {BOB: "451 4.7.1 Later"}
    with pytest.raises(smtp.NotTaken):
        submit(sink.port)


def test_the_answer_to_the_content_decides(sink: Sink) -> None:
    sink.data_reply = "554 5.7.1 Not this"
    with pytest.raises(smtp.Refused) as refused:
        submit(sink.port)
    assert refused.value.reply == "554 5.7.1 Not this"
    sink.data_reply = "451 4.3.0 Not now"
    with pytest.raises(smtp.NotTaken):
        submit(sink.port)
    sink.data_reply = "199 What"
    with pytest.raises(smtp.Unknown):
        submit(sink.port)


def test_a_line_cut_after_the_dot_is_unknown(sink: Sink) -> None:
    sink.after_dot = "drop"
    with pytest.raises(smtp.Unknown):
        submit(sink.port)


def test_the_dot_is_announced_before_it_leaves(sink: Sink) -> None:
    class Stop(Exception):
        pass

    def stop() -> None:
        assert not sink.seen_dot.is_set()
        raise Stop

    account: Any = Account(sink.port)
    with pytest.raises(Stop), smtp.Submission(account, alive=lambda: None) as submission:
        submission.submit(ALICE, [BOB], MAIL, before_dot=stop)
    assert sink.accepted == []


def test_waiting_for_the_reply_the_caller_hears_that_we_live(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "SLICE_SECONDS", 0.1)
    sink.delay = 0.5
    heard: list[int] = []
    account: Any = Account(sink.port)
    with smtp.Submission(account, alive=lambda: heard.append(1)) as submission:
        submission.submit(ALICE, [BOB], MAIL, before_dot=heard.clear)
    assert len(heard) >= 3


def test_a_server_that_never_answers_the_dot_is_unknown_in_the_end(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "DOT_SECONDS", 0.3)
    monkeypatch.setattr(smtp, "SLICE_SECONDS", 0.1)
    sink.delay = 2
    with pytest.raises(smtp.Unknown):
        submit(sink.port)


def test_a_mail_above_the_offered_size_is_refused_before_it_travels() -> None:
    with running_sink(size_limit=100) as small:
        with pytest.raises(smtp.Refused) as refused:
            submit(small.port, MAIL + b"x" * 200 + b"\r\n")
        assert refused.value.code == "too_large"
        assert not small.seen_dot.is_set()
        submit(small.port)
        assert f"SIZE={len(MAIL)}" in small.accepted[0].options


def test_eight_bit_content_is_announced_where_it_is_offered(sink: Sink) -> None:
    submit(sink.port, "Subject: x\r\n\r\nGrüße\r\n".encode())
    assert "BODY=8BITMIME" in sink.accepted[0].options
    submit(sink.port)
    assert "BODY=8BITMIME" not in sink.accepted[1].options


def test_international_addresses_need_the_servers_word() -> None:
    with running_sink(smtputf8=False) as plain:
        with pytest.raises(smtp.Refused) as refused:
            submit(plain.port, to=("jürgen@acme.example",))
        assert refused.value.code == "smtputf8"
        # A domain has an ASCII form, and needs nothing.
        submit(plain.port, to=("bob@bücher.example",))
        assert plain.accepted[0].recipients == ("bob@xn--bcher-kva.example",)
    with running_sink(smtputf8=True) as able:
        submit(able.port, to=("jürgen@acme.example",))
        assert "SMTPUTF8" in able.accepted[0].options


def test_no_server_and_no_account_are_told_apart() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(smtp.NotTaken) as nobody:
        submit(port)
    assert nobody.value.code == "unreachable"
    account: Any = Account(25, smtp_host="")
    with pytest.raises(smtp.NotTaken) as nothing:
        smtp.Submission(account, alive=lambda: None)
    assert nothing.value.code == "no_account"


class Plain(socketserver.StreamRequestHandler):
    """A server without STARTTLS and without AUTH."""

    def handle(self) -> None:
        self.wfile.write(b"220 plain.example\r\n")
        for line in self.rfile:
            said.append(line)
            word = line[:4].upper()
            if word == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            self.wfile.write(b"250 plain.example\r\n" if word == b"EHLO" else b"502 no\r\n")


said: list[bytes] = []


@pytest.fixture
def plain_server() -> Iterator[int]:
    said.clear()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Plain) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_where_tls_is_asked_for_nothing_is_sent_without(plain_server: int) -> None:
    account: Any = Account(plain_server, smtp_tls="starttls", login=("alice", "secret words"))
    with pytest.raises(smtp.NotTaken) as refused:
        smtp.Submission(account, alive=lambda: None)
    assert refused.value.code == "tls"
    assert not any(b"AUTH" in line or b"MAIL" in line for line in said)


def test_where_a_login_is_set_nothing_is_sent_without(plain_server: int) -> None:
    account: Any = Account(plain_server, login=("alice", "secret words"))
    with pytest.raises(smtp.NotTaken) as refused:
        smtp.Submission(account, alive=lambda: None)
    assert refused.value.code == "login"
    assert not any(b"MAIL" in line for line in said)


class Busy(socketserver.StreamRequestHandler):
    """A server that cannot check passwords now."""

    def handle(self) -> None:
        self.wfile.write(b"220 busy.example\r\n")
        for line in self.rfile:
            said.append(line)
            if line[:4].upper() == b"EHLO":
                self.wfile.write(b"250-busy.example\r\n250 AUTH PLAIN LOGIN\r\n")
            else:
                self.wfile.write(b"454 4.7.0 Temporary authentication failure\r\n")


def test_a_server_that_cannot_check_the_password_now_is_not_a_wrong_password() -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        account: Any = Account(server.server_address[1], login=("alice", "secret words"))
        with pytest.raises(smtp.NotTaken) as refused:
            smtp.Submission(account, alive=lambda: None)
        server.shutdown()
    assert refused.value.code == "login_later"
    assert sentences.explain(refused.value.code) == sentences.explain("recipients_later")


def test_a_server_in_clear_where_tls_from_the_start_is_asked_for_is_refused(sink: Sink) -> None:
    account: Any = Account(sink.port, smtp_tls="implicit")
    with pytest.raises(smtp.NotTaken) as refused:
        smtp.Submission(account, alive=lambda: None)
    assert refused.value.code == "tls"


def test_we_greet_with_our_public_name_not_the_machines(plain_server: int, settings: Any) -> None:
    settings.ORIGIN = "https://mail.acme.example"
    account: Any = Account(plain_server)
    with smtp.Submission(account, alive=lambda: None):
        pass
    assert said[0].strip() == b"ehlo mail.acme.example"
