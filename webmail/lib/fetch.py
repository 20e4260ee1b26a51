"""HTTP for addresses that strangers choose: CRL, OCSP and AIA URLs stand in a sender's certificate.

What may be reached is decided on the network address, after the name was resolved once, and the
connection goes to exactly that address: a name cannot resolve to something else in between. Only
public unicast addresses are reached, and what an administrator names in
``SEALPOST_FETCH_ALLOWED_HOSTS`` (``host:port``). Every redirect is checked again from the start.

Nothing of the user travels: no cookie, no referrer, no user agent that names a version, no proxy.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urljoin, urlsplit

import idna
from django.conf import settings

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
"""Other ports are how a port scan is done through us; they need the administrator's word."""

MAX_REDIRECTS: Final = 3
MAX_URL: Final = 2_048
MAX_ADDRESSES: Final = 4
"""Of one name; each is tried at most once."""

DEFAULT_LIMIT: Final = 10 * 1024 * 1024
DEFAULT_TIMEOUT: Final = 15.0

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

_REFUSED_V4: Final = tuple(
    ipaddress.ip_network(text)
    for text in (  # IANA IPv4 Special-Purpose Address Registry (RFC 6890), multicast, reserved
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)

_ALLOWED_V6: Final = ipaddress.ip_network("2000::/3")
"""Global unicast as allocated by IANA; all else (::/8 with mapped and compatible forms, NAT64
64:ff9b::/96, ULA fc00::/7, link-local, site-local fec0::/10, multicast) is refused."""

_REFUSED_V6: Final = tuple(
    ipaddress.ip_network(text)
    for text in (  # inside 2000::/3, yet special (RFC 6890) or carrying an IPv4 address
        "2001::/23",  # IETF protocol assignments, Teredo, ORCHID, benchmarking
        "2001:db8::/32",
        "2002::/16",  # 6to4 (RFC 3056)
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)

_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})
"""Interface identifiers that carry an IPv4 address (RFC 5214 §6.1)."""


class FetchError(Exception):
    """``code`` is stable, the message is one sentence for an administrator, without content."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class FetchRefused(FetchError):
    """We will not connect there."""


class FetchFailed(FetchError):
    """We tried, and it did not give us what was asked for."""


@dataclass(frozen=True)
class Answer:
    """``status`` is 200 or 304; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class _Target:
    scheme: str
    host: str
    port: int
    path: str
    public_only: bool = False

    @property
    def allowed_by_name(self) -> bool:
        if self.public_only:
            return False
        shown = f"[{self.host}]" if ":" in self.host else self.host
        allowed = {str(entry).strip().lower() for entry in settings.FETCH_ALLOWED_HOSTS}
        return f"{shown}:{self.port}" in allowed


def is_public(address: str) -> bool:
    """True for a unicast address of the public Internet that carries no other address inside."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False  # also addresses with a zone, such as fe80::1%eth0
    if isinstance(parsed, ipaddress.IPv4Address):
        return not any(parsed in network for network in _REFUSED_V4)
    if parsed.scope_id is not None or parsed not in _ALLOWED_V6:
        return False
    if (int(parsed) >> 32) & 0xFFFFFFFF in _ISATAP:
        return False
    return not any(parsed in network for network in _REFUSED_V6)


def get(
    url: str,
    *,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    public_only: bool = False,
) -> bytes:
    """The body at ``url``: at most ``limit`` bytes within ``timeout`` seconds in all.

    ``public_only``: what the administrator named is not reached either. Raises FetchRefused or
    FetchFailed.
    """
    return fetch(url, limit=limit, timeout=timeout, public_only=public_only).body


def post(
    url: str,
    body: bytes,
    *,
    content_type: str,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
) -> bytes:
    """Send ``body`` (OCSP, RFC 3161); returns the answer's body. Redirects are not followed."""
    headers = {"Content-Type": content_type}
    return fetch(url, body=body, headers=headers, limit=limit, timeout=timeout).body


def fetch(
    url: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: float = DEFAULT_TIMEOUT,
    public_only: bool = False,
) -> Answer:
    """GET, or POST when there is a ``body``. With conditional ``headers`` a 304 is an answer."""
    deadline = time.monotonic() + timeout
    conditional = any(name.lower().startswith("if-") for name in headers or {})
    for _hop in range(MAX_REDIRECTS + 1):
        target = check_url(url, public_only=public_only)
        status, answered, data = _exchange(target, body, dict(headers or {}), limit, deadline)
        if status == 200 or (status == 304 and conditional):
            return Answer(status, answered, data)
        location = answered.get("location", "")
        if status not in _REDIRECTS or body is not None or not location:
            raise FetchFailed("status", f"The server answered with status {status}.")
        following = urljoin(url, location)
        if target.scheme == "https" and not following.lower().startswith("https:"):
            raise FetchRefused("downgrade", "The server redirects from https to something weaker.")
        url = following
    raise FetchFailed("redirects", f"More than {MAX_REDIRECTS} redirects.")


