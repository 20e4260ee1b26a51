"""What an agent may be asked to do: an allow-list per kind of process, nothing else is reachable.

Every operation is ``function(context, payload) -> result``; payload and result are plain values
(:func:`crypto_agent.protocol.pack`). The context is

* a :class:`crypto_agent.keyring.keyops.Keyring` in a user's agent and in the postmaster,
* ``None`` in the verifier, which holds no key,
* a :class:`ServiceContext` in the services that keep state (authority, timestamp).

An operation raises :class:`crypto_agent.errors.ProtocolError` for trouble the caller should know;
everything else becomes ``internal`` with an error id.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from crypto_agent.protocol import (
    RELEASE_OPERATIONS,
    SERVICE_OPERATIONS,
    SESSION_OPERATIONS,
    ErrorCode,
    ProtocolError,
)

Operation = Callable[[Any, dict[str, Any]], dict[str, Any]]

_OPERATIONS: Final = {
    "open": "crypto_agent.operations.open:open_message",
    "hold": "crypto_agent.operations.hold:hold",
    "release_sign": "crypto_agent.operations.release:release_sign",
    "release_seal": "crypto_agent.operations.release:release_seal",
    "seal_draft": "crypto_agent.operations.drafts:seal_draft",
    "open_draft": "crypto_agent.operations.drafts:open_draft",
    "seal_fields": "crypto_agent.operations.fields:seal_fields",
    "open_fields": "crypto_agent.operations.fields:open_fields",
    "install": "crypto_agent.operations.install:install",
    "judge_certificate": "crypto_agent.operations.judge:judge_certificate",
    "ping": "crypto_agent.operations.ping:ping",
    "init": "crypto_agent.operations.authority:init",
    "issue": "crypto_agent.operations.authority:issue",
    "crl": "crypto_agent.operations.authority:crl",
    "stamp": "crypto_agent.operations.timestamp:stamp",
}

USER: Final = "user"


@dataclass(frozen=True)
class ServiceContext:
    """What a service agent with state may use.

    ``state`` is what :meth:`store` last kept (empty at first). ``store(name, state)`` seals the
    state of service ``name`` and returns when it is on disk; only the authority may name another,
    which then starts anew with it: so are TSA and postmaster keys handed over without leaving the
    node.
    """

    name: str
    state: dict[str, Any]
    store: Callable[[str, dict[str, Any]], None]


def _load(name: str) -> Operation:
    module, _, function = _OPERATIONS[name].partition(":")
    operation: Operation = getattr(importlib.import_module(module), function)
    return operation


@cache
def allowed(kind: str) -> dict[str, Operation]:
    """The allow-list of one kind of process: ``user``, or the name of a service."""
    if kind == USER:
        names = SESSION_OPERATIONS | RELEASE_OPERATIONS
    else:
        names = SERVICE_OPERATIONS[kind]
    return {name: _load(name) for name in sorted(names)}


def dispatch(
    operations: dict[str, Operation], name: str, context: Any, payload: dict[str, Any]
) -> dict[str, Any]:
    """Run one operation of an allow-list. Raises ProtocolError (unknown_operation, ...)."""
    operation = operations.get(name)
    if operation is None:
        raise ProtocolError(ErrorCode.UNKNOWN_OPERATION)
    return operation(context, payload)
