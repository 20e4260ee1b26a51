"""Named places where a test may stop, break or delay the process. They cost nothing when unset.

``SEALPOST_FAILPOINTS="send.after_dot=exit;send.before_connect=sleep:2;file.before_append=raise"``

``exit`` ends the process at once, without clean-up, as a power cut would; ``raise`` raises
:class:`Failpoint`; ``sleep:SECONDS`` waits. The variable is read once, when the process starts.
"""

from __future__ import annotations

import os
import time
from typing import Final

VARIABLE: Final = "SEALPOST_FAILPOINTS"
EXIT_CODE: Final = 86
"""How a process ends at ``exit``, so that a test can tell it from every other end."""


class Failpoint(Exception):
    """Raised at a place armed with ``raise``."""


def parse(text: str) -> dict[str, tuple[str, float]]:
    """Name → (action, seconds). Raises ValueError for what it does not understand."""
    armed: dict[str, tuple[str, float]] = {}
    for item in filter(None, (part.strip() for part in text.split(";"))):
        name, _, action = item.partition("=")
        verb, _, argument = action.partition(":")
        if (
            not name
            or verb not in {"exit", "raise", "sleep"}
            or bool(argument) != (verb == "sleep")
        ):
            raise ValueError(f"{VARIABLE}: {item!r} is none of NAME=exit, NAME=raise, NAME=sleep:S")
        armed[name] = (verb, float(argument or 0))
    return armed


_armed = parse(os.environ.get(VARIABLE, ""))


def failpoint(name: str) -> None:
    """Do what the environment asks for at ``name``; nothing otherwise."""
    if not _armed or name not in _armed:
        return
    verb, seconds = _armed[name]
    if verb == "exit":
        os._exit(EXIT_CODE)
    if verb == "raise":
        raise Failpoint(name)
    time.sleep(seconds)
