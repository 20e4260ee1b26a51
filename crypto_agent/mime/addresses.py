"""Address lists (RFC 5322 §3.4, RFC 6532) read so that a From names exactly one address or none.

Where a mailbox could be read in two ways it gets no address: programs disagree about
``<alice@a><evil@b>`` or ``"X" <alice@a>:<evil@b>``, and a signature must not be matched against the
reading that a person does not see. Names are decoded after the list was cut, so that an encoded
word cannot add a mailbox. Linear, without recursion; nothing is raised.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import idna
import idna.uts46data

from crypto_agent.mime.headers import VALUE_LIMIT, decode_text

codecs.lookup("punycode")  # like uts46data: idna would load it in the midst of an operation

MAILBOX_LIMIT: Final = 1_000
"""Mailboxes of one field looked at."""
COMMENT_DEPTH_LIMIT: Final = 20
"""Deeper nested comments make the whole field unreadable."""

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u00a0-\U0010ffff-]+"
_LOCAL: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_DOMAIN: Final = re.compile(
    r"[A-Za-z0-9\u00a1-\U0010ffff_](?:[A-Za-z0-9\u00a1-\U0010ffff_-]*"
    r"[A-Za-z0-9\u00a1-\U0010ffff])?"
    r"(?:[.\u3002][A-Za-z0-9\u00a1-\U0010ffff_](?:[A-Za-z0-9\u00a1-\U0010ffff_-]*"
    r"[A-Za-z0-9\u00a1-\U0010ffff])?)*"
)
_ADDRESS_LIMIT: Final = 254
"""RFC 5321 §4.5.3.1.3."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A display name, which anybody may choose, and an address; "" when it is not clear."""

    name: str
    address: str
    """As written, but the domain in lower-case A-labels."""

    def to_plain(self) -> dict[str, str]:
        return {"name": self.name, "address": self.address}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    """``word``, ``quoted``, ``angle`` or one of ``, ; :``."""
    text: str


def normal(address: str) -> str:
    """``local@domain`` with the domain in lower-case A-labels, "" when it is no plain address.

    Quoted local parts and domain literals are legal and refused: they exist to confuse.
    """
    local, at, domain = address.strip().rpartition("@")
    if not at or len(address) > _ADDRESS_LIMIT or not _LOCAL.fullmatch(local):
        return ""
    if not _DOMAIN.fullmatch(domain):
        return ""
    lowered = domain.lower()
    if not lowered.isascii():
        try:
            lowered = idna.encode(domain, uts46=True).decode("ascii").lower()
        except (idna.IDNAError, UnicodeError, IndexError):
            return ""
    return f"{local}@{lowered}"


def same(one: str, other: str) -> bool:
    """RFC 9788 §4.4.1: A-labels, ASCII case folding. Two unclear addresses never agree."""
    first, second = normal(one), normal(other)
    return bool(first) and _fold(first) == _fold(second)


def _fold(text: str) -> str:
    return "".join(chr(ord(letter) | 0x20) if "A" <= letter <= "Z" else letter for letter in text)


def parse(value: bytes) -> list[Mailbox]:
    """The mailboxes of one field value, in order; groups are flattened."""
    if len(value) > VALUE_LIMIT:
        value = value[: value.rfind(b",", 0, VALUE_LIMIT) + 1]  # never half an address
    tokens = _tokens(value)
    if tokens is None:
        return [Mailbox(decode_text(value), "")]
    found: list[Mailbox] = []
    piece: list[_Token] = []
    inside_group = False
    for token in [*tokens, _Token(",", ",")]:
        if token.kind == ":" and not inside_group and _is_phrase(piece):
            inside_group = True  # "name:" opens a group (RFC 5322 §3.4)
            piece = []
        elif token.kind == "," or (token.kind == ";" and inside_group):
            _take(piece, found)
            piece = []
            inside_group = inside_group and token.kind == ","
            if len(found) >= MAILBOX_LIMIT:
                break
        else:
            piece.append(token)  # a ":" or ";" that opens or closes nothing stays and spoils it
    return found


