"""The one door to the IMAP server. Nothing else in the project speaks IMAP.

imaplib and IMAPClient both send CR and LF inside an argument as they are, so that a crafted folder
name, flag or Message-ID becomes commands of its own. Three walls stand against it: every method of
:class:`Door` checks its arguments, the client class below checks every argument of every command
once more, and text is always sent quoted or as a literal, never bare.

A connection costs several round trips; :func:`door` therefore keeps a few per process and account.
"""

from __future__ import annotations

import hashlib
import imaplib
import logging
import os
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django.utils.translation import gettext as _
from imapclient import imap_utf7, imapclient
from imapclient.exceptions import IMAPClientAbortError, IMAPClientError, LoginError
from imapclient.exceptions import ProtocolError as ImapProtocolError
from imapclient.response_parser import parse_fetch_response, parse_response

from webmail.accounts.models import NoLogin
from webmail.lib.numbers import whole

if TYPE_CHECKING:
    from webmail.accounts.models import MailAccount

logger = logging.getLogger(__name__)
# IMAPClient logs every line it sends; those hold addresses and search words.
logging.getLogger("imapclient").setLevel(logging.WARNING)

CHUNK: Final = 200
"""UIDs per command: keeps a command line below 2 KB and a reply below a few MB."""

MAX_UID: Final = 4_294_967_295
"""The highest UID (RFC 9051 §9, nz-number). ``n:*`` would also match the last mail below n."""

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 30.0

LINE_LIMIT: Final = 32 * 1024 * 1024
"""Bytes of one response line: SEARCH names 100,000 UIDs in 0.7 MB. imaplib's own limit is 1 MB."""

LITERAL_LIMIT: Final = 160 * 1024 * 1024
"""Bytes of one literal: a 100 MB mail with its base64 expansion."""

MAIL_LIMIT: Final = 100 * 1024 * 1024
"""Larger mails are not opened here; the reader says so."""

HEADER_LIMIT: Final = 256 * 1024
"""Bytes of header read for a list row: "headers 256 KB" is a cap of the whole reading path."""

FORBIDDEN: Final = re.compile(r"[\x00-\x1f\x7f]")
"""No argument holds control characters; CR, LF and NUL would end or split a command."""

FORBIDDEN_BYTES: Final = re.compile(rb"[\r\n\x00]")

FLAG: Final = re.compile(r"\\?[A-Za-z0-9$_.!#&'+,/:;<=>?@^`|~-]+")
"""flag = atom or "\\" atom (RFC 9051 §9): no blanks, parentheses, quotes, braces, wildcards."""


