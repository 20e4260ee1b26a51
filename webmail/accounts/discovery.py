"""Find the mail servers of an address, and say where each answer came from.

Asked in this order, the first server that answers under TLS wins:

1. the organisation's own servers from the settings;
2. autoconfig files of the domain (https only), then a published database of providers, by the
   domain and by its MX host;
3. SRV records (RFC 6186, RFC 8314 §5.1);
4. the usual names: ``imap.``, ``mail.``, ``smtp.``

Nothing that a stranger's domain names is believed before a TLS handshake with a certificate for
that very host name succeeded, nor reached at all when it leads into a private network: both through
:mod:`webmail.lib.fetch`. No password is sent anywhere by this module.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast
from urllib.parse import quote, urlsplit

import dns.exception
import dns.resolver
from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from publicsuffixlist import PublicSuffixList

from webmail.accounts.addresses import normalise, normalise_domain
from webmail.lib import fetch

Kind = Literal["imap", "smtp"]
Tls = Literal["implicit", "starttls", "none"]

XML_LIMIT: Final = 64 * 1024
"""Bytes; real autoconfig files have 1 to 5 KB."""
FETCH_SECONDS: Final = 4.0
PROBE_SECONDS: Final = 4.0
DNS_SECONDS: Final = 3.0
TOTAL_SECONDS: Final = 25.0
"""An administrator waits for this form."""
LINE_LIMIT: Final = 4096
"""Bytes of greeting that are read."""
CANDIDATES_PER_SOURCE: Final = 4

PORTS: Final = {
    ("imap", "implicit"): 993, ("imap", "starttls"): 143, ("imap", "none"): 143,
    ("smtp", "implicit"): 465, ("smtp", "starttls"): 587, ("smtp", "none"): 25,
}  # fmt: skip


@dataclass(frozen=True)
class Server:
    """One server to try. ``user`` is the login name it wants, ``source`` where it was named."""

    kind: Kind
    host: str
    port: int
    tls: Tls
    user: str
    source: str


@dataclass(frozen=True)
class Attempt:
    """For the administrator's page: what was asked and what came of it."""

    source: str
    outcome: str


@dataclass
class Found:
    """What discovery knows at its end."""

    imap: Server | None = None
    smtp: Server | None = None
    attempts: list[Attempt] = field(default_factory=list)

    def wants(self, kind: Kind) -> bool:
        return (self.imap if kind == "imap" else self.smtp) is None

    def take(self, server: Server) -> None:
        if server.kind == "imap":
            self.imap = server
        else:
            self.smtp = server

    @property
    def is_complete(self) -> bool:
        return self.imap is not None and self.smtp is not None


def discover(address: str) -> Found:
    """Servers for ``address``; either may stay None. Raises ValidationError for a bad address."""
    address = normalise(address)
    deadline = time.monotonic() + TOTAL_SECONDS
    found = Found()
    for server in organisation_defaults(address):
        found.take(server)
        found.attempts.append(Attempt(server.source, _("taken")))
    for source in _SOURCES:
        if found.is_complete or time.monotonic() > deadline:
            break
        for server in source(address, found):
            if found.wants(server.kind) and time.monotonic() < deadline:
                _try(server, found)
    return found


def _try(server: Server, found: Found) -> None:
    where = f"{server.source}: {server.host}:{server.port}"
    try:
        probe(server)
    except Unusable as error:
        found.attempts.append(Attempt(where, str(error)))
    else:
        found.attempts.append(Attempt(where, _("answers")))
        found.take(server)


# --------------------------------------------------------------------------- 1. settings


def organisation_defaults(address: str) -> list[Server]:
    """From ``SEALPOST_IMAP_DEFAULT`` and ``SEALPOST_SMTP_DEFAULT``; trusted, hence not probed."""
    servers = []
    kinds: tuple[tuple[Kind, str], ...] = (
        ("imap", settings.IMAP_DEFAULT),
        ("smtp", settings.SMTP_DEFAULT),
    )
    for kind, url in kinds:
        if url:
            host, port, tls = parse_server(url, kind)
            servers.append(Server(kind, host, port, tls, address, _("the organisation's settings")))
    return servers


def parse_server(url: str, kind: Kind) -> tuple[str, int, Tls]:
    """``implicit://host:993`` as (host, port, tls). Raises ValidationError."""
    parts = urlsplit(url)
    tls = parts.scheme
    try:
        port = parts.port
    except ValueError:
        port = 0
    if tls not in ("implicit", "starttls", "none") or not parts.hostname or port == 0:
        raise ValidationError(
            _("%(url)s is not a server. Write it like implicit://imap.example.org:993."),
            params={"url": url[:100]},
        )
    known = cast(Tls, tls)  # one of the three, as just checked
    return parts.hostname, port or PORTS[kind, known], known


# --------------------------------------------------------------------------- 2. autoconfig


