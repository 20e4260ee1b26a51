"""Untrusted HTML, cut into tags and text in one linear pass, and written back without ambiguity.

The sanitiser's tree builder costs quadratic time on deep nesting, so depth must be bounded before
it runs; and what is bounded here must be what it sees. So the text is not only counted but written
anew: every attribute quoted, every stray "<" escaped, nesting below :data:`DEPTH_LIMIT`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

SIZE_LIMIT: Final = 4 * 1024 * 1024
"""Characters of one HTML part shown; the rest is cut off and said so."""

DEPTH_LIMIT: Final = 512
"""How deep browsers nest. Counted by weight, because one tag may make a tree builder open several
elements: a table also opens its body, row and cell, and any element may hold one paragraph."""

_WEIGHT: Final = 2
_TABLE_WEIGHT: Final = 6

ATTRIBUTE_LIMIT: Final = 50
"""Attributes of one tag; longer lists are no mail."""

VOID: Final = frozenset(
    "area base basefont bgsound br col embed frame hr img input keygen link meta param source "
    "track wbr".split()
)

_SWALLOWED: Final = frozenset(
    "script title textarea xmp iframe noembed noframes noscript plaintext template svg math "
    "object applet audio video canvas select".split()
)
"""Dropped with everything inside: no text of these is meant to be read in a mail."""

_IMPLIED: Final = frozenset("p td tr th tbody thead tfoot colgroup caption".split())
"""Not counted: one of them needs a counted parent each time, whose weight includes it."""

_ITEMS: Final = {"li": {"li"}, "dd": {"dd", "dt"}, "dt": {"dd", "dt"}}
"""An item ends the one before it, unless something else than these was opened in between."""

_TRANSPARENT: Final = frozenset({"div", "address"})

_FORMATTING: Final = frozenset("a b big code em font i nobr s small strike strong tt u".split())
"""Re-opened by tree builders after their parent closed: only their own end tag ends them."""

_BOUNDARY: Final = frozenset({"table", "marquee", "html"})
"""An end tag inside one of these never closes what is outside."""

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9:-]*")
_ATTRIBUTE_NAME: Final = re.compile(r"[^\s/>=\"'<]+")
_BLANK: Final = re.compile(r"[\s/]*")


@dataclass(frozen=True)
class Bounded:
    """Well-formed enough HTML, and what was taken out of it."""

    html: str
    styles: list[str] = field(default_factory=list)
    """Contents of <style> elements, unfiltered."""
    cut: bool = False
    """True when something was left out for its size or depth."""


def bound(untrusted: str) -> Bounded:
    """Cut, bound and rewrite ``untrusted``. Linear in its length; never raises."""
    cut = len(untrusted) > SIZE_LIMIT
    text = untrusted[:SIZE_LIMIT].replace("\0", "")
    out: list[str] = []
    styles: list[str] = []
    depth = _Depth()
    lowered = text.lower() if len(text.lower()) == len(text) else text.translate(_ASCII_LOWER)
    missing_ends: set[str] = set()
    position = 0
    while position < len(text):
        start = text.find("<", position)
        if start < 0:
            out.append(text[position:])
            break
        out.append(text[position:start])
        following = text[start + 1 : start + 2]
        if text.startswith("<!--", start):
            position = _comment_end(text, start)
        elif following in {"!", "?"}:
            end = text.find(">", start)
            position = len(text) if end < 0 else end + 1
        elif following == "/":
            name, position = _end_tag(text, start)
            if name and name not in VOID and depth.close(name):
                out.append(f"</{name}>")
        elif match := _NAME.match(text, start + 1):
            name = match[0].lower()
            attributes, closed, position = _attributes(text, match.end())
            if name == "style" or name in _SWALLOWED:
                inner, position = _raw_text(lowered, text, position, name, missing_ends)
                if name == "style" and inner:
                    styles.append(inner)
            elif depth.open(name, closed=closed):
                out.append(_written(name, attributes))
            else:
                cut = True
        else:
            out.append("&lt;")
            position = start + 1
    return Bounded("".join(out), styles, cut)


_ASCII_LOWER: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


class _Depth:
    """How deep a tree builder may be, never less than it is by more than the implied elements."""

    def __init__(self) -> None:
        self.stack: list[str] = []
        self.weight = 0
        self.counts: Counter[str] = Counter()
        self.formatting: Counter[str] = Counter()

    def open(self, name: str, *, closed: bool) -> bool:
        if name in VOID or name in _IMPLIED:
            return True
        if name in _ITEMS:
            self._end_item(_ITEMS[name])
        cost = 1 if name in _FORMATTING else _TABLE_WEIGHT if name == "table" else _WEIGHT
        if self.weight + cost > DEPTH_LIMIT:
            return False
        self.weight += cost
        if name in _FORMATTING:
            self.formatting[name] += 1
        else:
            self.stack.append(name)
            self.counts[name] += 1
        return True

    def _end_item(self, ended: set[str]) -> None:
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] in ended:
                self._pop(index)
                return
            if self.stack[index] not in _TRANSPARENT:
                return

    def _pop(self, index: int) -> None:
        for gone in self.stack[index:]:
            self.counts[gone] -= 1
            self.weight -= _TABLE_WEIGHT if gone == "table" else _WEIGHT
        del self.stack[index:]

    def close(self, name: str) -> bool:
        """Whether the end tag is worth writing."""
        if name in _IMPLIED:
            return True
        if name in _FORMATTING:
            if not self.formatting[name]:
                return False
            self.formatting[name] -= 1
            self.weight -= 1
            return True
        if not self.counts[name]:
            return False
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] == name:
                self._pop(index)
                return True
            if self.stack[index] in _BOUNDARY:
                return False
        return False


def _comment_end(text: str, start: int) -> int:
    if text.startswith(("<!-->", "<!--->"), start):
        return text.index(">", start) + 1
    end = text.find("-->", start + 4)
    other = text.find("--!>", start + 4)
    if end < 0 and other < 0:
        return len(text)
    if end < 0 or 0 <= other < end:
        return other + 4
    return end + 3


def _end_tag(text: str, start: int) -> tuple[str, int]:
    match = _NAME.match(text, start + 2)
    if match is None:
        end = text.find(">", start)
        return "", len(text) if end < 0 else end + 1
    _attributes_found, _closed, position = _attributes(text, match.end())
    return match[0].lower(), position


def _attributes(text: str, position: int) -> tuple[dict[str, str], bool, int]:
    """Attributes up to ">", whether "/>" ended the tag, and where the text goes on."""
    found: dict[str, str] = {}
    length = len(text)
    while True:
        blank = _BLANK.match(text, position)
        assert blank is not None  # matches the empty text
        slash = "/" in blank[0]
        position = blank.end()
        if position >= length:
            return found, False, length
        if text[position] == ">":
            return found, slash, position + 1
        match = _ATTRIBUTE_NAME.match(text, position)
        if match is None:  # a stray quote, "=" or "<"
            position += 1
            continue
        name = match[0].lower()
        value = ""
        position = match.end()
        equals = re.compile(r"\s*=\s*").match(text, position)
        if equals is not None:
            position = equals.end()
            mark = text[position : position + 1]
            if mark in {'"', "'"} and mark:
                end = text.find(mark, position + 1)
                if end < 0:
                    return found, False, length
                value, position = text[position + 1 : end], end + 1
            else:
                unquoted = re.compile(r"[^\s>]*").match(text, position)
                assert unquoted is not None  # matches the empty text
                value, position = unquoted[0], unquoted.end()
        if len(found) < ATTRIBUTE_LIMIT:
            found.setdefault(name, value)  # HTML: the first of two counts


def _raw_text(
    lowered: str, text: str, position: int, name: str, missing_ends: set[str]
) -> tuple[str, int]:
    """What stands up to the end tag of ``name``. Without one, everything belongs to it."""
    if name in missing_ends:
        return "", len(text)
    end = lowered.find(f"</{name}", position)
    if end < 0:
        missing_ends.add(name)
        return text[position:] if name == "style" else "", len(text)
    after = text.find(">", end)
    return text[position:end], len(text) if after < 0 else after + 1


def _written(name: str, attributes: dict[str, str]) -> str:
    words = [name]
    for key, value in attributes.items():
        if key.isascii() and re.fullmatch(r"[a-z_:][a-z0-9_.:-]*", key):
            quoted = value.replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
            words.append(f'{key}="{quoted}"')
    return f"<{' '.join(words)}>"
