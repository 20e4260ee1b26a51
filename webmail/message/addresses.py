"""Addresses in header fields (RFC 5322 §3.4), read in one pass over the characters.

Where a field can be read in two ways, the mailbox gets no address: ``"X" <alice@a>:<evil@b>`` names
neither. Names are decoded after the field was cut, so that an encoded word cannot add a mailbox.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

import idna

from webmail.message.headers import VALUE_LIMIT, clean, decode_bytes, decode_words

MAILBOX_LIMIT: Final = 1_000
"""Recipients looked at per field: the cap of the whole reading path."""

_ADDRESS_IN_TEXT: Final = re.compile(
    r"[A-Za-z0-9_.+'=-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"
)

_SIGNS: Final = re.compile(
    "[\u2610-\u2612\u26a0\u26bf\u2705\u2713-\u2718\u274c\u274e\ufe0f"
    "\U0001f50f-\U0001f513\U0001f5dd\U0001f5f4-\U0001f5f9\U0001f6e1]"
)
"""Ticks, crosses, warning signs, locks, keys and shields: beside a name they read as our word."""


@dataclass(frozen=True)
class Mailbox:
    """A display name, which anybody may choose, and an address ("" when it is not clear)."""

    name: str
    address: str

    @property
    def label(self) -> str:
        return self.name or self.address


def normalise(address: str) -> str:
    """``local@domain`` with the domain as lower-case A-label, for comparing; "" if it is none."""
    local, at, domain = address.strip().rpartition("@")
    if not at or not local or not domain or len(address) > 320:
        return ""
    if any(character.isspace() or ord(character) < 32 for character in address):
        return ""
    domain = domain.rstrip(".").lower()
    try:
        if not domain.isascii():
            domain = idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError, IndexError):
        return ""
    return f"{local}@{domain}" if domain else ""


def same(one: str, other: str) -> bool:
    """Whether two addresses name the same mailbox: the local part exactly, the domain by A-label.

    Local parts that differ by ASCII case only are taken as the same person, as all of mail does.
    """
    first, second = normalise(one), normalise(other)
    return bool(first) and first.lower() == second.lower()


def address_in(text: str) -> str:
    """The first thing in ``text`` that reads as an address, normalised, or ""."""
    match = _ADDRESS_IN_TEXT.search(text[:1000])
    return normalise(match[0]) if match else ""


def shown(name: str, address: str) -> str:
    """What to call the owner of ``address``: the name without signs like our own, unless it poses
    as another address."""
    plain = " ".join(_SIGNS.sub("", name).split())
    posing = address_in(unicodedata.normalize("NFKC", plain))  # full-width letters are letters
    return address if not plain or (posing and not same(posing, address)) else plain


def parse(value: bytes) -> list[Mailbox]:
    """The mailboxes of a From, To or Cc value. Groups are flattened; nothing is raised."""
    text = decode_bytes(value[:VALUE_LIMIT], "")
    found: list[Mailbox] = []
    for piece in _pieces(text):
        mailbox = _mailbox(piece)
        if mailbox is not None:
            found.append(mailbox)
        if len(found) >= MAILBOX_LIMIT:
            break
    return found


def single(value: bytes) -> Mailbox | None:
    """The mailbox of a field that holds exactly one, else None."""
    found = parse(value)
    return found[0] if len(found) == 1 and found[0].address else None


_Piece = list[tuple[str, str]]
"""Tokens of one mailbox: kind ("text", "quoted", "angle", "colon") and content."""


def _pieces(text: str) -> list[_Piece]:
    pieces: list[_Piece] = []
    current: _Piece = []
    word: list[str] = []

    def end_word() -> None:
        if word:
            current.append(("text", "".join(word)))
            word.clear()

    def end_piece() -> None:
        end_word()
        if any(kind != "text" or content.strip() for kind, content in current):
            pieces.append(list(current))
        current.clear()

    position, length = 0, len(text)
    while position < length:
        character = text[position]
        if character == '"':
            content, position = _until(text, position + 1, '"')
            end_word()
            current.append(("quoted", content))
        elif character == "(":
            position = _comment_end(text, position)
            word.append(" ")
        elif character == "<":
            content, position = _until(text, position + 1, ">")
            end_word()
            current.append(("angle", content))
        elif character in ",;":
            end_piece()
            position += 1
        elif character == ":":
            # "Group name:" opens a group (RFC 5322 §3.4); after an address it is a second reading.
            end_word()
            if any(kind == "angle" for kind, _content in current):
                current.append(("colon", ""))
            else:
                current.clear()
            position += 1
        else:
            word.append(character)
            position += 1
    end_piece()
    return pieces


def _until(text: str, start: int, end: str) -> tuple[str, int]:
    out: list[str] = []
    position = start
    while position < len(text):
        character = text[position]
        if character == "\\" and position + 1 < len(text):
            out.append(text[position + 1])
            position += 2
            continue
        if character == end:
            return "".join(out), position + 1
        out.append(character)
        position += 1
    return "".join(out), position


def _comment_end(text: str, start: int) -> int:
    depth = 0
    position = start
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 2
            continue
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                return position + 1
        position += 1
    return len(text)


def _mailbox(piece: _Piece) -> Mailbox | None:
    angles = [content for kind, content in piece if kind == "angle"]
    words = [content for kind, content in piece if kind in {"text", "quoted"}]
    if angles:
        name = decode_words(" ".join(words))
        after = piece[-1][0] != "angle" and piece[-1][1].strip() != ""
        clear = len(angles) == 1 and not after and all(kind != "colon" for kind, _c in piece)
        address = normalise(angles[0]) if clear else ""
        return Mailbox(name, address)
    bare = "".join(words).strip()
    if not bare:
        return None
    # Quoted local part: "a b"@example.org is legal but no mailbox of ours sends it.
    address = normalise(bare) if bare.count("@") == 1 else ""
    return Mailbox("" if address else clean(decode_words(bare)), address)
