"""The guarded fetcher against a real local server, and against every way around its guard."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.test import Client

from webmail.accounts.models import User
from webmail.lib import fetch
from webmail.lib.fetch import FetchError, FetchFailed, FetchRefused
from webmail.reading import proxy


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))
        if self.path == "/list":
            self._answer(200, b"the list", {"ETag": '"1"'})
        elif self.path == "/known" and self.headers.get("If-None-Match"):
            self._answer(304, b"")
        elif self.path.startswith("/to?"):
            self._answer(302, b"", {"Location": self.path[4:]})
        elif self.path == "/loop":
            self._answer(302, b"", {"Location": "/loop"})
        elif self.path == "/large":
            self._answer(200, b"x" * 5000)
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"x" * 1000)
            except OSError:
                return
        elif self.path == "/drip":
            try:
                for letter in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"y" * 1000:
                    self.wfile.write(bytes([letter]))
                    time.sleep(0.05)
            except OSError:
                return
        elif self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"only this")
            self.close_connection = True
        else:
            self._answer(404, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, dict(self.headers)))
        self._answer(200, body[::-1])

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, dict[str, str]]] = []

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def allowed(server: Server, settings: Any) -> Server:
    """The server, named by the administrator."""
    settings.FETCH_ALLOWED_HOSTS = [f"127.0.0.1:{server.server_port}"]
    return server


def test_an_allowed_server_is_read(allowed: Server) -> None:
    assert fetch.get(f"{allowed.origin}/list") == b"the list"


def test_a_post_carries_its_body_and_type(allowed: Server) -> None:
    answer = fetch.post(f"{allowed.origin}/ocsp", b"abc", content_type="application/ocsp-request")
    assert answer == b"cba"
    assert allowed.seen[0][1]["Content-Type"] == "application/ocsp-request"


def test_nothing_of_the_user_travels(allowed: Server) -> None:
    fetch.get(f"{allowed.origin}/list")
    sent = {name.lower(): value for name, value in allowed.seen[0][1].items()}
    assert not sent.keys() & {"cookie", "referer", "authorization", "x-forwarded-for", "origin"}
    assert sent["user-agent"] == "Sealpost"


def test_the_environments_proxy_is_not_used(
    allowed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert fetch.get(f"{allowed.origin}/list") == b"the list"


def test_the_same_server_is_refused_unless_it_is_allowed(server: Server) -> None:
    with pytest.raises(FetchRefused) as refused:
        fetch.get(f"{server.origin}/list")
    assert refused.value.code == "port"
    assert server.seen == []


def test_a_server_that_was_named_is_refused_where_only_public_ones_are_wanted(
    allowed: Server, settings: Any
) -> None:
    assert fetch.get(f"{allowed.origin}/list") == b"the list"
    with pytest.raises(FetchRefused):
        fetch.get(f"{allowed.origin}/list", public_only=True)
    picture = proxy.address(f"{allowed.origin}/picture", User())
    answer = Client().get(picture)
    assert answer.status_code == 404
    assert [path for path, _headers in allowed.seen] == ["/list"]


def test_an_allowed_port_of_a_host_allows_no_other_port(allowed: Server) -> None:
    with pytest.raises(FetchRefused):
        fetch.get("http://127.0.0.1:1/list")


def test_a_conditional_request_may_be_answered_by_not_modified(allowed: Server) -> None:
    answer = fetch.fetch(f"{allowed.origin}/known", headers={"If-None-Match": '"1"'})
    assert (answer.status, answer.body) == (304, b"")
    with pytest.raises(FetchFailed):
        fetch.fetch(f"{allowed.origin}/known")


BYPASSES = [
    "http://127.0.0.1/",
    "http://127.1/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://2130706433/",
    "http://0177.0.0.1/",
    "http://127.0.0.1./",
    "http://localhost/",
    "http://localhost./",
    "http://LOCALHOST/",
    "http://[::1]/",
    "http://[::]/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b:1::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:7f00:1::]/",
    "http://[2001:4860::5efe:7f00:1]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25lo]/",
    "http://[fec0::1]/",
    "http://[fc00::1]/",
    "http://[fd12:3456::1]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://0.0.0.0/",
    "http://0/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://100.64.0.1/",
    "http://192.0.0.8/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://１２７.０.０.１/",
    "http://127。0。0。1/",
    "http://ⓛocalhost/",
    "http://user@127.0.0.1/",
    "http://public.example@127.0.0.1/",
    "http://127.0.0.1:25/",
    "http://93.184.216.34:22/",
    "http://93.184.216.34:0/",
    "https://93.184.216.34:8443/",
    "file:///etc/passwd",
    "ftp://93.184.216.34/",
    "ldap://93.184.216.34/cn=x",
    "gopher://127.0.0.1:25/_HELO",
    "http:///etc/passwd",
    "http://exa mple.org/",
    "http://example.org/\r\nX: y",
    "http://example.org\\@127.0.0.1/",
    "//127.0.0.1/",
    "",
    "http://" + "a" * 300 + "/",
    "http://example.org/" + "a" * 3000,
]


@pytest.mark.parametrize("url", BYPASSES)
def test_no_spelling_of_an_inner_address_is_reached(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(self: socket.socket, address: Any) -> None:
        raise AssertionError(f"connected to {address}")

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(FetchError):
        fetch.get(url, timeout=5)


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700:4700::1111"])
def test_public_addresses_are_public(address: str) -> None:
    assert fetch.is_public(address)


def test_a_name_that_resolves_inside_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, ["10.1.2.3"])
    with pytest.raises(FetchRefused) as refused:
        fetch.get("http://crl.example.org/")
    assert refused.value.code == "private"


def test_one_inner_address_among_public_ones_refuses_the_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve_to(monkeypatch, ["93.184.216.34", "127.0.0.1"])
    with pytest.raises(FetchRefused):
        fetch.get("http://crl.example.org/")


def test_the_address_that_was_checked_is_the_one_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: the second answer of the name server would be 127.0.0.1."""
    answers = iter([["93.184.216.34"], ["127.0.0.1"], ["127.0.0.1"]])
    asked: list[str] = []
    reached: list[Any] = []

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [info(address, port) for address in next(answers)]

    def connect(self: socket.socket, address: Any) -> None:
        reached.append(address)
        raise OSError("not in a test")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(FetchFailed):
        fetch.get("http://crl.example.org/")
    assert asked == ["crl.example.org"]
    assert reached == [("93.184.216.34", 80)]


