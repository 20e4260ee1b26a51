"""Errors of the agent's own code, and how any exception becomes a code without content."""

from __future__ import annotations

import logging
import secrets
import traceback

from crypto_agent.protocol import ErrorCode, ProtocolError

log = logging.getLogger("sealpost.agent")

__all__ = ["ErrorCode", "ProtocolError", "code_of", "error_id"]


def error_id() -> str:
    """A short random name under which an internal error stands in the log and on the page."""
    return secrets.token_hex(4)


def code_of(error: BaseException) -> tuple[ErrorCode, str]:
    """The code and detail that may leave the process for ``error``.

    A :class:`ProtocolError` speaks for itself. Of anything else only the exception's class and the
    place in our own code are logged, never its message: that may quote a subject or an address.
    """
    if isinstance(error, ProtocolError):
        return error.code, error.detail
    if isinstance(error, MemoryError | RecursionError):
        return ErrorCode.TOO_COMPLEX, ""
    name = error_id()
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames[-4:]))
    log.error("internal error %s: %s at %s", name, type(error).__name__, places)
    return ErrorCode.INTERNAL, name
