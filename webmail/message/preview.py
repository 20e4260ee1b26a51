"""The first words of a mail for its list row: without quotes, client lines and blanks."""

from __future__ import annotations

import re
from typing import Final

from webmail.message import html
from webmail.message.headers import clean

LENGTH: Final = 160
"""Characters of a preview; the column holds 200."""

LOOKED_AT: Final = 20_000
"""Characters of the body looked at."""

_ATTRIBUTION: Final = re.compile(
    r"^(?:On|Am|Le|El|Il|Op) .{3,120}:\s*$|^.{3,100}(?:wrote|写道)[::]\s*$"
)


def snippet(text: str, *, is_html: bool = False) -> str:
    """One line of at most :data:`LENGTH` characters."""
    plain = html.to_text(text, limit=LOOKED_AT) if is_html else text[:LOOKED_AT]
    words: list[str] = []
    length = 0
    for line in plain.splitlines():
        stripped = line.strip()
        if not stripped or stripped.startswith(">") or set(stripped) <= set("-_=*#~"):
            continue
        if stripped == "--" or _ATTRIBUTION.match(stripped[:300]):
            if words:
                break
            continue
        words.append(stripped[: LENGTH + 1])
        length += len(stripped) + 1
        if length > LENGTH:
            break
    line = clean(" ".join(words))
    return line if len(line) <= LENGTH else line[: LENGTH - 1].rstrip() + "…"