def check_url(url: str, *, public_only: bool = False) -> _Target:
    """Scheme, host and port of a URL that may be tried. Raises FetchRefused."""
    if len(url) > MAX_URL or any(not 0x21 <= ord(char) <= 0x7E for char in _ascii(url)):
        raise FetchRefused("url", "The address is too long or holds characters it must not hold.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise FetchRefused("url", "The address cannot be read.") from error
    if parts.scheme not in DEFAULT_PORTS:
        raise FetchRefused("scheme", "Only http and https addresses are fetched.")
    if "@" in parts.netloc or "\\" in url:
        raise FetchRefused("url", "The address names a user or holds a backslash.")
    if port == 0:
        raise FetchRefused("port", "Port 0 is no port.")
    host = _plain_host(host)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    target = _Target(parts.scheme, host, port or DEFAULT_PORTS[parts.scheme], path, public_only)
    if target.port != DEFAULT_PORTS[target.scheme] and not target.allowed_by_name:
        raise FetchRefused("port", "Only the usual ports of http and https are reached.")
    return target


def _ascii(url: str) -> str:
    """The URL without its non-ASCII letters, which only a host may hold (they become A-labels)."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return url
    return url if host.isascii() else url.lower().replace(host, "x", 1)


def _plain_host(host: str) -> str:
    """The host as resolvers see it: lower-case A-labels without the final dot."""
    if ":" in host:
        return host.lower()
    try:
        # UTS 46 also maps full-width digits and dots, so that they are judged as what they become.
        plain = host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise FetchRefused("url", "The host name cannot be read.") from error
    plain = plain.lower().rstrip(".")
    if not plain or len(plain) > 253 or any(not (c.isalnum() or c in "-._") for c in plain):
        raise FetchRefused("url", "The host name cannot be read.")
    return plain


def _resolve(
    target: _Target, deadline: float
) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """Addresses to connect to, all of them checked. Raises FetchRefused, FetchFailed."""
    found: list[tuple[socket.AddressFamily, tuple[str, int]]] = []
    failure: list[OSError | UnicodeError] = []

    def ask() -> None:
        try:
            for family, _kind, _protocol, _name, address in socket.getaddrinfo(
                target.host, target.port, type=socket.SOCK_STREAM
            ):
                # A zone stays in the text, and is_public refuses it.
                found.append((family, (str(address[0]), target.port)))
        except (OSError, UnicodeError) as error:
            failure.append(error)

    # The system's resolver knows no deadline of ours: it may go on in a thread nobody waits for.
    thread = threading.Thread(target=ask, daemon=True, name="resolve")
    thread.start()
    thread.join(max(0.0, deadline - time.monotonic()))
    if thread.is_alive():
        raise FetchFailed("timeout", "The host name was not resolved in time.")
    if failure or not found:
        raise FetchFailed("unresolved", "The host name is not known.")
    if not target.allowed_by_name and not all(is_public(address[0]) for _, address in found):
        raise FetchRefused("private", "The address leads into a private network.")
    return found[:MAX_ADDRESSES]


def _connect(target: _Target, deadline: float) -> socket.socket:
    last: OSError | None = None
    for family, address in _resolve(target, deadline):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(_left(deadline))
            connection.connect(address)
        except OSError as error:
            connection.close()
            last = error
        else:
            return connection
    raise FetchFailed("unreachable", "No connection to the server.") from last


def connect(host: str, port: int, *, timeout: float = DEFAULT_TIMEOUT) -> socket.socket:
    """A plain connection to a server that a stranger named, under the same guard as a URL.

    ``timeout`` covers resolving and connecting, and stays the socket's own. The caller makes TLS
    and closes. Raises FetchRefused or FetchFailed.
    """
    target = _Target("tcp", _plain_host(host), port, "")
    connection = _connect(target, time.monotonic() + timeout)
    connection.settimeout(timeout)
    return connection


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise FetchFailed("timeout", "The server was too slow.")
    return left


@contextmanager
def _cut_at(connection: socket.socket, deadline: float) -> Iterator[None]:
    """Cut the line at the deadline: a socket's own timeout starts anew with every byte dripped."""
    handle = socket.socket(fileno=os.dup(connection.fileno()))

    def cut() -> None:
        try:
            handle.shutdown(socket.SHUT_RDWR)
        except OSError:  # closed by the far end already
            pass

    timer = threading.Timer(_left(deadline), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        handle.close()


def _exchange(
    target: _Target, body: bytes | None, headers: dict[str, str], limit: int, deadline: float
) -> tuple[int, dict[str, str], bytes]:
    try:
        raw = _connect(target, deadline)
        with _cut_at(raw, deadline):
            return _speak(target, raw, body, headers, limit, deadline)
    except FetchError:
        raise
    except ssl.SSLError as error:
        _left(deadline)
        raise FetchFailed(
            "tls", "The server's TLS certificate or handshake is not valid."
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        _left(deadline)  # cut by ourselves: say so
        raise FetchFailed("broken", "The connection broke, or the answer is not HTTP.") from error


def _speak(
    target: _Target,
    raw: socket.socket,
    body: bytes | None,
    headers: dict[str, str],
    limit: int,
    deadline: float,
) -> tuple[int, dict[str, str], bytes]:
    line = http.client.HTTPConnection(target.host, target.port)
    try:
        if target.scheme == "https":
            context = ssl.create_default_context()
            line.sock = context.wrap_socket(raw, server_hostname=target.host)
        else:
            line.sock = raw
        standard = DEFAULT_PORTS[target.scheme] == target.port
        shown = f"[{target.host}]" if ":" in target.host else target.host
        sent = {
            "Host": shown if standard else f"{shown}:{target.port}",
            "User-Agent": "Sealpost",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
            **headers,
        }
        line.sock.settimeout(_left(deadline))
        line.request("GET" if body is None else "POST", target.path, body=body, headers=sent)
        answer = line.getresponse()
        answered = {name.lower(): value for name, value in answer.getheaders()}
        if answer.status != 200:
            return answer.status, answered, b""
        if (answer.length or 0) > limit:
            raise FetchFailed("too_large", f"The answer is larger than {limit} bytes.")
        data = answer.read(limit + 1)
        if len(data) > limit:
            raise FetchFailed("too_large", f"The answer is larger than {limit} bytes.")
        if answer.length not in (None, 0):
            # Cut short, by the deadline or by the server.
            raise http.client.IncompleteRead(b"", answer.length)
        _left(deadline)
        return answer.status, answered, data
    finally:
        line.close()
        raw.close()