class MailServerError(Exception):
    """The mail server could not be reached or said no. ``code`` is stable and may be stored."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code

    @property
    def sentence(self) -> str:
        """One sentence and what to do, in the language of the reader."""
        return explain(self.code)

    @property
    def connection_lost(self) -> bool:
        """True when asking again on a new connection may help."""
        return self.code in {"gone", "timeout", "unreachable"}


def explain(code: str) -> str:
    """The sentence for a stored ``MailServerError.code``; unknown codes get the general one."""
    sentences = {
        "unreachable": _(
            "The mail server cannot be reached. What you see was saved earlier; "
            "new mail appears when the server is back."
        ),
        "tls": _(
            "The mail server's certificate could not be checked, so nothing was sent to it. "
            "Ask your administrator to look at the server's TLS settings."
        ),
        "no_account": _(
            "No mail server is set for this account. Enter it in the settings, "
            "or ask your administrator."
        ),
        "refused_login": _(
            "The mail server refused the saved login. Enter the mailbox password again "
            "in the settings, or ask your administrator."
        ),
        "timeout": _(
            "The mail server did not answer in time. Try again in a moment; nothing is lost."
        ),
        "gone": _(
            "The connection to the mail server was cut. Try again in a moment; nothing is lost."
        ),
        "refused": _(
            "The mail server refused this. Reload the folder, and try again if it still shows it."
        ),
        "full": _(
            "The mailbox is full. Delete mails you do not need and empty the trash, "
            "or ask your administrator for more room."
        ),
        "missing": _("This mail is no longer in this folder. It was moved or deleted elsewhere."),
        "missing_folder": _("This folder no longer exists on the mail server. Reload the page."),
        "changed": _(
            "The folder was rebuilt on the mail server. Reload it to see its mails again."
        ),
        "too_large": _("This mail is too large to open here. Save it as a file instead."),
        "argument": _("This name holds characters that a mail server does not accept."),
        "protocol": _(
            "The mail server answered in a way that cannot be understood. Try again, "
            "and tell your administrator if it stays."
        ),
    }
    return sentences.get(code, sentences["refused"])


# --------------------------------------------------------------------------- guards


def guard_text(text: str) -> str:
    """``text`` if it may stand in a command; MailServerError (argument) otherwise."""
    if FORBIDDEN.search(text):
        raise MailServerError("argument")
    return text


def guard_flag(flag: str) -> str:
    """A flag or keyword that is one IMAP atom; MailServerError (argument) otherwise."""
    if not FLAG.fullmatch(flag):
        raise MailServerError("argument")
    return flag


def guard_uid(uid: int) -> int:
    """A UID that is a number in range; MailServerError (argument) otherwise."""
    if isinstance(uid, bool) or not isinstance(uid, int) or not 0 < uid <= MAX_UID:
        raise MailServerError("argument")
    return uid


def encode_name(name: str) -> bytes:
    """A mailbox name in modified UTF-7 (RFC 3501 §5.1.3), quoted."""
    if not name:
        raise MailServerError("argument")
    encoded: bytes = imap_utf7.encode(guard_text(name))
    return quote(encoded)


def decode_name(name: bytes | int) -> str:
    """The name as people read it; empty when it could not be sent back unchanged."""
    if isinstance(name, int):  # the parser turns "2024" into a number
        return str(name)
    try:
        decoded: str = imap_utf7.decode(name)
    except (ValueError, UnicodeError):
        return ""
    return decoded if imap_utf7.encode(decoded) == name else ""


def quote(value: bytes) -> bytes:
    """A quoted string (RFC 9051 §4.3), or a literal when ``value`` is not ASCII."""
    if FORBIDDEN_BYTES.search(value):
        raise MailServerError("argument")
    if any(byte > 0x7E for byte in value):
        literal: bytes = imapclient._literal(value)
        return literal
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def uid_list(uids: Iterable[int]) -> bytes:
    """``1,5,9``: explicit numbers only."""
    return b",".join(str(guard_uid(uid)).encode() for uid in uids)


def chunks(uids: Sequence[int], size: int = CHUNK) -> Iterator[Sequence[int]]:
    for start in range(0, len(uids), size):
        yield uids[start : start + size]


# --------------------------------------------------------------------------- client


class _Bounded:
    """What both transports below share: no endless line, no endless literal, no stray CR LF."""

    file: Any

    def read(self, size: int) -> bytes:
        if size > LITERAL_LIMIT:
            raise imaplib.IMAP4.abort("literal too large")
        data: bytes = self.file.read(size)
        if len(data) != size:
            raise imaplib.IMAP4.abort("connection closed inside a literal")
        return data

    def readline(self) -> bytes:
        line: bytes = self.file.readline(LINE_LIMIT + 1)
        if len(line) > LINE_LIMIT:
            raise imaplib.IMAP4.abort("line too long")
        return line

    def _command(self, name: str, *args: str | bytes | None) -> bytes:
        for argument in args:
            if argument is None:
                continue
            raw = argument.encode("utf-8") if isinstance(argument, str) else argument
            if FORBIDDEN_BYTES.search(raw):
                raise MailServerError("argument")
        result: bytes = super()._command(name, *args)  # type: ignore[misc]  # the mixin's base is named below
        return result


class _PlainTransport(_Bounded, imapclient.imap4.IMAP4WithTimeout):  # type: ignore[misc]  # IMAPClient has no types
    pass


class _TlsTransport(_Bounded, imapclient.tls.IMAP4_TLS):  # type: ignore[misc]  # IMAPClient has no types
    pass


class _Client(imapclient.IMAPClient):  # type: ignore[misc]  # it has no types
    """IMAPClient with our transports and the second wall against stray control characters."""

    def _create_IMAP4(self) -> Any:
        if self.ssl:
            return _TlsTransport(self.host, self.port, self.ssl_context, CONNECT_SECONDS)
        return _PlainTransport(self.host, self.port, CONNECT_SECONDS)

    def _raw_command(self, command: bytes, args: list[bytes], uid: bool = True) -> Any:
        for argument in args:
            # Literals are counted by the server, hence safe whatever they hold.
            if not isinstance(argument, imapclient._literal) and FORBIDDEN_BYTES.search(argument):
                raise MailServerError("argument")
        return super()._raw_command(command, args, uid=uid)


# --------------------------------------------------------------------------- answers


@dataclass(frozen=True)
class ListedFolder:
    """One line of LIST."""

    name: str
    delimiter: str
    flags: frozenset[str]
    """Lower case: "\\\\noselect", "\\\\sent" …"""


@dataclass(frozen=True)
class Selected:
    """What the server says of a mailbox when it is selected."""

    name: str
    uid_validity: int
    uid_next: int
    exists: int
    highest_modseq: int
    """0 when the server keeps none (RFC 7162)."""
    read_only: bool
    permanent_flags: frozenset[str]


@dataclass(frozen=True)
class Changes:
    """Flags that changed and UIDs that vanished since a MODSEQ."""

    flags: dict[int, frozenset[str]]
    vanished: tuple[range, ...]
    """Ranges, because a hostile or large ``1:4294967295`` must not become a set."""
    knows_vanished: bool
    """False without QRESYNC: then compare UID sets."""


@dataclass(frozen=True)
class Fetched:
    """What one FETCH says of one mail; fields the server did not send are empty."""

    uid: int
    flags: frozenset[str]
    internal_date: datetime | None
    size: int
    header: bytes
    structure: Any
    """Nested tuples of BODYSTRUCTURE as received, or None."""


ROW_HEADERS: Final = (
    "FROM",
    "TO",
    "CC",
    "SUBJECT",
    "DATE",
    "MESSAGE-ID",
    "IN-REPLY-TO",
    "REFERENCES",
    "CONTENT-TYPE",
    "LIST-ID",
    "PRECEDENCE",
)
"""What a list row needs. Content-Type tells signed and encrypted mail from plain."""

_ROW_HEADER_ITEM: Final = f"BODY.PEEK[HEADER.FIELDS ({' '.join(ROW_HEADERS)})]"


@dataclass
class Door:
    """A logged-in connection. Every method raises :class:`MailServerError` and nothing else."""

    client: Any = field(repr=False)
    capabilities: frozenset[str]
    opened_at: float
    used_at: float
    selected: Selected | None = None
    broken: bool = False
    enabled: frozenset[str] = frozenset()

    # --- capabilities

    def can(self, capability: str) -> bool:
        return capability.upper() in self.capabilities

    @property
    def condstore(self) -> bool:
        return self.can("CONDSTORE") or self.can("QRESYNC")

    @property
    def qresync(self) -> bool:
        return "QRESYNC" in self.enabled

    # --- folders

    def list_folders(self) -> list[ListedFolder]:
        """Every mailbox of the account. A line that cannot be read is left out."""
        with self._speaking():
            typ, data = self.client._imap._simple_command("LIST", '""', '"*"')
            self.client._checkok("LIST", typ, data)
            _typ, lines = self.client._imap._untagged_response(typ, data, "LIST")
        found: list[ListedFolder] = []
        for line in _whole_lines(lines):
            try:
                flags, delimiter, name = parse_response(line)
            except (ValueError, IMAPClientError, RecursionError):
                continue
            folder = _listed(flags, delimiter, name)
            if folder is not None:
                found.append(folder)
        return found

    def select(self, name: str) -> Selected:
        """Select ``name``, with what is new in it."""
        encoded = encode_name(name)
        with self._speaking(missing="missing_folder"):
            self.selected = None
            read_only = False
            self.client._imap.untagged_responses = {}
            try:
                typ, data = self.client._imap.select(encoded)
            except imaplib.IMAP4.readonly:
                read_only = True
                typ, data = self.client._imap.select(encoded, True)
            self.client._checkok("SELECT", typ, data)
            answer = self.client._process_select_response(self.client._imap.untagged_responses)
            self.client._imap.untagged_responses = {}
            self.selected = Selected(
                name=name,
                uid_validity=int(answer.get(b"UIDVALIDITY", 0)),
                uid_next=int(answer.get(b"UIDNEXT", 0)),
                exists=int(answer.get(b"EXISTS", 0)),
                highest_modseq=int(answer.get(b"HIGHESTMODSEQ", 0)) if self.condstore else 0,
                read_only=read_only,
                permanent_flags=frozenset(
                    flag.decode("ascii", "replace") for flag in answer.get(b"PERMANENTFLAGS", ())
                ),
            )
        return self.selected

    def ensure_selected(self, name: str, uid_validity: int) -> Selected:
        """Select ``name`` unless it is; MailServerError (changed) if it was rebuilt meanwhile."""
        selected = self.selected
        if selected is None or selected.name != name:
            selected = self.select(name)
        if uid_validity and selected.uid_validity != uid_validity:
            raise MailServerError("changed")
        return selected

    def catch_up(self, name: str, uid_validity: int) -> None:
        """As :meth:`ensure_selected`, and know the mails that came since the folder was selected:
        a command for a UID that this connection does not know yet is silently ignored."""
        before = self.selected
        if self.ensure_selected(name, uid_validity) is before:
            self.check()

    def create_folder(self, name: str) -> None:
        encoded = encode_name(name)
        with self._speaking():
            typ, data = self.client._imap.create(encoded)
            self.client._checkok("CREATE", typ, data)
            self.client._imap.subscribe(encoded)

    # --- looking

    def uids(self, *, first: int = 1) -> list[int]:
        """UIDs of the selected mailbox from ``first`` upwards, ascending."""
        return self._search([b"UID", f"{guard_uid(first)}:{MAX_UID}".encode()])

    def uids_with(self, flag: str) -> list[int]:
        """UIDs that carry one of the system flags (SEEN, FLAGGED, ANSWERED, DRAFT, DELETED)."""
        if flag not in {"SEEN", "UNSEEN", "FLAGGED", "ANSWERED", "DRAFT", "DELETED"}:
            raise MailServerError("argument")
        return self._search([flag.encode()])

    def uids_of_message_id(self, message_id: str) -> list[int]:
        """UIDs whose Message-ID header holds ``message_id`` (a substring, RFC 9051 §6.4.4)."""
        value = quote(guard_text(message_id).encode("utf-8"))
        return self._search([b"HEADER", b"Message-ID", value])

    def _search(self, criteria: list[bytes]) -> list[int]:
        with self._speaking():
            lines = self.client._raw_command_untagged(b"SEARCH", criteria)
        found: set[int] = set()
        for line in lines:
            if isinstance(line, bytes):
                # "1 2 3 (MODSEQ 917162500)": RFC 7162 §3.1.5
                found.update(filter(None, map(whole, line.split(b"(")[0].split())))
        return sorted(found)

    def fetch_rows(self, uids: Sequence[int], *, structure: bool = True) -> list[Fetched]:
        """Headers, flags, sizes and structure of up to :data:`CHUNK` mails."""
        items = ["UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", f"{_ROW_HEADER_ITEM}"]
        if structure:
            items.append("BODYSTRUCTURE")
        answer = self._fetch(uids, items)
        rows = []
        for uid, item in answer.items():
            header = next(
                (
                    v
                    for k, v in item.items()
                    if isinstance(k, bytes) and k.startswith(b"BODY[HEADER")
                ),
                b"",
            )
            rows.append(
                Fetched(
                    uid=uid,
                    flags=_flags(item.get(b"FLAGS", ())),
                    internal_date=item.get(b"INTERNALDATE"),
                    size=_int(item.get(b"RFC822.SIZE")),
                    header=_bytes(header)[:HEADER_LIMIT],
                    structure=item.get(b"BODYSTRUCTURE"),
                )
            )
        return rows

    def fetch_flags(self, uids: Sequence[int]) -> dict[int, frozenset[str]]:
        """Flags of up to :data:`CHUNK` mails."""
        answer = self._fetch(uids, ["UID", "FLAGS"])
        return {uid: _flags(item.get(b"FLAGS", ())) for uid, item in answer.items()}

    def changes_since(self, modseq: int) -> Changes:
        """Flags changed and mails gone since ``modseq`` (RFC 7162 §3.2.6)."""
        modifier = f"(CHANGEDSINCE {int(modseq)}{' VANISHED' if self.qresync else ''})"
        with self._speaking():
            self.client._imap.response("VANISHED")
            typ, data = self.client._imap.uid("FETCH", f"1:{MAX_UID}", "(UID FLAGS)", modifier)
            self.client._checkok("FETCH", typ, data)
            gone = self.client._imap.response("VANISHED")[1]
            answer = parse_fetch_response(data, False, True)
        return Changes(
            flags={uid: _flags(item[b"FLAGS"]) for uid, item in answer.items() if b"FLAGS" in item},
            vanished=tuple(_ranges(gone)),
            knows_vanished=self.qresync,
        )

    def fetch_raw(
        self, uid: int, *, limit: int = MAIL_LIMIT, size: int = 0
    ) -> tuple[bytes, datetime | None]:
        """The mail byte for byte and its INTERNALDATE. MailServerError: missing, too_large.

        ``size`` is what the server said earlier, which saves asking again.
        """
        if not size:
            told = self._fetch([uid], ["UID", "RFC822.SIZE"])
            if uid not in told:
                raise MailServerError("missing")
            size = _int(told[uid].get(b"RFC822.SIZE"))
        if size > limit:
            raise MailServerError("too_large")
        item = self._fetch([uid], ["UID", "INTERNALDATE", "BODY.PEEK[]"]).get(uid, {})
        raw = item.get(b"BODY[]")
        if not isinstance(raw, bytes):
            raise MailServerError("missing")
        return raw, item.get(b"INTERNALDATE")

    def _fetch(self, uids: Sequence[int], items: list[str]) -> dict[int, dict[Any, Any]]:
        if not uids:
            return {}
        if len(uids) > CHUNK:
            raise ValueError("more UIDs than one chunk")
        wanted = {guard_uid(uid) for uid in uids}
        with self._speaking():
            typ, data = self.client._imap.uid(
                "FETCH", uid_list(uids).decode(), f"({' '.join(items)})"
            )
            self.client._checkok("FETCH", typ, data)
            answer = _parse_fetch(data)
        return {uid: item for uid, item in answer.items() if uid in wanted}

    # --- changing

    def store(
        self, uids: Sequence[int], *, add: Collection[str] = (), remove: Collection[str] = ()
    ) -> None:
        """Set and clear flags."""
        for sign, flags in (("+", add), ("-", remove)):
            if not flags:
                continue
            written = f"({' '.join(sorted(guard_flag(flag) for flag in flags))})"
            for some in chunks(uids):
                with self._speaking():
                    typ, data = self.client._imap.uid(
                        "STORE", uid_list(some).decode(), f"{sign}FLAGS.SILENT", written
                    )
                    self.client._checkok("STORE", typ, data)
                    self._forget_unsolicited()

    def move(self, uids: Sequence[int], target: str) -> dict[int, int]:
        """Move mails; returns old UID → new UID where the server tells (UIDPLUS, RFC 4315)."""
        encoded = encode_name(target)
        moved: dict[int, int] = {}
        for some in chunks(uids):
            listed = uid_list(some).decode()
            with self._speaking(missing="missing_folder"):
                self.client._imap.response("COPYUID")
                command = "MOVE" if self.can("MOVE") else "COPY"
                typ, data = self.client._imap.uid(command, listed, encoded)
                self.client._checkok(command, typ, data)
                moved.update(_copy_uid(self.client._imap.response("COPYUID")[1]))
                self._forget_unsolicited()
            if not self.can("MOVE"):
                self.store(some, add=["\\Deleted"])
                self.expunge(some)
        return moved

    def expunge(self, uids: Sequence[int]) -> None:
        """Remove mails that carry \\Deleted: exactly these with UIDPLUS, else they stay marked.

        A plain EXPUNGE would also remove what another program only marked.
        """
        if not self.can("UIDPLUS"):
            return
        for some in chunks(uids):
            with self._speaking():
                typ, data = self.client._imap.uid("EXPUNGE", uid_list(some).decode())
                self.client._checkok("EXPUNGE", typ, data)
                self._forget_unsolicited()

    def append(
        self, name: str, mail: bytes, *, flags: Collection[str] = (), date: datetime | None = None
    ) -> tuple[int, int] | None:
        """Store ``mail`` byte for byte. Returns (UIDVALIDITY, UID), or None without UIDPLUS."""
        arguments = [encode_name(name)]
        if flags:
            arguments.append(
                f"({' '.join(sorted(guard_flag(flag) for flag in flags))})".encode("ascii")
            )
        if date is not None:
            arguments.append(f'"{imapclient.datetime_to_INTERNALDATE(date)}"'.encode("ascii"))
        arguments.append(imapclient._literal(mail))
        with self._speaking(missing="missing_folder"):
            self.client._imap.response("APPENDUID")
            typ, data = self.client._raw_command(b"APPEND", arguments, uid=False)
            self.client._checkok("APPEND", typ, data)
            told = self.client._imap.response("APPENDUID")[1]
            self._forget_unsolicited()
        words = [whole(word) for line in told or () if line for word in line.split()]
        numbers = [number for number in words if number is not None]
        return (numbers[0], numbers[1]) if len(numbers) == 2 else None

    # --- life

    def check(self) -> None:
        """Raises MailServerError when the connection no longer answers."""
        with self._speaking():
            self.client.noop()
            self._forget_unsolicited()

    def close(self) -> None:
        """Say goodbye if that is quick; never raises."""
        try:
            self.client.socket().settimeout(1.0)
            self.client.logout()
        except Exception:  # the far end may be gone in any way, and we are leaving
            try:
                self.client.shutdown()
            except Exception:
                logger.debug("a mail connection was already closed")

    def _forget_unsolicited(self) -> None:
        """Drop what the server told unasked; sync asks for it by its cursor."""
        for name in ("FETCH", "EXISTS", "EXPUNGE", "VANISHED", "RECENT"):
            self.client._imap.untagged_responses.pop(name, None)

    @contextmanager
    def _speaking(self, *, missing: str = "refused") -> Iterator[None]:
        """Turn every failure into MailServerError, and mark the connection unusable after one that
        may leave half a reply in the pipe."""
        self.used_at = time.monotonic()
        try:
            yield
        except MailServerError:
            raise
        except TimeoutError as error:
            self.broken = True
            raise MailServerError("timeout") from error
        except (IMAPClientAbortError, imaplib.IMAP4.abort, OSError, EOFError) as error:
            self.broken = True
            if _is_full(error):  # said instead of asking for the mail
                raise MailServerError("full") from error
            timed_out = isinstance(error.__context__, TimeoutError)
            raise MailServerError("timeout" if timed_out else "gone") from error
        except (ImapProtocolError, RecursionError, ValueError, KeyError, TypeError) as error:
            self.broken = True
            raise MailServerError("protocol") from error
        except IMAPClientError as error:
            raise MailServerError("full" if _is_full(error) else missing) from error


def _is_full(error: BaseException) -> bool:
    """Whether the server said that the mailbox has no room left (RFC 5530 §3)."""
    return "[OVERQUOTA]" in str(error).upper()


def _whole_lines(lines: Sequence[Any]) -> Iterator[list[Any]]:
    """Groups of raw response items that make one response (a literal is a tuple plus its tail)."""
    current: list[Any] = []
    for line in lines:
        if line is None or (line == b"" and not current):
            continue
        current.append(line)
        if not isinstance(line, tuple):
            yield current
            current = []


def _listed(flags: Any, delimiter: Any, name: Any) -> ListedFolder | None:
    if not isinstance(name, bytes | int) or not isinstance(flags, tuple):
        return None
    if isinstance(name, bytes) and b"\\" in name:
        name = re.sub(rb'\\(["\\])', rb"\1", name)
    decoded = decode_name(name)
    if not decoded or len(decoded) > 255 or FORBIDDEN.search(decoded):
        return None  # could not be named in a command again
    return ListedFolder(
        name="INBOX" if decoded.upper() == "INBOX" else decoded,
        delimiter=delimiter[-1:].decode("ascii", "replace") if isinstance(delimiter, bytes) else "",
        flags=frozenset(_text(flag).lower() for flag in flags),
    )


def _parse_fetch(data: list[Any]) -> dict[int, dict[Any, Any]]:
    """FETCH replies, each parsed alone so that one unreadable mail costs one row, not the list."""
    answer: dict[int, dict[Any, Any]] = {}
    for line in _whole_lines(data):
        try:
            parsed = parse_fetch_response(line, False, True)
        except (ValueError, IMAPClientError, RecursionError, TypeError, AssertionError):
            continue
        for uid, item in parsed.items():
            answer.setdefault(uid, {}).update(item)
    return answer


def _ranges(lines: Sequence[Any] | None) -> Iterator[range]:
    """``(EARLIER) 41,43:116`` → ranges."""
    for line in lines or ():
        if not isinstance(line, bytes):
            continue
        for first, last in re.findall(rb"(\d+)(?::(\d+))?", line):
            low, high = int(first), int(last or first)
            yield range(min(low, high), max(low, high) + 1)


def _copy_uid(lines: Sequence[Any] | None) -> dict[int, int]:
    """``1736 4,7:9 101:104`` → {4: 101, 7: 102, …}; {} when the two lists do not match."""
    moved: dict[int, int] = {}
    for line in lines or ():
        words = line.split() if isinstance(line, bytes) else []
        if len(words) != 3:
            continue
        old, new = (list(_ranges([word])) for word in words[1:])
        if sum(map(len, old)) != sum(map(len, new)) or sum(map(len, old)) > 10 * CHUNK:
            continue
        moved.update(
            zip(
                (uid for span in old for uid in span),
                (uid for span in new for uid in span),
                strict=True,
            )
        )
    return moved


def _text(value: Any) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def _flags(value: Any) -> frozenset[str]:
    return frozenset(_text(flag) for flag in value) if isinstance(value, tuple) else frozenset()


def _int(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode() if value is not None else b""


# --------------------------------------------------------------------------- connecting


def tls_context() -> ssl.SSLContext:
    """Checks the server's name and chain; TLS 1.2 at least."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def connect(mail_account: MailAccount) -> Door:
    """A new logged-in connection. Raises MailServerError; see :func:`door` for kept ones."""
    if not mail_account.imap_host:
        raise MailServerError("no_account")
    try:
        user, password = mail_account.imap_login()
    except NoLogin as error:
        raise MailServerError("refused_login") from error
    return connect_to(
        host=mail_account.imap_host,
        port=mail_account.imap_port,
        tls=mail_account.imap_tls,
        user=user,
        password=password,
    )


