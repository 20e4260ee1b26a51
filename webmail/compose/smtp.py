"""Hand one mail to the submission server (RFC 6409), and know what the server knows.

Until the final dot a broken connection means: nothing was taken, try again. Between the dot and its
reply nobody but the server knows (RFC 1047), and the caller is told exactly that. ``before_dot`` is
called in between, so that the caller can write down that the dot is about to leave.
"""

from __future__ import annotations

import logging
import re
import select
import smtplib
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

import idna
from django.conf import settings

from webmail.accounts.models import NoLogin
from webmail.lib.failpoints import failpoint
from webmail.lib.numbers import whole

if TYPE_CHECKING:
    from webmail.accounts.models import MailAccount

logger = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 30.0
COMMAND_SECONDS: Final = 300.0
"""RFC 5321 §4.5.3.2.2-3: MAIL and RCPT may take five minutes."""
BLOCK_SECONDS: Final = 180.0
"""RFC 5321 §4.5.3.2.5: each block of data."""
DOT_SECONDS: Final = 600.0
"""RFC 5321 §4.5.3.2.6: the reply to the final dot. Giving up earlier is what makes doubles."""
REPLY_SECONDS: Final = 60.0
"""From the first to the last byte of a reply."""
SLICE_SECONDS: Final = 15.0
"""How often the caller hears that we are still waiting."""
BLOCK_BYTES: Final = 64 * 1024
REPLY_LIMIT: Final = 500

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_ENVELOPE: Final = re.compile(r"[^\x00-\x20\x7f-\xa0<>]{1,320}")
"""An address of the envelope: no control character, space or angle bracket, so that no second
command or parameter fits in."""


CONNECTION_CODES: Final = frozenset({"connection", "unreachable", "tls", "login", "no_account"})
"""Codes after which the connection is of no more use; others are about one mail."""


