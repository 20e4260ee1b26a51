"""The relay of an agent node: a Celery worker that moves sealed bytes.

``celery -A crypto_agent.tasks worker -P threads -c 8 -Q agent.<node> --without-gossip
--without-mingle --without-heartbeat``

It takes a request from the broker, hands it to the supervisor's socket, and returns the sealed
reply. It holds no secret and opens nothing; nothing it handles may be logged.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
from typing import Any, Final

from celery import Celery, signals

from crypto_agent import frames
from crypto_agent.config import RelayConfig
from crypto_agent.protocol import (
    AGENT_QUEUE_PREFIX,
    BODY_LIMIT,
    INLINE_LIMIT,
    TASK_ANNOUNCE,
    TASK_DESCRIBE,
    TASK_HANDLE,
    Envelope,
    ErrorCode,
    FolderSpool,
    ProtocolError,
    b64,
)

REPLY_TIMEOUT_S: Final = 100.0
"""Longer than an agent's processor limit; the caller has given up long before."""
CONNECT_TIMEOUT_S: Final = 3.0
ANNOUNCE_EVERY_S: Final = 10.0
LOOK_EVERY_S: Final = 1.0
"""How often the relay looks for a supervisor that started anew."""

config = RelayConfig.from_environment()
spool = FolderSpool(config.spool_folder)

app = Celery("crypto_agent")
app.conf.update(
    broker_url=config.broker,
    result_backend=config.results,
    accept_content=["json"],
    result_accept_content=["json"],
    task_serializer="json",
    result_serializer="json",
    result_expires=120,
    task_send_sent_event=False,
    worker_send_task_events=False,
    # A request that was lost with its relay is asked again by its caller, never run twice.
    task_acks_late=False,
    worker_prefetch_multiplier=1,
    task_default_queue=AGENT_QUEUE_PREFIX + config.node,
    task_create_missing_queues=True,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": 120,
        "socket_keepalive": True,
        # Redis would keep each request a second time until it is done, to give it to another relay
        # after the visibility timeout: twice as long as a request is worth anything.
        "ack_emulation": False,
    },
    worker_hijack_root_logger=False,
    worker_enable_remote_control=False,
    timezone="UTC",
)
log = logging.getLogger("sealpost.relay")


@signals.setup_logging.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _set_up_logging(**_: Any) -> None:
    """Our own log instead of Celery's, which tells each task's arguments and result at INFO."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    log.setLevel(logging.INFO)
    for muted in ("celery.app.trace", "celery.worker.strategy", "celery.worker.request"):
        logging.getLogger(muted).setLevel(logging.CRITICAL)


def _connect() -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CONNECT_TIMEOUT_S)
    try:
        connection.connect(str(config.socket_path))
    except OSError as error:
        connection.close()
        raise ProtocolError(ErrorCode.NODE_GONE) from error
    connection.settimeout(REPLY_TIMEOUT_S)
    return connection


def _exchange(envelope: Envelope, body: bytes) -> tuple[bytes, bytes]:
    """One request to the supervisor. Raises ProtocolError: node_gone, agent_gone, timeout."""
    with _connect() as connection:
        try:
            header = frames.header_frame(envelope, len(body))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                # Refused at the header: the reason may be waiting for us to read.
                frames.send_together(connection, header, body)
            return frames.receive_reply(connection)
        except TimeoutError as error:
            raise ProtocolError(ErrorCode.TIMEOUT) from error
        except OSError as error:
            raise ProtocolError(ErrorCode.AGENT_GONE) from error


def _body(envelope: Envelope) -> bytes:
    if not envelope.spool:
        return envelope.body
    body = spool.get(envelope.spool)
    spool.delete(envelope.spool)
    return body


@app.task(name=TASK_HANDLE, ignore_result=False)  # type: ignore[untyped-decorator]  # Celery has no types
def handle(wire: dict[str, Any]) -> dict[str, Any]:
    """Move one request and its reply: ``{"sealed"}``, ``{"spool"}``, ``{"error"}``, or an answer of
    the supervisor's."""
    try:
        envelope = Envelope.from_wire(wire)
        if envelope.expires < time.time_ns() // 1_000_000:
            raise ProtocolError(ErrorCode.EXPIRED)  # it lay in the queue while no relay ran
        kind, content = _exchange(envelope, _body(envelope))
        if kind == frames.ERROR:
            return {"error": ErrorCode(content.decode("ascii")).value}
        if kind == frames.CONTROL:
            answer: dict[str, Any] = json.loads(content)
            return answer
        if len(content) > INLINE_LIMIT:
            return {"spool": spool.put(content)}
        return {"sealed": b64(content)}
    except ProtocolError as error:
        return {"error": error.code.value}
    except (OSError, ValueError):
        return {"error": ErrorCode.INTERNAL.value}


@app.task(name=TASK_DESCRIBE, ignore_result=False)  # type: ignore[untyped-decorator]  # Celery has no types
def describe() -> dict[str, Any]:
    """The node's descriptor: public, and proven by its own signature."""
    try:
        return _describe()
    except ProtocolError as error:
        return {"error": error.code.value}


def _describe() -> dict[str, Any]:
    empty = Envelope(op="describe", user="", session="", task="", to="", nonce=b"", expires=0)
    kind, content = _exchange(empty, b"")
    if kind != frames.CONTROL or len(content) > BODY_LIMIT:
        raise ProtocolError(ErrorCode.NODE_GONE)
    described: dict[str, Any] = json.loads(content)
    return described


# --------------------------------------------------------------------------- announcing


def _announce(stop: threading.Event) -> None:
    """Tell the web that this node is there: at once after a start, then as a heartbeat."""
    last_start, last_at = "", 0.0
    while not stop.is_set():
        try:
            wire = _describe()["descriptor"]
            now = time.monotonic()
            if wire["start"] != last_start or now - last_at >= ANNOUNCE_EVERY_S:
                app.send_task(
                    TASK_ANNOUNCE,
                    args=[wire],
                    queue="worker",
                    expires=3 * ANNOUNCE_EVERY_S,
                    argsrepr="(node)",
                    kwargsrepr="{}",
                    ignore_result=True,
                    retry=False,
                )
                last_start, last_at = wire["start"], now
        except Exception as error:  # no supervisor or no broker now: try again, whatever it was
            log.debug("not announced: %s", type(error).__name__)
        stop.wait(LOOK_EVERY_S)


_stop: Final = threading.Event()


@signals.worker_ready.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _start_announcing(**_: Any) -> None:
    log.info("relay of node %s is ready", config.node)
    threading.Thread(target=_announce, args=(_stop,), name="announce", daemon=True).start()


@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _stop_announcing(**_: Any) -> None:
    _stop.set()