def connect_to(*, host: str, port: int, tls: str, user: str, password: str) -> Door:
    """Connect and log in; ``tls`` is "implicit", "starttls" or "none"."""
    if not host or FORBIDDEN.search(host):
        raise MailServerError("argument")
    if FORBIDDEN.search(user) or "\0" in password:
        raise MailServerError("argument")
    client: Any = None
    try:
        client = _Client(
            host,
            port=port,
            ssl=tls == "implicit",
            ssl_context=tls_context(),
            timeout=imapclient.SocketTimeout(CONNECT_SECONDS, READ_SECONDS),
        )
        client._imap.debug = 0  # otherwise imaplib formats every line, passwords included
        client.folder_encode = False
        if tls == "starttls":
            client.starttls(tls_context())
        elif tls not in {"implicit", "none"}:
            raise MailServerError("argument")
        _log_in(client, user, password)
        capabilities = frozenset(_text(name).upper() for name in client.capabilities())
        wanted = "QRESYNC" if "QRESYNC" in capabilities else "CONDSTORE"
        enabled: frozenset[str] = frozenset()
        if "ENABLE" in capabilities and wanted in capabilities:
            enabled = frozenset(_text(name).upper() for name in client.enable(wanted))
    except MailServerError:
        _drop(client)
        raise
    except LoginError as error:
        _drop(client)
        raise MailServerError("refused_login") from error
    except ssl.SSLError as error:
        _drop(client)
        raise MailServerError("tls") from error
    except TimeoutError as error:
        _drop(client)
        raise MailServerError("timeout") from error
    except (OSError, EOFError, imaplib.IMAP4.abort) as error:
        _drop(client)
        raise MailServerError("unreachable") from error
    except (IMAPClientError, ValueError) as error:
        _drop(client)
        raise MailServerError("protocol") from error
    now = time.monotonic()
    return Door(client, capabilities, opened_at=now, used_at=now, enabled=enabled)


