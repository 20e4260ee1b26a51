"""Header values and parameters for outgoing mail, 7-bit, folded, one line's worth each.

No value a person or a stranger chose can end a header line: text loses its control characters,
addresses and identifiers are refused unless they have exactly the allowed shape.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Final

from crypto_agent.mime import addresses
from crypto_agent.mime.headers import one_line

LINE: Final = 76
"""Preferred length of a line (RFC 5322 §2.1.1 asks for at most 78)."""
HARD_LINE: Final = 990
"""No line may be longer than 998 octets (RFC 5322 §2.1.1); room is left for what follows."""
TEXT_LIMIT: Final = 10_000
"""Letters of one unstructured value; a subject of more is cut."""

_WORD_OCTETS: Final = 42
"""UTF-8 octets per encoded word: 75 letters (RFC 2047 §2) less ``=?utf-8?B?`` and ``?=``."""


class RefusedValueError(ValueError):
    """A value that cannot stand in a header. Holds no content."""


def text(value: str, *, taken: int = 0) -> str:
    """An unstructured value (Subject). ``taken``: columns of the first line already used."""
    value = one_line(value)[:TEXT_LIMIT]
    if value.isascii() and "=?" not in value and max(map(len, value.split() or [""])) < LINE:
        return _fold_words(value.split(" "), taken)
    return "\r\n ".join(_encoded_words(value, taken))


def _fold_words(words: Sequence[str], taken: int) -> str:
    lines, line, room = [], "", LINE - taken
    for word in words:
        if line and len(line) + 1 + len(word) > room and line.strip() and word:
            # A line of blanks only would be taken for the end of the header by some programs.
            lines.append(line)
            line, room = word, LINE
        else:
            line = f"{line} {word}" if line or lines or word == "" else word
    lines.append(line)
    return "\r\n ".join(lines)


def _encoded_words(value: str, taken: int = 0) -> list[str]:
    """RFC 2047 §4.1 words in UTF-8; no letter is split between two of them (§5)."""
    words: list[str] = []
    chunk = b""
    room = max(12, _WORD_OCTETS - taken * 3 // 4)
    for letter in value:
        octets = letter.encode("utf-8", "replace")
        if len(chunk) + len(octets) > room:
            words.append(_word(chunk))
            chunk, room = b"", _WORD_OCTETS
        chunk += octets
    if chunk or not words:
        words.append(_word(chunk))
    return words


def _word(octets: bytes) -> str:
    return f"=?utf-8?B?{base64.b64encode(octets).decode('ascii')}?="


_PLAIN_PHRASE: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")


def phrase(name: str) -> str:
    """A display name: as it is, quoted, or in encoded words."""
    name = " ".join(one_line(name)[:500].split())
    if not name.isascii() or "=?" in name:
        return " ".join(_encoded_words(name))
    if _PLAIN_PHRASE.fullmatch(name):
        return name
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'


def address(value: str) -> str:
    """Raises RefusedValueError unless it is a plain ASCII ``local@domain``."""
    found = addresses.normal(value)
    if not found or not found.isascii():
        # A local part beyond ASCII needs SMTPUTF8 (RFC 6531), which not every server speaks.
        raise RefusedValueError("address")
    return found


def mailbox(name: str, value: str) -> str:
    spec = address(value)
    shown = phrase(name)
    return f"{shown} <{spec}>" if shown else spec


def mailboxes(found: Sequence[tuple[str, str]], *, taken: int = 0) -> str:
    """An address list, one or more per line. Raises RefusedValueError."""
    lines, line = [], ""
    room = LINE - taken
    for position, (name, value) in enumerate(found):
        item = mailbox(name, value) + ("," if position < len(found) - 1 else "")
        item = _fold_long(item)
        if line and len(line) + 1 + len(item) > room:
            lines.append(line)
            line, room = item, LINE
        else:
            line = f"{line} {item}" if line else item
    lines.append(line)
    return "\r\n ".join(lines)


def _fold_long(item: str) -> str:
    return item if len(item) <= LINE else item.replace(" ", "\r\n ")


_MESSAGE_ID: Final = re.compile(r"<[!-;=?-~]{1,240}@[!-;=?-~]{1,240}>")


def message_id(value: str) -> str:
    """Raises RefusedValueError unless it is one Message-ID with its angle brackets."""
    if not _MESSAGE_ID.fullmatch(value):
        raise RefusedValueError("message id")
    return value


def message_ids(values: Sequence[str]) -> str:
    """References: what has not the shape of a Message-ID is left out, one per line."""
    return "\r\n ".join(value for value in values if _MESSAGE_ID.fullmatch(value))


_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$&+.^_`{|}~-]{1,60}")
_QUOTABLE: Final = re.compile(r"[\x20-\x7e]{0,60}")


def parameter(name: str, value: str) -> str:
    """``; name=value`` on lines of its own: a token, quoted, or by RFC 2231.

    Long or non-ASCII values are written as RFC 2231 sections; each line stays short.
    """
    value = one_line(value)
    if _TOKEN.fullmatch(value):
        return f";\r\n {name}={value}"
    if _QUOTABLE.fullmatch(value) and "=?" not in value:
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        return f';\r\n {name}="{quoted}"'
    encoded = [_percent(octet) for octet in value.encode("utf-8", "replace")]
    sections, current = [], "utf-8''"
    for each in encoded:
        if len(current) + len(each) > 60:
            sections.append(current)
            current = ""
        current += each
    sections.append(current)
    if len(sections) == 1:
        return f";\r\n {name}*={sections[0]}"
    return "".join(f";\r\n {name}*{number}*={each}" for number, each in enumerate(sections))


_ATTRIBUTE: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$&+-.^_`{|}~"
)


def _percent(octet: int) -> str:
    return chr(octet) if octet in _ATTRIBUTE else f"%{octet:02X}"