class SubmissionError(Exception):
    """``code`` is stable (:mod:`webmail.compose.sentences`), ``reply`` the server's words."""

    def __init__(self, code: str, reply: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.reply = reply


class NotTaken(SubmissionError):
    """Nothing was taken; another try may succeed."""


class Refused(SubmissionError):
    """Nothing was taken, and the same mail will be refused again."""

    def __init__(self, code: str, reply: str = "", refused: dict[str, str] | None = None) -> None:
        super().__init__(code, reply)
        self.refused = refused or {}


class Unknown(SubmissionError):
    """The final dot left, and no reply came: the server may or may not have taken the mail."""


@dataclass(frozen=True)
class Taken:
    """The server took responsibility for ``accepted``."""

    reply: str
    accepted: tuple[str, ...]
    refused: dict[str, str] = field(default_factory=dict)
    """Refused for good: address → the server's words."""
    later: dict[str, str] = field(default_factory=dict)
    """Refused for now (4xx): to be tried again."""


def normalise_lines(mail: bytes) -> bytes:
    """CRLF only, and at the end too: a bare LF is how one mail is smuggled into another."""
    lines = _LINE_END.sub(b"\r\n", mail)
    return lines if lines.endswith(b"\r\n") else lines + b"\r\n"


def stuff_dots(mail: bytes) -> bytes:
    """RFC 5321 §4.5.2. ``mail`` has been through :func:`normalise_lines`."""
    stuffed = mail.replace(b"\r\n.", b"\r\n..")
    return b"." + stuffed if stuffed.startswith(b".") else stuffed


def check_envelope(address: str) -> str:
    """The address as it is written in MAIL and RCPT: domain as A-label. Raises Refused."""
    local, at, domain = address.rpartition("@")
    if not at or not local or not _ENVELOPE.fullmatch(address):
        raise Refused("address")
    try:
        plain = domain if domain.isascii() else idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise Refused("address") from error
    return f"{local}@{plain}"


class Submission:
    """One logged-in connection; use as a context manager.

    ``alive`` is called at least every :data:`SLICE_SECONDS` while there is something to wait for,
    and may raise to give up. Raises NotTaken when there is no connection or no login.
    """

    def __init__(self, account: MailAccount, *, alive: Callable[[], None]) -> None:
        self._alive = alive
        self._last_alive = time.monotonic()
        self._smtp = _connect(account)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            try:
                sock = self._smtp.sock
                if sock is not None:
                    sock.settimeout(5)
                self._smtp.quit()
            except (OSError, smtplib.SMTPException):
                logger.debug("the submission server closed first")
        # Without the dot the server drops what it has: closing is taking back.
        self._smtp.close()

    def submit(
        self,
        sender: str,
        recipients: Sequence[str],
        mail: bytes,
        *,
        before_dot: Callable[[], None],
    ) -> Taken:
        """Hand over ``mail``. Raises NotTaken, Refused or Unknown."""
        envelope = {address: check_envelope(address) for address in recipients}
        written_sender = check_envelope(sender)
        try:
            options = self._options(mail, [written_sender, *envelope.values()])
            self._expect(f"MAIL FROM:<{written_sender}>{options}", "mail")
            accepted, refused, later = self._recipients(envelope)
            if not accepted:
                self._command("RSET")
                if later:
                    raise NotTaken("recipients_later", next(iter(later.values())))
                raise Refused("recipients", next(iter(refused.values()), ""), refused)
            failpoint("send.before_data")
            code, reply = self._command("DATA")
            if code != 354:
                raise _by_code("data", code, reply, refused)
            self._data(stuff_dots(mail))
        except (OSError, smtplib.SMTPException) as error:
            raise NotTaken("connection") from error
        failpoint("send.before_dot")
        before_dot()
        failpoint("send.at_dot")
        code, reply = self._dot()
        if 200 <= code <= 299:
            return Taken(reply, tuple(accepted), refused, later)
        if not 400 <= code <= 599:
            raise Unknown("no_reply", reply)  # a word that SMTP does not know here
        raise _by_code("content", code, reply, refused)

    # --- steps

    def _options(self, mail: bytes, addresses: list[str]) -> str:
        smtp = self._smtp
        options = ""
        limit = str(smtp.esmtp_features.get("size", "")).split(" ")[0]
        if "size" in smtp.esmtp_features:
            if 0 < (whole(limit) or 0) < len(mail):  # RFC 1870 §6.1
                raise Refused("too_large")
            options += f" SIZE={len(mail)}"
        smtp.command_encoding = "ascii"
        if any(not address.isascii() for address in addresses):
            if not smtp.has_extn("smtputf8"):  # RFC 6531 §3.2
                raise Refused("smtputf8")
            smtp.command_encoding = "utf-8"
            options += " SMTPUTF8"
        if not mail.isascii():
            if not smtp.has_extn("8bitmime"):  # RFC 6152 §3: what is signed cannot be converted
                raise Refused("eight_bit")
            options += " BODY=8BITMIME"
        return options

    def _recipients(
        self, envelope: dict[str, str]
    ) -> tuple[list[str], dict[str, str], dict[str, str]]:
        accepted: list[str] = []
        refused: dict[str, str] = {}
        later: dict[str, str] = {}
        for address, written in envelope.items():
            code, reply = self._command(f"RCPT TO:<{written}>")
            if 200 <= code <= 299:
                accepted.append(address)
            elif 500 <= code <= 599:
                refused[address] = reply
            else:
                later[address] = reply
        return accepted, refused, later

    def _data(self, stuffed: bytes) -> None:
        sock = self._sock()
        sock.settimeout(BLOCK_SECONDS)
        view = memoryview(stuffed)
        for start in range(0, len(view), BLOCK_BYTES):
            self._tick()
            sock.sendall(view[start : start + BLOCK_BYTES])

    def _dot(self) -> tuple[int, str]:
        try:
            self._sock().sendall(b".\r\n")
            failpoint("send.after_dot")
            code, reply = self._reply(DOT_SECONDS)
        except (OSError, smtplib.SMTPException) as error:
            raise Unknown("no_reply") from error
        if code < 0:
            raise Unknown("no_reply")
        return code, reply

    # --- speaking

    def _sock(self) -> socket.socket:
        sock = self._smtp.sock
        if sock is None:
            raise smtplib.SMTPServerDisconnected("closed")
        return sock

    def _command(self, line: str) -> tuple[int, str]:
        self._smtp.putcmd(line)
        code, reply = self._reply(COMMAND_SECONDS)
        if code == 421 or code < 0:
            raise NotTaken("connection", reply)
        return code, reply

    def _expect(self, line: str, step: str) -> None:
        code, reply = self._command(line)
        if not 200 <= code <= 299:
            raise _by_code(step, code, reply, {})

    def _reply(self, seconds: float) -> tuple[int, str]:
        """The next reply; while it does not come, ``alive`` is called."""
        sock = self._sock()
        deadline = time.monotonic() + seconds
        while not _readable(sock, min(SLICE_SECONDS, deadline - time.monotonic())):
            self._tick(at_once=True)
            if time.monotonic() >= deadline:
                raise TimeoutError("no reply")
        sock.settimeout(REPLY_SECONDS)
        code, text = self._smtp.getreply()
        return code, _words(code, text)

    def _tick(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if at_once or now - self._last_alive >= SLICE_SECONDS:
            self._last_alive = now
            self._alive()


def _readable(sock: socket.socket, seconds: float) -> bool:
    if isinstance(sock, ssl.SSLSocket) and sock.pending():
        return True
    return bool(select.select([sock], [], [], max(0.0, seconds))[0])


def _words(code: int, text: bytes) -> str:
    line = " ".join(text.decode("utf-8", "replace").split())
    return f"{code} {line}"[:REPLY_LIMIT]


def _by_code(step: str, code: int, reply: str, refused: dict[str, str]) -> SubmissionError:
    if 500 <= code <= 599:
        return Refused(step, reply, refused)
    return NotTaken(f"{step}_later", reply)


def _hello_name() -> str:
    """RFC 5321 §4.1.1.1; our public name, never one that the resolver thinks up for the machine."""
    host = urlsplit(settings.ORIGIN).hostname or ""
    return host if host.isascii() and host else "localhost"


def _tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _connect(account: MailAccount) -> smtplib.SMTP:
    host, port, tls = account.smtp_host, account.smtp_port, account.smtp_tls
    if not host or not _ENVELOPE.fullmatch(host):
        raise NotTaken("no_account")
    try:
        login = account.smtp_login()
    except NoLogin as error:
        raise NotTaken("login") from error
    smtp: smtplib.SMTP | None = None
    try:
        name = _hello_name()
        if tls == "implicit":
            smtp = smtplib.SMTP_SSL(
                host, port, local_hostname=name, timeout=CONNECT_SECONDS, context=_tls_context()
            )
        elif tls in {"starttls", "none"}:
            smtp = smtplib.SMTP(host, port, local_hostname=name, timeout=CONNECT_SECONDS)
        else:
            raise NotTaken("no_account")
        smtp.ehlo_or_helo_if_needed()
        if tls == "starttls":
            smtp.starttls(context=_tls_context())
            smtp.ehlo()
        if login is not None:
            smtp.login(*login)
    except smtplib.SMTPAuthenticationError as error:
        _close(smtp)
        words = _words(error.smtp_code, _bytes(error.smtp_error))
        # 454: the server cannot check it now (RFC 4954 §4.7.1), whatever the password is.
        raise NotTaken("login" if error.smtp_code >= 500 else "login_later", words) from error
    except smtplib.SMTPNotSupportedError as error:
        _close(smtp)
        raise NotTaken("tls" if tls == "starttls" else "login") from error
    except ssl.SSLError as error:
        _close(smtp)
        raise NotTaken("tls") from error
    except NotTaken:
        raise
    except (OSError, smtplib.SMTPException, UnicodeError, ValueError) as error:
        _close(smtp)
        raise NotTaken("unreachable") from error
    return smtp


def _bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _close(smtp: smtplib.SMTP | None) -> None:
    if smtp is not None:
        smtp.close()