def _autoconfig(address: str, found: Found) -> Iterator[Server]:
    domain = address.rpartition("@")[2]
    path = f"mail/config-v1.1.xml?emailaddress={quote(address)}"
    yield from _from_url(f"https://autoconfig.{domain}/{path}", address, found, _("autoconfig"))
    yield from _from_url(
        f"https://{domain}/.well-known/autoconfig/mail/config-v1.1.xml",
        address,
        found,
        _("autoconfig of the domain"),
    )


def _provider_database(address: str, found: Found) -> Iterator[Server]:
    """A published database such as Thunderbird's: it learns the domain, not the address."""
    base = settings.AUTOCONFIG_DATABASE
    if not base:
        return
    domain = address.rpartition("@")[2]
    source = _("database of providers")
    servers = list(_from_url(f"{base}{domain}", address, found, source))
    yield from servers
    if not servers:
        for provider in _mx_domains(domain):
            if provider != domain:
                yield from _from_url(f"{base}{provider}", address, found, source)


def _from_url(url: str, address: str, found: Found, source: str) -> Iterator[Server]:
    where = f"{source}: {urlsplit(url).hostname}"
    try:
        document = fetch.get(url, limit=XML_LIMIT, timeout=FETCH_SECONDS)
        servers = parse_autoconfig(document, address, source)
    except fetch.FetchError as error:
        found.attempts.append(Attempt(where, str(error)))
        return
    except ValueError:
        found.attempts.append(Attempt(where, _("The file cannot be read.")))
        return
    if not servers:
        found.attempts.append(Attempt(where, _("The file names no server with TLS.")))
    yield from servers


def parse_autoconfig(document: bytes, address: str, source: str) -> list[Server]:
    """IMAP and SMTP servers of an autoconfig file, version 1.1. Raises ValueError."""
    try:
        root = ElementTree.fromstring(document, forbid_dtd=True)
    except (ElementTree.ParseError, DefusedXmlException, LookupError, RecursionError) as error:
        raise ValueError("not an autoconfig file") from error
    servers: list[Server] = []
    tags: tuple[tuple[str, Kind], ...] = (("incomingServer", "imap"), ("outgoingServer", "smtp"))
    for tag, kind in tags:
        for element in root.iterfind(f"./emailProvider/{tag}"):
            if element.get("type") == kind:
                server = _server_of(element, kind, address, source)
                if server is not None:
                    servers.append(server)
    return servers[: 2 * CANDIDATES_PER_SOURCE]


_SOCKET_TYPES: Final[dict[str, Tls]] = {"SSL": "implicit", "STARTTLS": "starttls"}


def _server_of(
    element: ElementTree.Element, kind: Kind, address: str, source: str
) -> Server | None:
    tls = _SOCKET_TYPES.get((element.findtext("socketType") or "").strip().upper())
    methods = {(item.text or "").strip().lower() for item in element.iterfind("authentication")}
    if tls is None or (methods and not methods & _PASSWORD_METHODS):
        return None
    try:
        host = normalise_domain(_filled(element.findtext("hostname") or "", address))
        port = int((element.findtext("port") or "").strip() or PORTS[kind, tls])
    except (ValidationError, ValueError):
        return None
    user = _filled(element.findtext("username") or "", address) or address
    if not 0 < port < 65536 or any(ord(character) < 32 for character in user) or len(user) > 254:
        return None
    return Server(kind, host, port, tls, user, source)


_PASSWORD_METHODS: Final = frozenset({"password-cleartext", "plain", "password-encrypted"})
"""Methods that a stored password serves; a server that wants OAuth2 alone cannot be used yet."""


def _filled(text: str, address: str) -> str:
    local, _at, domain = address.rpartition("@")
    return (
        text.strip()
        .replace("%EMAILADDRESS%", address)
        .replace("%EMAILLOCALPART%", local)
        .replace("%EMAILDOMAIN%", domain)
    )


# --------------------------------------------------------------------------- 3. DNS


def _resolve(name: str, kind: str) -> list[Any]:
    """Records of dnspython's class for ``kind``; empty when there are none or nobody answers."""
    resolver = dns.resolver.Resolver()
    resolver.lifetime = DNS_SECONDS
    try:
        return list(resolver.resolve(name, kind, search=False))
    except (dns.exception.DNSException, OSError):
        return []


def _mx_domains(domain: str) -> list[str]:
    records = sorted(_resolve(domain, "MX"), key=lambda record: int(record.preference))
    suffixes = PublicSuffixList()
    domains: list[str] = []
    for record in records[:CANDIDATES_PER_SOURCE]:
        organisational = suffixes.privatesuffix(str(record.exchange).rstrip(".").lower())
        if organisational and organisational not in domains:
            domains.append(organisational)
    return domains