def parse_all(values: Sequence[bytes]) -> list[Mailbox]:
    """The mailboxes of all fields of one name: a second From counts as a second sender."""
    return [mailbox for value in values for mailbox in parse(value)][:MAILBOX_LIMIT]


def single(values: Sequence[bytes]) -> str:
    """The one address that all fields of a name give together, "" when there is not exactly one."""
    found = parse_all(values)
    return found[0].address if len(values) == 1 and len(found) == 1 else ""


def _is_phrase(piece: Sequence[_Token]) -> bool:
    """Whether tokens can be the name of a group: words without an address among them."""
    return all(
        token.kind == "quoted" or (token.kind == "word" and "@" not in token.text)
        for token in piece
    )


def _take(piece: Sequence[_Token], found: list[Mailbox]) -> None:
    if not piece:
        return
    kinds = [token.kind for token in piece]
    words = " ".join(token.text for token in piece if token.kind in ("word", "quoted"))
    if "angle" in kinds:
        # name-addr: words, then one angle-addr, then nothing.
        clear = kinds.count("angle") == 1 and kinds[-1] == "angle" and not {":", ";"} & set(kinds)
        name = decode_text(words.encode("utf-8", "surrogateescape"))
        found.append(Mailbox(name, normal(_without_route(piece[-1].text)) if clear else ""))
        return
    address = normal(piece[0].text) if kinds == ["word"] else ""
    name = "" if address else decode_text(words.encode("utf-8", "surrogateescape"))
    found.append(Mailbox(name, address))


def _without_route(inside: str) -> str:
    """obs-angle-addr may begin with a route (RFC 5322 §4.4); nobody writes it: no address then."""
    return "" if inside.lstrip().startswith("@") else inside


def _tokens(value: bytes) -> list[_Token] | None:
    """None when quotes, brackets or comments do not close or nest too deep."""
    text = value.decode("utf-8", "surrogateescape")
    if "\x00" in text:
        return None
    tokens: list[_Token] = []
    word: list[str] = []

    def end_word() -> None:
        if word:
            tokens.append(_Token("word", "".join(word)))
            word.clear()

    position, length = 0, len(text)
    while position < length:
        letter = text[position]
        if letter == '"':
            end = _closing(text, position + 1, '"')
            if end < 0:
                return None
            end_word()
            tokens.append(_Token("quoted", _unescape(text[position + 1 : end])))
            position = end + 1
        elif letter == "(":
            end = _comment(text, position)
            if end < 0:
                return None
            # "alice@a(x)evil": a comment ends a word, so that nothing is glued over it.
            end_word()
            position = end
        elif letter == "<":
            end = _closing(text, position + 1, ">")
            if end < 0:
                return None
            end_word()
            tokens.append(_Token("angle", text[position + 1 : end]))
            position = end + 1
        elif letter in ",;:":
            end_word()
            tokens.append(_Token(letter, letter))
            position += 1
        elif letter in " \t\r\n":
            end_word()
            position += 1
        elif letter in ">)\\":
            return None
        else:
            word.append(letter)
            position += 1
    end_word()
    return tokens


def _closing(text: str, start: int, closing: str) -> int:
    position = start
    while position < len(text):
        if text[position] == "\\" and closing == '"':
            position += 2
            continue
        if text[position] == closing:
            return position
        position += 1
    return -1


def _comment(text: str, start: int) -> int:
    depth, position = 0, start
    while position < len(text):
        letter = text[position]
        if letter == "\\":
            position += 2
            continue
        if letter == "(":
            depth += 1
            if depth > COMMENT_DEPTH_LIMIT:
                return -1
        elif letter == ")":
            depth -= 1
            if depth == 0:
                return position + 1
        position += 1
    return -1


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
