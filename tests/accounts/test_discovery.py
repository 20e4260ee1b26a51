from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from webmail.accounts import discovery
from webmail.accounts.discovery import Server, Unusable, parse_autoconfig, parse_server, probe

ALICE = "alice@acme.example"

AUTOCONFIG = b"""<?xml version="1.0"?>
<clientConfig version="1.1"><emailProvider id="acme.example">
  <domain>acme.example</domain>
  <incomingServer type="pop3"><hostname>pop.acme.example</hostname><port>995</port>
    <socketType>SSL</socketType><username>%EMAILADDRESS%</username></incomingServer>
  <incomingServer type="imap"><hostname>plain.acme.example</hostname><port>143</port>
    <socketType>plain</socketType><username>%EMAILADDRESS%</username></incomingServer>
  <incomingServer type="imap"><hostname>oauth.acme.example</hostname><port>993</port>
    <socketType>SSL</socketType><username>%EMAILADDRESS%</username>
    <authentication>OAuth2</authentication></incomingServer>
  <incomingServer type="imap"><hostname>IMAP.%EMAILDOMAIN%</hostname><port>993</port>
    <socketType>SSL</socketType><username>%EMAILLOCALPART%</username>
    <authentication>password-cleartext</authentication></incomingServer>
  <outgoingServer type="smtp"><hostname>smtp.acme.example</hostname><port>587</port>
    <socketType>STARTTLS</socketType><username>%EMAILADDRESS%</username></outgoingServer>
</emailProvider></clientConfig>"""


def test_autoconfig_names_servers_with_tls_and_a_password_login() -> None:
    assert parse_autoconfig(AUTOCONFIG, ALICE, "file") == [
        Server("imap", "imap.acme.example", 993, "implicit", "alice", "file"),
        Server("smtp", "smtp.acme.example", 587, "starttls", ALICE, "file"),
    ]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html><body>not found",
        b'<!DOCTYPE x [<!ENTITY a "b">]><clientConfig>&a;</clientConfig>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><clientConfig/>',
        b'<?xml version="1.0" encoding="nonsense"?><clientConfig/>',
    ],
)
def test_what_is_no_autoconfig_file_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError):
        parse_autoconfig(document, ALICE, "file")


@pytest.mark.parametrize("port", ["0", "65536", "-1", "x", "993 OR 1"])
def test_impossible_ports_are_left_out(port: str) -> None:
    document = AUTOCONFIG.replace(b"993", port.encode()).replace(b"587", port.encode())
    assert parse_autoconfig(document, ALICE, "file") == []


def test_a_login_name_with_a_line_end_is_left_out() -> None:
    document = AUTOCONFIG.replace(b"%EMAILLOCALPART%", b"alice&#13;&#10;a1 LOGOUT")
    assert [server.kind for server in parse_autoconfig(document, ALICE, "file")] == ["smtp"]


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("implicit://imap.acme.example", ("imap.acme.example", 993, "implicit")),
        ("starttls://imap.acme.example:1143", ("imap.acme.example", 1143, "starttls")),
        ("none://127.0.0.1:10143", ("127.0.0.1", 10143, "none")),
    ],
)
def test_servers_are_written_as_addresses(url: str, server: tuple[str, int, str]) -> None:
    assert parse_server(url, "imap") == server


@pytest.mark.parametrize("url", ["imap.acme.example", "ftp://x", "implicit://", "implicit://a:b"])
def test_other_writings_are_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        parse_server(url, "imap")


def test_the_organisations_servers_come_first_and_nothing_else_is_asked(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.IMAP_DEFAULT = "none://127.0.0.1:1143"
    settings.SMTP_DEFAULT = "implicit://smtp.acme.example"

    def nobody_asks(*_: Any, **__: Any) -> Any:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "create_connection", nobody_asks)
    monkeypatch.setattr(socket, "getaddrinfo", nobody_asks)
    found = discovery.discover("alice@acme.example")
    assert found.imap is not None
    assert (found.imap.port, found.imap.user) == (1143, ALICE)
    assert found.is_complete