_SERVICES: Final[tuple[tuple[str, Kind, Tls], ...]] = (
    ("_imaps._tcp", "imap", "implicit"),  # RFC 6186 §3.2; implicit TLS first, RFC 8314 §5.1
    ("_imap._tcp", "imap", "starttls"),
    ("_submissions._tcp", "smtp", "implicit"),  # RFC 8314 §5.1
    ("_submission._tcp", "smtp", "starttls"),  # RFC 6186 §3.1
)


def _service_records(address: str, found: Found) -> Iterator[Server]:
    """These answers come from DNS unsigned; the certificate is checked for the name they give."""
    domain = address.rpartition("@")[2]
    for service, kind, tls in _SERVICES:
        if not found.wants(kind):
            continue
        records = _resolve(f"{service}.{domain}", "SRV")
        # RFC 2782: lower priority first, among equals the heavier one.
        records.sort(key=lambda record: (int(record.priority), -int(record.weight)))
        if not records:
            found.attempts.append(Attempt(f"DNS: {service}.{domain}", _("no such record")))
        for record in records[:CANDIDATES_PER_SOURCE]:
            target = str(record.target).rstrip(".").lower()
            if target:  # "." says: this service is not offered (RFC 6186 §3.4)
                yield Server(kind, target, int(record.port), tls, address, _("DNS service record"))


# --------------------------------------------------------------------------- 4. usual names


_USUAL: Final[tuple[tuple[str, Kind, Tls], ...]] = (
    ("imap.{}", "imap", "implicit"),
    ("mail.{}", "imap", "implicit"),
    ("{}", "imap", "implicit"),
    ("smtp.{}", "smtp", "implicit"),
    ("smtp.{}", "smtp", "starttls"),
    ("mail.{}", "smtp", "implicit"),
    ("mail.{}", "smtp", "starttls"),
)


def _usual_names(address: str, found: Found) -> Iterator[Server]:
    domain = address.rpartition("@")[2]
    for pattern, kind, tls in _USUAL:
        if found.wants(kind):
            host = pattern.format(domain)
            yield Server(kind, host, PORTS[kind, tls], tls, address, _("usual name"))


_SOURCES: Final[tuple[Callable[[str, Found], Iterator[Server]], ...]] = (
    _autoconfig,
    _provider_database,
    _service_records,
    _usual_names,
)


# --------------------------------------------------------------------------- probing


class Unusable(Exception):
    """The message is one sentence for the administrator."""


def probe(server: Server) -> None:
    """Connect, make TLS, read the greeting. Raises :class:`Unusable`."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        with fetch.connect(server.host, server.port, timeout=PROBE_SECONDS) as plain:
            if server.tls == "starttls":
                _ask_for_tls(_Lines(plain.recv, plain.sendall), server.kind)
            elif server.tls == "none":
                raise Unusable(_("A server without TLS is not used."))
            with context.wrap_socket(plain, server_hostname=server.host) as secured:
                if server.tls == "implicit":
                    _greeting(_Lines(secured.recv, secured.sendall), server.kind)
    except fetch.FetchError as error:
        raise Unusable(str(error)) from error
    except ssl.SSLCertVerificationError as error:
        raise Unusable(_("The certificate does not fit this host name.")) from error
    except (OSError, ValueError) as error:
        raise Unusable(_("There is no mail server with TLS.")) from error


class _Lines:
    """Reads lines of a bounded greeting, one octet at a time: nothing behind STARTTLS is taken."""

    def __init__(self, receive: Callable[[int], bytes], send: Callable[[bytes], None]) -> None:
        self.receive, self.send, self.left = receive, send, LINE_LIMIT

    def read(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            octet = self.receive(1)
            self.left -= 1
            if not octet or self.left < 0:
                raise ValueError("no line")
            line += octet
        return line.rstrip(b"\r\n")


def _greeting(lines: _Lines, kind: Kind) -> None:
    """``* OK`` or ``* PREAUTH`` (RFC 9051 §7.1), ``220`` (RFC 5321 §4.2). Raises ValueError."""
    if kind == "imap":
        if not lines.read().upper().startswith((b"* OK", b"* PREAUTH")):
            raise ValueError("no IMAP greeting")
        return
    _smtp_reply(lines, b"220")


def _smtp_reply(lines: _Lines, code: bytes) -> None:
    while True:
        line = lines.read()
        if not line.startswith(code):
            raise ValueError("no SMTP reply")
        if line[3:4] != b"-":
            return


def _ask_for_tls(lines: _Lines, kind: Kind) -> None:
    _greeting(lines, kind)
    if kind == "imap":
        lines.send(b"a1 STARTTLS\r\n")
        line = lines.read()
        while line.startswith(b"*"):
            line = lines.read()
        if not line.upper().startswith(b"A1 OK"):
            raise ValueError("no STARTTLS")
        return
    lines.send(b"EHLO sealpost.invalid\r\n")
    _smtp_reply(lines, b"250")
    lines.send(b"STARTTLS\r\n")
    _smtp_reply(lines, b"220")
