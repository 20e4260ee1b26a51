"""Plain text of a mail → safe HTML: links become links, quotes are marked. Linear in its length."""

from __future__ import annotations

import re
from html import escape
from typing import Final

from webmail.message.html import SafeHtml, safe_link

LENGTH_LIMIT: Final = 1_000_000
"""Characters of text shown; a longer text is cut and said so."""

LINK_LIMIT: Final = 2_000
"""Links made per mail, and characters of one link."""

_LINK_START: Final = re.compile(r"https?://|mailto:", re.IGNORECASE)
_LINK_REST: Final = re.compile(r"[^\s<>\"'`{}|\\^\u3000-\u303f\uff00-\uffef]{1,2000}")
_TRAILING: Final = ".,;:!?'\"*_~"
_QUOTE: Final = re.compile(r"[ \t]?((?:>[ \t]?){1,20})")


def to_html(text: str) -> SafeHtml:
    """``text`` as a fragment in which nothing is markup but ours."""
    cut = len(text) > LENGTH_LIMIT
    out: list[str] = []
    budget = LINK_LIMIT
    for line in text[:LENGTH_LIMIT].replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        linked, budget = _line(line, budget)
        level = _quote_level(line)
        if level:
            out.append(f'<span class="mail-quote mail-quote-{min(level, 5)}">{linked}</span>')
        else:
            out.append(linked)
    body = "\n".join(out)
    return SafeHtml(f'<div class="mail-text">{body}</div>', "", 0, cut)


def _quote_level(line: str) -> int:
    match = _QUOTE.match(line)
    return match[1].count(">") if match else 0


def _line(line: str, budget: int) -> tuple[str, int]:
    out: list[str] = []
    position = passed = 0
    for match in _LINK_START.finditer(line):
        if match.start() < max(position, passed) or budget <= 0:
            continue
        if match.start() and (line[match.start() - 1].isalnum()):
            continue
        rest = _LINK_REST.match(line, match.end())
        if rest is None:
            continue
        address = _trim(line[match.start() : rest.end()])
        target = safe_link(address)
        if target is None:
            passed = rest.end()  # looked at once: what follows inside it is part of it
            continue
        out.append(escape(line[position : match.start()]))
        out.append(
            f'<a href="{escape(target)}" target="_blank" rel="noopener noreferrer">'
            f"{escape(address)}</a>"
        )
        position = match.start() + len(address)
        budget -= 1
    out.append(escape(line[position:]))
    return "".join(out), budget


def _trim(address: str) -> str:
    """Without the full stop or the closing bracket of the sentence around it."""
    opened, closed = address.count("("), address.count(")")
    end = len(address)
    while end > 1:
        last = address[end - 1]
        if last in _TRAILING:
            end -= 1
        elif last == ")" and closed > opened:
            end -= 1
            closed -= 1
        else:
            break
    return address[:end]
