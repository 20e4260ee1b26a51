"""Whole numbers that somebody else wrote."""

from __future__ import annotations

from typing import Final

_DIGITS: Final = 18
"""What fits into a column of 64 bits. ``int`` itself refuses more than 4,300 of them, and takes
"²" for none although ``isdigit`` says yes."""


def whole(text: str | bytes) -> int | None:
    """``text`` as a number, None when it is not some ASCII digits alone."""
    return int(text) if 0 < len(text) <= _DIGITS and text.isascii() and text.isdigit() else None
