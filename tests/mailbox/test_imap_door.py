"""No argument of any command can carry another command; answers of hostile servers are bounded."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import pytest

from tests.mailbox.conftest import plain_mail
from webmail.accounts.models import MailAccount
from webmail.mailbox import imap
from webmail.mailbox.imap import Door, MailServerError, connect_to

EVIL = ["a\r\nX LOGOUT", "a\nX", "a\rX", "a\0X"]


@pytest.fixture
def door(alice: MailAccount) -> Iterator[Door]:
    opened = imap.connect(alice)
    opened.select("INBOX")
    yield opened
    opened.close()


COMMANDS: dict[str, Callable[[Door, str], object]] = {
    "select": lambda door, text: door.select(text),
    "ensure_selected": lambda door, text: door.ensure_selected(text, 0),
    "catch_up": lambda door, text: door.catch_up(text, 0),
    "create_folder": lambda door, text: door.create_folder(text),
    "move": lambda door, text: door.move([1], text),
    "append to folder": lambda door, text: door.append(text, b"x"),
    "append with flag": lambda door, text: door.append("INBOX", b"x", flags=[text]),
    "store adding": lambda door, text: door.store([1], add=[text]),
    "store removing": lambda door, text: door.store([1], remove=[text]),
    "search by Message-ID": lambda door, text: door.uids_of_message_id(text),
    "search by flag": lambda door, text: door.uids_with(text),
    "library command": lambda door, text: door.client._imap._simple_command("NOOP", text),
    "library raw command": lambda door, text: door.client._raw_command(b"SEARCH", [text.encode()]),
}


@pytest.mark.parametrize("text", EVIL)
@pytest.mark.parametrize("command", COMMANDS)
def test_control_characters_are_refused_in_every_argument(
    door: Door, command: str, text: str
) -> None:
    with pytest.raises(MailServerError, match="argument"):
        COMMANDS[command](door, text)
    door.check()  # nothing was sent: the connection still answers in step


def test_every_public_method_that_takes_text_is_in_the_table_above() -> None:
    import inspect
    import typing

    taking_text = {
        name
        for name, method in inspect.getmembers(Door, inspect.isfunction)
        if not name.startswith("_")
        and any(
            str in (hint, *typing.get_args(hint))
            for key, hint in typing.get_type_hints(method).items()
            if key != "return"
        )
    }
    tested = {name.split()[0] for name in COMMANDS} | {"uids_of_message_id", "uids_with"}
    # "can" asks a set in memory, nothing is sent.
    assert taking_text - {"can"} <= tested


@pytest.mark.parametrize("flag", ["a b", "(a)", 'a"b', "a{3}", "a%b", "a*", "\\", "", "ä"])
def test_a_flag_must_be_one_atom(door: Door, flag: str) -> None:
    with pytest.raises(MailServerError, match="argument"):
        door.store([1], add=[flag])


@pytest.mark.parametrize("uid", [0, -1, 2**32, True, "1:*", None])
def test_only_numbers_in_range_are_uids(door: Door, uid: object) -> None:
    with pytest.raises(MailServerError, match="argument"):
        door.fetch_flags([uid])  # type: ignore[list-item]


@pytest.mark.parametrize("login", ["alice\r\nX LOGOUT", "alice\0"])
def test_control_characters_are_refused_in_login_names(alice: MailAccount, login: str) -> None:
    with pytest.raises(MailServerError, match="argument"):
        connect_to(host="127.0.0.1", port=alice.imap_port, tls="none", user=login, password="x")


@pytest.mark.parametrize(
    "name",
    [
        "Grüße",
        "日本語",
        'with "quotes"',
        "back\\slash",
        "a&b",
        "{5}",
        "{5+}",
        "2024",
        "a b  c",
        "%*",
    ],
)
def test_any_folder_name_makes_the_round_trip(door: Door, name: str) -> None:
    door.create_folder(name)
    assert name in {folder.name for folder in door.list_folders()}
    assert door.select(name).exists == 0


@pytest.mark.parametrize(
    "message_id", ["a@b", "{100}", "{100+}", "(a OR b)", 'a"b@c', "grüße@example.org", "a b", "\\"]
)
def test_any_message_id_is_searched_as_text(door: Door, message_id: str) -> None:
    mail = b"Message-ID: <" + message_id.encode() + b">\r\nSubject: x\r\n\r\nx\r\n"
    told = door.append("INBOX", mail)
    assert told is not None
    door.select("INBOX")
    assert door.uids_of_message_id(message_id) == [told[1]]
    door.check()


def test_append_keeps_every_byte(door: Door) -> None:
    # Bare LF is left out: Dovecot gives it back as CRLF.
    mail = b"Subject: bytes\r\n\r\n" + bytes(range(11, 256)) + b" bare\r CR\r\n.\r\n"
    told = door.append("INBOX", mail, flags=["\\Seen", "$Label"], date=datetime.now(UTC))
    assert told is not None
    door.select("INBOX")
    raw, received = door.fetch_raw(told[1])
    assert raw == mail
    assert received is not None
    assert door.fetch_flags([told[1]])[told[1]] >= {"\\Seen", "$Label"}


def test_a_mail_over_the_limit_is_refused_before_it_is_read(door: Door) -> None:
    told = door.append("INBOX", plain_mail(1, body="x" * 5000))
    assert told is not None
    door.select("INBOX")
    with pytest.raises(MailServerError, match="too_large"):
        door.fetch_raw(told[1], limit=1000)
    with pytest.raises(MailServerError, match="too_large"):
        door.fetch_raw(told[1], limit=1000, size=5100)
    assert len(door.fetch_raw(told[1])[0]) > 5000


def test_a_wrong_password_is_told_apart_from_a_dead_server(alice: MailAccount) -> None:
    with pytest.raises(MailServerError, match="refused_login"):
        connect_to(
            host="127.0.0.1",
            port=alice.imap_port,
            tls="none",
            user=alice.imap_user,
            password="wrong",
        )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with pytest.raises(MailServerError, match="unreachable"):
        connect_to(host="127.0.0.1", port=port, tls="none", user="a", password="b")


def test_plain_text_where_tls_is_expected_ends_before_the_password(alice: MailAccount) -> None:
    with pytest.raises(MailServerError, match="tls"):
        connect_to(host="127.0.0.1", port=alice.imap_port, tls="implicit", user="a", password="b")


def test_every_code_has_a_sentence() -> None:
    codes = {
        "unreachable", "tls", "refused_login", "timeout", "gone", "refused", "missing",
        "missing_folder", "changed", "too_large", "argument", "protocol", "no_account",
    }  # fmt: skip
    sentences = {imap.explain(code) for code in codes}
    assert len(sentences) == len(codes)


# --- hostile servers


@contextmanager
def server_saying(*lines: bytes) -> Iterator[int]:
    """A server that greets, accepts the login, and answers the next command with ``lines``."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            talk()

    def talk() -> None:
        connection, _address = listener.accept()
        with connection, connection.makefile("rb") as reader:
            connection.sendall(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready\r\n")
            for line in reader:
                tag, _space, command = line.partition(b" ")
                word = command.split()[0].upper() if command.split() else b""
                if word == b"AUTHENTICATE":
                    connection.sendall(b"+ \r\n")
                    reader.readline()
                    connection.sendall(tag + b" OK in\r\n")
                elif word == b"CAPABILITY":
                    connection.sendall(b"* CAPABILITY IMAP4rev1\r\n" + tag + b" OK done\r\n")
                elif word == b"LIST":
                    for answer in lines:
                        connection.sendall(answer)
                    connection.sendall(tag + b" OK done\r\n")
                else:
                    connection.sendall(tag + b" OK done\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def listed(port: int) -> list[str]:
    door = connect_to(host="127.0.0.1", port=port, tls="none", user="a", password="b")
    return [folder.name for folder in door.list_folders()]


def test_a_literal_that_claims_gigabytes_is_not_read() -> None:
    with server_saying(b'* LIST () "/" {9999999999}\r\n') as port:
        with pytest.raises(MailServerError, match="gone"):
            listed(port)


def test_a_line_without_an_end_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imap, "LINE_LIMIT", 100_000)
    with server_saying(b"* LIST " + b"x" * 200_000) as port:
        with pytest.raises(MailServerError, match="gone"):
            listed(port)


def test_folder_names_that_could_not_be_sent_back_are_left_out() -> None:
    with server_saying(
        b'* LIST () "/" "good"\r\n',
        b'* LIST () "/" "bad &AA0ACg- name"\r\n',
        b'* LIST () "/" "&broken"\r\n',
        b'* LIST () "/" {3}\r\na\nb\r\n',
        b'* LIST () "/" "good too"\r\n',
    ) as port:
        assert listed(port) == ["good", "good too"]


def test_nesting_without_end_costs_one_answer_and_not_the_process() -> None:
    with server_saying(b"* LIST " + b"(" * 50_000 + b"\r\n", b'* LIST () "/" good\r\n') as port:
        assert listed(port) == ["good"]


# --- kept connections


def test_a_kept_connection_is_used_again_and_a_dead_one_is_replaced(alice: MailAccount) -> None:
    with imap.door(alice) as first:
        first.select("INBOX")
    with imap.door(alice) as second:
        assert second is first
        second.client._imap.sock.shutdown(socket.SHUT_RDWR)
    with imap.door(alice) as third:
        assert third is not first
        assert third.select("INBOX").exists == 0


def test_a_connection_that_broke_is_not_kept(alice: MailAccount) -> None:
    with pytest.raises(RuntimeError):
        with imap.door(alice) as first:
            raise RuntimeError("in the middle of something")
    with imap.door(alice) as second:
        assert second is not first


def test_two_threads_never_share_a_connection(alice: MailAccount) -> None:
    with imap.door(alice) as first, imap.door(alice) as second:
        assert first is not second


def test_a_new_password_is_not_served_by_an_old_login(alice: MailAccount) -> None:
    with imap.door(alice):
        pass
    alice.set_password(b"changed")
    with pytest.raises(MailServerError, match="refused_login"):
        with imap.door(alice):
            pass