def _log_in(client: Any, user: str, password: str) -> None:
    if client.has_capability("AUTH=PLAIN"):
        # RFC 4616: UTF-8 and every character but NUL, which LOGIN's quoted string cannot do.
        answer = f"\0{user}\0{password}".encode()
        client.sasl_login("PLAIN", lambda _challenge: answer)
        return
    if client.has_capability("LOGINDISABLED"):
        raise MailServerError("refused_login")
    typ, _data = client._raw_command(
        b"LOGIN", [quote(user.encode()), quote(password.encode())], uid=False
    )
    if typ != "OK":
        raise LoginError("refused")
    client._imap.state = "AUTH"


def _drop(client: Any) -> None:
    if client is not None:
        try:
            client.shutdown()
        except Exception:
            logger.debug("a mail connection was already closed")


# --------------------------------------------------------------------------- kept connections

KEPT_PER_ACCOUNT: Final = 3
"""Servers allow about ten connections per user; other programs want theirs."""

KEPT_IN_ALL: Final = 64
"""Per process: idle sockets of many users must not use up the file descriptors."""

MAX_AGE_SECONDS: Final = 25 * 60.0
"""Servers may log out after 30 minutes (RFC 9051 §5.4)."""

TRUST_SECONDS: Final = 20.0
"""A connection idle for less is used without asking, if its socket is silent."""


