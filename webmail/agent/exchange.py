"""One request through the broker to an agent node's relay, and its answer.

What goes through holds ids and sealed bytes only. A dead broker is told within seconds.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from celery.exceptions import TimeoutError as CeleryTimeout
from django.conf import settings
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from crypto_agent.protocol import (
    AGENT_QUEUE_PREFIX,
    INLINE_LIMIT,
    REQUEST_LIFETIME_MS,
    TASK_DESCRIBE,
    TASK_HANDLE,
    Envelope,
    ErrorCode,
    FolderSpool,
    ProtocolError,
    unb64,
)
from webmail.celery import app

BROKER_ERRORS: Final = (OperationalError, RedisError, ConnectionError, OSError, RuntimeError)
"""RuntimeError is what Celery makes of a result store that it cannot connect to again; it says that
the program must be restarted, but the next request does connect when the broker is back."""
DEFAULT_TIMEOUT_S: Final = 60.0
"""A large message may take this long."""
PATIENCE_S: Final = 3.0
"""After it the relay is asked whether it is there at all. Its queue is first in, first out: when it
describes itself it has taken the request before."""
DESCRIBE_TIMEOUT_S: Final = 4.0
SILENCE_S: Final = 3.0
"""For how long a relay that did not answer is not asked again: a page that needs several answers
must not wait for each, and a dead relay must not hold every thread of the web."""
SILENT_TIMEOUT_S: Final = 1.0
"""How long it is then given to say that it is back."""


_silent_until: dict[str, float] = {}
"""Node → when its silent relay may be asked again, by the monotonic clock."""


def _nothing() -> None:
    pass


_meanwhile: ContextVar[Callable[[], object]] = ContextVar("meanwhile", default=_nothing)


def spool() -> FolderSpool:
    return FolderSpool(settings.SPOOL_DIR)


def new_task_id() -> str:
    return str(uuid.uuid4())


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """Requests inside do ``work`` while they wait for their answers: what a page needs besides then
    takes no time of its own. Whether and how often it is done depends on how many are asked."""
    token = _meanwhile.set(work)
    try:
        yield
    finally:
        _meanwhile.reset(token)


def _ask(node: str, task: str, name: str, args: list[Any], timeout: float) -> Any:
    """Raises ProtocolError: broker_gone, node_gone, timeout."""
    if node in _silent_until:
        if time.monotonic() < _silent_until[node]:
            raise ProtocolError(ErrorCode.NODE_GONE, "no relay")
        if name == TASK_HANDLE:
            _require_relay(node, SILENT_TIMEOUT_S)
    result = app.AsyncResult(task)
    try:
        # Before the request: Celery leaves it until ``get`` inside a task, and RabbitMQ drops an
        # answer that comes earlier, because nobody would fetch it.
        app.backend.add_pending_result(result)
        app.send_task(
            name,
            args=args,
            queue=AGENT_QUEUE_PREFIX + node,
            task_id=task,
            expires=REQUEST_LIFETIME_MS / 1000,
            argsrepr="(sealed)",
            kwargsrepr="{}",
            retry=False,
            ignore_result=False,
        )
        work = _meanwhile.get()
        with meanwhile(_nothing):  # the work may ask an agent itself
            work()
        patience = min(timeout, PATIENCE_S)
        try:
            return _wait(result, patience)
        except CeleryTimeout:
            if name == TASK_HANDLE:
                _require_relay(node, DESCRIBE_TIMEOUT_S)
        return _wait(result, timeout - patience)
    except CeleryTimeout as error:
        raise ProtocolError(ErrorCode.TIMEOUT) from error
    except BROKER_ERRORS as error:
        raise ProtocolError(ErrorCode.BROKER_GONE) from error
    finally:
        # Delete the result and end the subscription: both would else pile up.
        with contextlib.suppress(*BROKER_ERRORS):
            result.forget()


def _wait(result: Any, seconds: float) -> Any:
    # Celery forbids waiting inside a task because a full pool could wait for itself. The worker
    # waits for the relay here: another process on another queue, which never waits for it.
    return result.get(timeout=seconds, propagate=True, disable_sync_subtasks=False)


def _require_relay(node: str, timeout: float) -> None:
    """Raises ProtocolError (node_gone) when nobody serves the node's queue."""
    try:
        _ask(node, new_task_id(), TASK_DESCRIBE, [], timeout)
        _silent_until.pop(node, None)
    except ProtocolError as error:
        if error.code is not ErrorCode.TIMEOUT:
            raise
        _silent_until[node] = time.monotonic() + SILENCE_S
        raise ProtocolError(ErrorCode.NODE_GONE, "no relay") from error


def ask_agent(
    node: str, envelope: Envelope, *, timeout: float = DEFAULT_TIMEOUT_S
) -> dict[str, Any] | bytes:
    """The sealed reply as bytes, or the supervisor's answer to a control request as a dict.

    Raises ProtocolError with the relay's, supervisor's or agent's bare code.
    """
    store = spool()
    put = ""
    wire = envelope.to_wire()
    if len(envelope.body) > INLINE_LIMIT:
        put = store.put(envelope.body)
        wire = {**wire, "body": "", "spool": put}
    try:
        answer = _ask(node, envelope.task, TASK_HANDLE, [wire], timeout)
    finally:
        if put:
            store.delete(put)  # the relay did; unless it never came to it
    if not isinstance(answer, dict):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "answer")
    if "sealed" in answer:
        return unb64(answer["sealed"])
    if "spool" in answer:
        name = str(answer["spool"])
        sealed = store.get(name)
        store.delete(name)
        return sealed
    if "error" in answer:
        try:
            code = ErrorCode(str(answer["error"]))
        except ValueError:
            code = ErrorCode.INTERNAL
        raise ProtocolError(code)
    return answer


def ask_descriptor(node: str) -> dict[str, Any]:
    """The untrusted descriptor of a node, from its relay. Raises ProtocolError."""
    answer = _ask(node, new_task_id(), TASK_DESCRIBE, [], DESCRIBE_TIMEOUT_S)
    if not isinstance(answer, dict) or not isinstance(answer.get("descriptor"), dict):
        raise ProtocolError(ErrorCode.NODE_GONE)
    descriptor: dict[str, Any] = answer["descriptor"]
    return descriptor


def now_ms() -> int:
    return time.time_ns() // 1_000_000