# --------------------------------------------------------------------------- real TLS servers


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA and a certificate for ``localhost``, by the openssl program."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt",
            "-subj", "/CN=Test CA", "-days", "2")  # fmt: skip
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "s.key", "-out", "s.csr",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")  # fmt: skip
    openssl("x509", "-req", "-in", "s.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-out", "s.crt",
            "-days", "2", "-copy_extensions", "copy")  # fmt: skip
    return folder


@contextmanager
def serving(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on the loopback interface that has one conversation after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(5)
                    try:
                        talk(connection)
                    except (OSError, ssl.SSLError):
                        continue

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def with_tls(folder: Path, connection: socket.socket, greeting: bytes) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "s.crt", folder / "s.key")
    with context.wrap_socket(connection, server_side=True) as secured:
        secured.sendall(greeting)
        secured.recv(1)


@pytest.fixture
def allowed(
    certificates: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], None]:
    """Let the guard pass one port of this machine, and trust the CA of the test."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.crt"))

    def allow(port: int) -> None:
        settings.FETCH_ALLOWED_HOSTS = [f"localhost:{port}", f"127.0.0.1:{port}"]

    return allow


def a_server(
    port: int, *, host: str = "localhost", kind: Any = "imap", tls: Any = "implicit"
) -> Server:
    return Server(kind, host, port, tls, ALICE, "test")


@pytest.mark.parametrize(
    ("kind", "greeting"),
    [("imap", b"* OK ready\r\n"), ("smtp", b"220-hello\r\n220 ready\r\n")],
)
def test_a_server_that_greets_under_tls_is_taken(
    kind: str, greeting: bytes, certificates: Path, allowed: Callable[[int], None]
) -> None:
    with serving(lambda line: with_tls(certificates, line, greeting)) as port:
        allowed(port)
        probe(a_server(port, kind=kind))


def test_starttls_is_asked_for_and_done(certificates: Path, allowed: Callable[[int], None]) -> None:
    def talk(line: socket.socket) -> None:
        line.sendall(b"* OK ready\r\n")
        assert line.recv(100) == b"a1 STARTTLS\r\n"
        line.sendall(b"* CAPABILITY x\r\na1 OK go\r\n")
        with_tls(certificates, line, b"")

    with serving(talk) as port:
        allowed(port)
        probe(a_server(port, tls="starttls"))


def test_a_server_without_starttls_is_refused(allowed: Callable[[int], None]) -> None:
    def talk(line: socket.socket) -> None:
        line.sendall(b"* OK ready\r\n")
        line.recv(100)
        line.sendall(b"a1 BAD what\r\n")

    with serving(talk) as port:
        allowed(port)
        with pytest.raises(Unusable):
            probe(a_server(port, tls="starttls"))


def test_a_certificate_for_another_name_is_refused(
    certificates: Path, allowed: Callable[[int], None]
) -> None:
    with serving(lambda line: with_tls(certificates, line, b"* OK ready\r\n")) as port:
        allowed(port)
        with pytest.raises(Unusable, match="certificate"):
            probe(a_server(port, host="127.0.0.1"))


def test_an_unknown_issuer_is_refused(certificates: Path, settings: Any) -> None:
    with serving(lambda line: with_tls(certificates, line, b"* OK ready\r\n")) as port:
        settings.FETCH_ALLOWED_HOSTS = [f"localhost:{port}"]
        with pytest.raises(Unusable, match="certificate"):
            probe(a_server(port))


@pytest.mark.parametrize("greeting", [b"* BYE go away\r\n", b"HTTP/1.1 400\r\n", b"x" * 9000])
def test_what_greets_otherwise_is_no_mail_server(
    greeting: bytes, certificates: Path, allowed: Callable[[int], None]
) -> None:
    with serving(lambda line: with_tls(certificates, line, greeting)) as port:
        allowed(port)
        with pytest.raises(Unusable):
            probe(a_server(port))


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "192.168.1.1"]
)
def test_private_networks_are_not_reached(
    host: str, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.crt"))
    reached: list[bool] = []

    def talk(line: socket.socket) -> None:
        reached.append(True)
        with_tls(certificates, line, b"* OK ready\r\n")

    with serving(talk) as port, pytest.raises(Unusable):
        probe(a_server(port, host=host.strip("[]")))
    assert not reached
