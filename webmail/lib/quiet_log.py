"""The last line of defence of the logs: what must not be written is taken out of every line.

Code here does not log addresses, tokens or content in the first place. Libraries, and the texts of
their exceptions, do: a unique constraint names the value, Django names the path of a request.
"""

from __future__ import annotations

import logging
import re
from typing import Final

_ADDRESS: Final = re.compile(r"[^\s<>()\[\]\"',;:=/]{1,64}@[^\s<>()\[\]\"',;:=/]{1,253}")
_SECRET_PATH: Final = re.compile(r"/welcome/[^/\s]+")
_QUERY: Final = re.compile(r"(?<=/)\?[^\s\"']+|(?<=[?&])(?:q|address|to)=[^\s\"'&]*")
_DETAIL: Final = re.compile(r"(DETAIL:.*|\(params: .*\))$", re.MULTILINE)
"""PostgreSQL and others repeat the values of a row."""


def quiet(text: str) -> str:
    """``text`` without addresses, invitation tokens, query strings and row values."""
    text = _SECRET_PATH.sub("/welcome/…", text)
    text = _QUERY.sub("…", text)
    text = _DETAIL.sub("…", text)
    return _ADDRESS.sub("…@…", text)


class QuietFormatter(logging.Formatter):
    """Formats like its parent, then cleans the whole entry, traceback included."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        error_id = getattr(getattr(record, "request", None), "error_id", "")
        if error_id:
            first, newline, rest = line.partition("\n")
            line = f"{first} [error {error_id}]{newline}{rest}"
        return quiet(line)
