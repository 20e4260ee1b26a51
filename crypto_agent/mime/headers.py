"""Header blocks: cut into fields, unfolded, decoded. Linear in their length; nothing here raises.

Structured values are cut first and decoded after, so that an encoded word cannot add a parameter,
an address or a line. A value is looked at up to :data:`VALUE_LIMIT` octets.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import mktime_tz, parsedate_tz
from typing import Final

from crypto_agent.mime import charsets

VALUE_LIMIT: Final = 64 * 1024
"""Octets of one value looked at: a To field with a thousand recipients has about 40 KB."""

STRUCTURED_LIMIT: Final = 8 * 1024
"""Octets of a Content-Type or Content-Disposition looked at; real ones have about 200."""

PARAMETER_LIMIT: Final = 64
"""Parameters of one value looked at; RFC 2231 continuations need a dozen at most."""

_CONTROL: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f]")
"""Everything that could end a line or hide one; TAB is turned into a blank before."""


@dataclass(frozen=True, slots=True)
class Field:
    """One header field."""

    name: str
    """As written, ASCII."""
    value: bytes
    """Unfolded: line breaks removed (RFC 5322 §2.2.3), blanks at both ends too."""

    @property
    def key(self) -> str:
        return self.name.lower()


class Headers:
    """The fields of one header block, in their order."""

    __slots__ = ("fields",)

    def __init__(self, block: bytes) -> None:
        self.fields: tuple[Field, ...] = tuple(_split(block))

    def all(self, name: str) -> list[bytes]:
        key = name.lower()
        return [field.value for field in self.fields if field.key == key]

    def first(self, name: str) -> bytes:
        """The first value of ``name``, b"" when there is none."""
        key = name.lower()
        return next((field.value for field in self.fields if field.key == key), b"")

    def has(self, name: str) -> bool:
        key = name.lower()
        return any(field.key == key for field in self.fields)

    def text(self, name: str) -> str:
        """The first value of ``name`` as people read it."""
        return decode_text(self.first(name))


def _split(block: bytes) -> Iterator[Field]:
    name = b""
    value: list[bytes] = []
    for line in block.split(b"\n"):
        line = line.removesuffix(b"\r")
        if line[:1] in (b" ", b"\t"):
            if name:
                value.append(line)
            continue
        if name:
            yield _field(name, value)
        head, colon, rest = line.partition(b":")
        head = head.rstrip(b" \t")  # obs-fields allow blanks before the colon (RFC 5322 §4.5)
        if colon and _NAME.fullmatch(head):
            name, value = head, [rest]
        else:
            name, value = b"", []  # an mbox "From " line or garbage: skipped with its folds
    if name:
        yield _field(name, value)


_NAME: Final = re.compile(rb"[!-9;-~]{1,200}")
"""RFC 5322 §2.2: printable ASCII without the colon."""


def _field(name: bytes, value: list[bytes]) -> Field:
    return Field(name.decode("ascii"), b"".join(value).strip(b" \t\r"))


# --------------------------------------------------------------------------- text

_ENCODED_WORD: Final = re.compile(
    rb"=\?([A-Za-z0-9_.:+()-]{1,60})(?:\*[A-Za-z0-9-]{0,20})?\?([bBqQ])\?([^?\r\n]{0,8000})\?="
)
"""RFC 2047 §2 with the language tag of RFC 2231 §5; longer than allowed and with blanks inside, as
broken programs write them."""


def one_line(text: str) -> str:
    """``text`` without control characters: what came from a stranger stays one line."""
    return _CONTROL.sub("", text.replace("\t", " ").replace("\r", " ").replace("\n", " ")).strip()


def decode_text(value: bytes) -> str:
    """An unstructured value as people read it (RFC 2047), one line."""
    value = value[:VALUE_LIMIT]
    out: list[str] = []
    pending, pending_charset = b"", ""
    position = 0
    for match in _ENCODED_WORD.finditer(value):
        between = value[position : match.start()]
        charset = match[1].decode("ascii").lower()
        word = _word(match[2], match[3])
        # White space between two encoded words is not text (RFC 2047 §6.2).
        glued = position > 0 and not between.strip()
        if glued and charset == pending_charset:
            pending += word  # a multi-octet character may be split between words
        else:
            out.append(charsets.decode(pending, pending_charset))
            if not glued:
                out.append(charsets.decode(between, ""))
            pending, pending_charset = word, charset
        position = match.end()
    out.append(charsets.decode(pending, pending_charset))
    out.append(charsets.decode(value[position:], ""))
    return one_line("".join(out))


def _word(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"bB":
        return lenient_base64(text)
    return binascii.a2b_qp(text, header=True)


_NOT_BASE64: Final = bytes(
    octet
    for octet in range(256)
    if octet not in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
)


def lenient_base64(text: bytes) -> bytes:
    """Decode the base64 letters of ``text``, whatever stands between them (RFC 2045 §6.8).

    Padding in the middle, which concatenated parts have, starts a new group.
    """
    compact = text.translate(None, _NOT_BASE64.replace(b"=", b""))
    body = compact.rstrip(b"=")
    if b"=" not in body:
        return _groups(body)
    return b"".join(_groups(piece) for piece in body.split(b"="))


def _groups(letters: bytes) -> bytes:
    if len(letters) % 4 == 1:
        letters = letters[:-1]  # six bits are no octet
    return base64.b64decode(letters + b"=" * (-len(letters) % 4))


# --------------------------------------------------------------------------- parameters


def structured(value: bytes) -> tuple[str, dict[str, str]]:
    """``token; name=value`` as (token in lower case, parameters with names in lower case).

    RFC 2045 §5.1, RFC 2231 §3-4 (continuations, charset, percent encoding), and what is found in
    the wild: encoded words inside quotes, names without quotes but with blanks. Of duplicates the
    first counts; a charset-bearing form wins over the plain one (RFC 5987 §4.2).
    """
    items = list(_items(value[:STRUCTURED_LIMIT]))
    token = items[0].strip().lower() if items else b""
    plain: dict[str, bytes] = {}
    for item in items[1:]:
        name, equals, content = item.partition(b"=")
        key = name.strip().lower().decode("latin-1")
        if equals and key and key not in plain:
            plain[key] = _unquote(content.strip())
    return token.decode("latin-1"), _assemble(plain)


def _items(value: bytes) -> Iterator[bytes]:
    """Split at semicolons outside quotes and comments (RFC 822 comments are dropped)."""
    item = bytearray()
    position, length, count = 0, len(value), 0
    while position < length:
        octet = value[position]
        if octet == 0x22:  # "
            end = position + 1
            while end < length and value[end] != 0x22:
                end += 2 if value[end] == 0x5C else 1
            item += value[position : end + 1]
            position = end + 1
        elif octet == 0x28 and (not item or item[-1:] in b" \t"):  # ( after a blank
            position = _comment_end(value, position)
        elif octet == 0x3B:  # ;
            yield bytes(item)
            item.clear()
            position += 1
            count += 1
            if count > PARAMETER_LIMIT:
                return
        else:
            item.append(octet)
            position += 1
    yield bytes(item)


def _comment_end(value: bytes, start: int) -> int:
    depth, position = 0, start
    while position < len(value):
        octet = value[position]
        if octet == 0x5C:
            position += 1
        elif octet == 0x28:
            depth += 1
        elif octet == 0x29:
            depth -= 1
            if depth == 0:
                return position + 1
        position += 1
    return position


_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)


def _unquote(content: bytes) -> bytes:
    if content[:1] != b'"':
        return content
    end = 1
    while end < len(content) and content[end] != 0x22:
        end += 2 if content[end] == 0x5C else 1
    return _ESCAPED.sub(rb"\1", content[1:end])


_SECTION: Final = re.compile(r"([^*]+)(?:\*(\d{1,2}))?(\*)?")


def _assemble(plain: dict[str, bytes]) -> dict[str, str]:
    parameters: dict[str, str] = {}
    sections: dict[str, dict[int, tuple[bytes, bool]]] = {}
    for key, content in plain.items():
        match = _SECTION.fullmatch(key)
        if match is None or (match[2] is None and match[3] is None):
            parameters.setdefault(key, decode_text(content))
        else:
            number = int(match[2] or 0)
            sections.setdefault(match[1], {}).setdefault(number, (content, match[3] is not None))
    for name, found in sections.items():
        if 0 in found:
            parameters[name] = one_line(_join_sections(found))
    return parameters


def _join_sections(found: dict[int, tuple[bytes, bool]]) -> str:
    content, extended = found[0]
    charset = ""
    if extended and content.count(b"'") >= 2:
        label, _language, content = content.split(b"'", 2)
        charset = label.decode("latin-1")
    joined = _percent(content) if extended else content
    number = 1
    while number in found:
        content, extended = found[number]
        joined += _percent(content) if extended else content
        number += 1
    return charsets.decode(joined, charset)


_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")


def _percent(content: bytes) -> bytes:
    return _PERCENT.sub(lambda match: bytes([int(match[1], 16)]), content)


# --------------------------------------------------------------------------- other values

_MESSAGE_ID: Final = re.compile(rb"<([^<>\s]{1,996})>")

REFERENCES_LIMIT: Final = 200
"""Message-IDs of one References field kept, the newest."""


def message_ids(value: bytes) -> list[str]:
    """Message-IDs of a value with their angle brackets (RFC 5322 §3.6.4)."""
    found = _MESSAGE_ID.findall(value[:VALUE_LIMIT])[-REFERENCES_LIMIT:]
    return [f"<{one_line(each.decode('utf-8', 'replace'))}>" for each in found]


def date(value: bytes) -> int | None:
    """Milliseconds since the epoch of a Date value (RFC 5322 §3.3), None when it is no date."""
    try:
        parsed = parsedate_tz(value[:200].decode("ascii", "replace"))
        if parsed is None or not 1970 <= parsed[0] <= 9998:
            return None
        return int(mktime_tz(parsed)) * 1000
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def format_date(milliseconds: int) -> str:
    """A Date value in UTC, to the second (RFC 5322 §3.3)."""
    at = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return (
        f"{_DAYS[at.weekday()]}, {at.day:02d} {_MONTHS[at.month - 1]} {at.year:04d} "
        f"{at.hour:02d}:{at.minute:02d}:{at.second:02d} +0000"
    )
