"""Header fields for lists: split, unfolded, decoded. Linear in their length, never raising.

Python's ``email`` recurses on nested comments and raises IndexError on ``Message-ID: <<<<``; a list
must survive any mail. What is shown as *verified* never comes from here but from the agent.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

VALUE_LIMIT: Final = 16 * 1024
"""Bytes of one field looked at: longer ones are cut."""

_ENCODED_WORD: Final = re.compile(
    rb"=\?([A-Za-z0-9_.:-]{1,60})(?:\*[A-Za-z0-9-]{0,20})?\?([bBqQ])\?([^?\s]{0,2000})\?="
)
"""RFC 2047 §2, with the language tag of RFC 2231 §5."""

_MESSAGE_ID: Final = re.compile(r"<([^<>\s]{1,496})>")

_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)
"""Control, direction and zero-width characters: they let one name look like another."""

_UNSAFE_CHARSETS: Final = frozenset({"utf-7", "utf7", "unicode-1-1-utf-7", "x-unicode-2-0-utf-7"})
"""Text that changes its meaning after every filter has looked at it."""


def clean(text: str) -> str:
    """One line without invisible characters, blanks collapsed."""
    return " ".join(_INVISIBLE.sub("", text.replace("\t", " ").replace("\n", " ")).split())


def decode_bytes(data: bytes, charset: str) -> str:
    """Text in ``charset``; UTF-8, then Latin-1, when that is unknown, unsafe or wrong."""
    name = charset.strip().strip("\"'").lower()
    if name and name not in _UNSAFE_CHARSETS:
        try:
            return data.decode(name, "strict")
        except (LookupError, UnicodeError, ValueError):
            pass
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def decode_words(value: bytes | str) -> str:
    """A header value as people read it: encoded words decoded (RFC 2047), cleaned, one line."""
    raw = value.encode("utf-8", "replace") if isinstance(value, str) else value
    raw = raw[:VALUE_LIMIT]
    out: list[str] = []
    pending = b""
    pending_charset = ""
    position = 0

    def flush() -> None:
        nonlocal pending
        if pending:
            out.append(decode_bytes(pending, pending_charset))
            pending = b""

    for match in _ENCODED_WORD.finditer(raw):
        between = raw[position : match.start()]
        # Blanks between two encoded words are not part of the text (RFC 2047 §6.2).
        if between.strip() or position == 0:
            flush()
            out.append(decode_bytes(between, ""))
        charset = match[1].decode("ascii").lower()
        if pending and charset != pending_charset:
            flush()
        pending_charset = charset
        pending += _word_bytes(match[2], match[3])
        position = match.end()
    flush()
    out.append(decode_bytes(raw[position:], ""))
    return clean("".join(out))


def _word_bytes(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"bB":
        try:
            return base64.b64decode(text + b"=" * (-len(text) % 4))
        except binascii.Error:
            return text
    return binascii.a2b_qp(text, header=True)


class Headers:
    """The fields of one header block, in order, names in lower case."""

    def __init__(self, raw: bytes) -> None:
        self._fields = list(_split(raw))

    def first(self, name: str) -> bytes:
        """The first value of ``name``, or b""."""
        return next((value for key, value in self._fields if key == name), b"")

    def count(self, name: str) -> int:
        return sum(1 for key, _value in self._fields if key == name)

    def text(self, name: str) -> str:
        return decode_words(self.first(name))


def _split(raw: bytes) -> Iterator[tuple[str, bytes]]:
    name = ""
    value: list[bytes] = []
    for line in raw.splitlines():
        if line[:1] in (b" ", b"\t"):
            value.append(b" " + line.strip())
            continue
        if name:
            yield name, b"".join(value)[:VALUE_LIMIT]
        name, value = "", []
        if not line:
            return
        head, colon, rest = line.partition(b":")
        if colon and len(head) <= 100:
            name, value = head.strip().decode("ascii", "replace").lower(), [rest.strip()]
    if name:
        yield name, b"".join(value)[:VALUE_LIMIT]


def message_ids(value: bytes | str, *, limit: int = 100) -> list[str]:
    """Message-IDs in a header value, without angle brackets; the last ``limit`` of them."""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    return _MESSAGE_ID.findall(text)[-limit:]


def content_type(value: bytes) -> tuple[str, dict[str, str]]:
    """Media type and parameters, names in lower case (RFC 2045 §5.1). The first of two counts."""
    text = decode_bytes(value[:VALUE_LIMIT], "")
    kind, *rest = _semicolons(text)
    parameters: dict[str, str] = {}
    for item in rest[:50]:
        name, equals, content = item.partition("=")
        name = name.strip().lower().rstrip("*")
        if equals and name and name not in parameters:
            parameters[name] = content.strip().strip('"').replace('\\"', '"')
    return kind.strip().lower(), parameters


def _semicolons(text: str) -> list[str]:
    """Split at semicolons outside quoted strings."""
    parts: list[str] = []
    current: list[str] = []
    quoted = escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == ";" and not quoted:
            parts.append("".join(current))
            current = []
            continue
        current.append(character)
    parts.append("".join(current))
    return parts


def date(value: bytes) -> datetime | None:
    """The Date header in UTC (RFC 5322 §3.3), or None when it is no date between 1970 and 9999."""
    try:
        parsed = parsedate_to_datetime(value[:100].decode("ascii", "replace"))
        aware = parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
        moment = aware.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if 1970 <= moment.year < 9999 else None
