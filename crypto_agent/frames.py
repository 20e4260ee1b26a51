"""Frames on the unix socket between relay, supervisor and agent.

Request: ``uint32 header length | header | body``; the header is JSON, the envelope without its body
and with its ``size``. Reply: ``kind (1 octet) | uint32 length | content``; kind ``S`` sealed reply,
``E`` bare error code, ``C`` confirmed answer of the supervisor (JSON).

The supervisor reads exactly the header and not one octet more; the body stays in the socket for the
process that the descriptor is passed to.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any, Final

from crypto_agent.protocol import BODY_LIMIT, HEADER_LIMIT, Envelope, ErrorCode, ProtocolError

SEALED: Final = b"S"
ERROR: Final = b"E"
CONTROL: Final = b"C"

_LENGTH: Final = struct.Struct("!I")
LENGTH_BYTES: Final = _LENGTH.size
_REPLY: Final = struct.Struct("!cI")


def header_frame(header: dict[str, Any]) -> bytes:
    """A request's first part. Raises ProtocolError (bad_request) when it is too long."""
    encoded = json.dumps(header, separators=(",", ":")).encode()
    if len(encoded) > HEADER_LIMIT:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "header")
    return _LENGTH.pack(len(encoded)) + encoded


def header_length(prefix: bytes) -> int:
    """Octets of the header that follows. Raises ProtocolError (bad_request)."""
    length: int = _LENGTH.unpack(prefix)[0]
    if not 2 <= length <= HEADER_LIMIT:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "header length")
    return length


def parse_header(encoded: bytes) -> tuple[dict[str, Any], Envelope, int]:
    """The header, its envelope (nothing proven) and the body's size. Raises ProtocolError."""
    try:
        untrusted = json.loads(encoded)
        size = untrusted["size"] if isinstance(untrusted, dict) else None
    except (ValueError, KeyError, RecursionError) as error:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "header") from error
    if not isinstance(size, int) or size < 0:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "body size")
    if size > BODY_LIMIT:
        raise ProtocolError(ErrorCode.TOO_LARGE)
    return untrusted, Envelope.from_wire(untrusted), size


def receive_exactly(connection: socket.socket, count: int) -> bytes:
    """``count`` octets. Raises ProtocolError (agent_gone) when the peer closes first."""
    chunks = bytearray(count)
    view = memoryview(chunks)
    position = 0
    while position < count:
        received = connection.recv_into(view[position:])
        if not received:
            raise ProtocolError(ErrorCode.AGENT_GONE, "connection closed")
        position += received
    view.release()
    return bytes(chunks)


def send_reply(connection: socket.socket, kind: bytes, content: bytes) -> None:
    connection.sendall(_REPLY.pack(kind, len(content)))
    connection.sendall(content)


def send_error(connection: socket.socket, code: ErrorCode) -> None:
    send_reply(connection, ERROR, code.value.encode())


def receive_reply(connection: socket.socket) -> tuple[bytes, bytes]:
    """Kind and content of a reply. Raises ProtocolError (agent_gone, bad_request)."""
    kind, length = _REPLY.unpack(receive_exactly(connection, _REPLY.size))
    if kind not in (SEALED, ERROR, CONTROL) or length > BODY_LIMIT:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "reply")
    return kind, receive_exactly(connection, length)