class DoorCache:
    """Logged-in connections kept for the next request; thread-safe, emptied after a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[bytes, list[Door]] = {}

    def take(self, key: bytes) -> Door | None:
        """A kept connection that still answers, or None."""
        while True:
            with self._lock:
                doors = self._kept.get(key)
                door = doors.pop() if doors else None
            if door is None:
                return None
            if _still_good(door):
                return door
            door.close()

    def give(self, key: bytes, door: Door) -> None:
        """Keep ``door`` for later, or close it."""
        victim: Door | None = None
        with self._lock:
            if door.broken or _age(door) > MAX_AGE_SECONDS:
                victim = door
            else:
                doors = self._kept.setdefault(key, [])
                doors.append(door)
                if len(doors) > KEPT_PER_ACCOUNT:
                    victim = doors.pop(0)
                elif sum(map(len, self._kept.values())) > KEPT_IN_ALL:
                    oldest = min((d for ds in self._kept.values() for d in ds), key=_last_use)
                    for ds in self._kept.values():
                        if oldest in ds:
                            ds.remove(oldest)
                    victim = oldest
                self._kept = {k: ds for k, ds in self._kept.items() if ds}
        if victim is not None:
            victim.close()

    def clear(self, *, say_goodbye: bool = True) -> None:
        with self._lock:
            doors = [door for kept in self._kept.values() for door in kept]
            self._kept = {}
        for door in doors:
            if say_goodbye:
                door.close()

    def after_fork(self) -> None:
        """The sockets belong to the parent: forget them without a word."""
        self._lock = threading.Lock()
        self._kept = {}


def _age(door: Door) -> float:
    return time.monotonic() - door.opened_at


def _last_use(door: Door) -> float:
    return door.used_at


def _still_good(door: Door) -> bool:
    if door.broken or _age(door) > MAX_AGE_SECONDS:
        return False
    try:
        silent = not select.select([door.client._imap.sock], [], [], 0)[0]
    except (OSError, ValueError):
        return False
    if silent and time.monotonic() - door.used_at < TRUST_SECONDS:
        return True
    try:
        door.check()
    except MailServerError:
        return False
    return True


_cache = DoorCache()
os.register_at_fork(after_in_child=_cache.after_fork)


def _key(mail_account: MailAccount) -> bytes:
    """Changes with every setting of the account, so that a new password is not served by an old
    login. The digest keeps the credential itself out of the table's keys."""
    facts = (
        str(mail_account.pk),
        mail_account.imap_host,
        str(mail_account.imap_port),
        mail_account.imap_tls,
        mail_account.imap_user,
        mail_account.login,
        bytes(mail_account.credential or b"").hex(),
    )
    return hashlib.sha256("\0".join(facts).encode()).digest()


@contextmanager
def door(mail_account: MailAccount) -> Iterator[Door]:
    """A connection of the account for one piece of work, then kept if it stayed whole."""
    key = _key(mail_account)
    opened = _cache.take(key) or connect(mail_account)
    try:
        yield opened
    except MailServerError:
        raise
    except BaseException:
        opened.broken = True  # half a reply may be left in the pipe
        raise
    finally:
        _cache.give(key, opened)


def close_all() -> None:
    """Close every kept connection of this process (end of a test run, end of a worker)."""
    _cache.clear()


def reachable(host: str, port: int) -> bool:
    """Whether anything listens there, within the connect time."""
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