def test_a_redirect_is_followed_where_it_may_go(allowed: Server) -> None:
    assert fetch.get(f"{allowed.origin}/to?/list") == b"the list"


def test_a_redirect_to_an_inner_address_is_refused(allowed: Server) -> None:
    for target in (
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://169.254.169.254/",
        "file:///etc/x",
    ):
        with pytest.raises(FetchRefused):
            fetch.get(f"{allowed.origin}/to?{target}")


def test_redirects_end_after_three(allowed: Server) -> None:
    with pytest.raises(FetchFailed) as failed:
        fetch.get(f"{allowed.origin}/loop")
    assert failed.value.code == "redirects"
    assert len(allowed.seen) == 4


def test_a_large_answer_is_not_read(allowed: Server) -> None:
    assert len(fetch.get(f"{allowed.origin}/large", limit=5000)) == 5000
    for path in ("/large", "/endless"):
        with pytest.raises(FetchFailed) as failed:
            fetch.get(f"{allowed.origin}{path}", limit=4999, timeout=10)
        assert failed.value.code == "too_large"


def test_a_dripping_server_is_cut_at_the_total_time(allowed: Server) -> None:
    began = time.monotonic()
    with pytest.raises(FetchFailed) as failed:
        fetch.get(f"{allowed.origin}/drip", timeout=0.6)
    assert failed.value.code == "timeout"
    assert time.monotonic() - began < 3


def test_an_answer_cut_short_is_no_answer(allowed: Server) -> None:
    with pytest.raises(FetchFailed) as failed:
        fetch.get(f"{allowed.origin}/short")
    assert failed.value.code == "broken"


def test_a_name_server_that_never_answers_costs_no_more_than_the_total_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given_up = threading.Event()

    def silent(*_arguments: Any, **_named: Any) -> Any:
        given_up.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    began = time.monotonic()
    try:
        with pytest.raises(FetchFailed) as failed:
            fetch.get("http://crl.example.org/", timeout=0.3)
    finally:
        given_up.set()  # the thread that still asks must not outlive this test
    assert failed.value.code == "timeout"
    assert time.monotonic() - began < 3


def test_a_wrong_certificate_is_refused(allowed: Server, settings: Any) -> None:
    with pytest.raises(FetchFailed):
        fetch.get(allowed.origin.replace("http:", "https:") + "/list", timeout=5)


def info(address: str, port: int) -> Any:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return (family, socket.SOCK_STREAM, 6, "", (address, port))


def resolve_to(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> None:
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, port, **_: [info(each, port) for each in addresses]
    )
