"""Frames on the unix socket between relay, supervisor and agent.

Request: ``uint32 header length | header | body``; the header is a packed list, the fields of the
envelope (:data:`FIELDS`) and the body's size. Reply: ``kind (1 octet) | uint32 length | content``;
kind ``S`` sealed reply, ``E`` bare error code, ``C`` confirmed answer of the supervisor (JSON).

The supervisor reads exactly the header and not one octet more; the body stays in the socket for the
process that the descriptor is passed to.
"""

from __future__ import annotations

import socket
import struct
from typing import Any, Final

from crypto_agent.protocol import (
    BODY_LIMIT,
    HEADER_LIMIT,
    INLINE_LIMIT,
    VERSION,
    Envelope,
    ErrorCode,
    ProtocolError,
    pack,
    unpack,
)

SEALED: Final = b"S"
ERROR: Final = b"E"
CONTROL: Final = b"C"

_LENGTH: Final = struct.Struct("!I")
LENGTH_BYTES: Final = _LENGTH.size
_REPLY: Final = struct.Struct("!cI")


FIELDS: Final = (
    ("op", str),
    ("user", str),
    ("session", str),
    ("task", str),
    ("to", str),
    ("nonce", bytes),
    ("expires", int),
    ("background", bool),
    ("digest", bytes),
    ("signature", bytes),
    ("proof", bytes),
)
"""What follows the protocol's version in a header, before the body's size."""
_TYPES: Final = [int, *(kind for _, kind in FIELDS), int]


def header_frame(envelope: Envelope, size: int) -> bytes:
    """A request's first part. Raises ProtocolError (bad_request) when it is too long."""
    fields = [getattr(envelope, name) for name, _ in FIELDS]
    encoded = pack([VERSION, *fields, size])
    if len(encoded) > HEADER_LIMIT:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "header")
    return _LENGTH.pack(len(encoded)) + encoded


def header_length(prefix: bytes) -> int:
    """Octets of the header that follows. Raises ProtocolError (bad_request)."""
    length: int = _LENGTH.unpack(prefix)[0]
    if not 2 <= length <= HEADER_LIMIT:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "header length")
    return length


def _read_header(encoded: bytes) -> tuple[list[Any], int]:
    untrusted = unpack(encoded)
    if not isinstance(untrusted, list) or not untrusted:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "header")
    if untrusted[0] != VERSION:
        raise ProtocolError(ErrorCode.UNSUPPORTED_VERSION)
    if list(map(type, untrusted)) != _TYPES:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "header")
    _, *fields, size = untrusted
    if size < 0:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "body size")
    if size > BODY_LIMIT:
        raise ProtocolError(ErrorCode.TOO_LARGE)
    return fields, size


def _envelope(fields: list[Any], body: bytes) -> Envelope:
    op, user, session, task, to, nonce, expires, background, digest, signature, proof = fields
    return Envelope(
        op, user, session, task, to, nonce, expires, background, body, digest, signature, proof
    )


def parse_header(encoded: bytes) -> tuple[Envelope, int]:
    """The envelope without its body, nothing of it proven, and the body's size.

    Raises ProtocolError: bad_request, unsupported_version, too_large.
    """
    fields, size = _read_header(encoded)
    return _envelope(fields, b""), size


def receive_request(connection: socket.socket, header: bytes) -> Envelope:
    """The envelope with its body, which is read from ``connection``; nothing of it is proven.

    Raises ProtocolError as :func:`parse_header` and :func:`receive_exactly`.
    """
    fields, size = _read_header(header)
    return _envelope(fields, receive_exactly(connection, size))


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


def send_together(connection: socket.socket, head: bytes, content: bytes) -> None:
    """Both in one call when that costs little, so that the other side wakes once."""
    if len(content) <= INLINE_LIMIT:
        connection.sendall(head + content)
    else:
        connection.sendall(head)
        connection.sendall(content)


def send_reply(connection: socket.socket, kind: bytes, content: bytes) -> None:
    send_together(connection, _REPLY.pack(kind, len(content)), content)


def send_error(connection: socket.socket, code: ErrorCode) -> None:
    send_reply(connection, ERROR, code.value.encode())


def receive_reply(connection: socket.socket) -> tuple[bytes, bytes]:
    """Kind and content of a reply. Raises ProtocolError (agent_gone, bad_request)."""
    kind, length = _REPLY.unpack(receive_exactly(connection, _REPLY.size))
    if kind not in (SEALED, ERROR, CONTROL) or length > BODY_LIMIT:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "reply")
    return kind, receive_exactly(connection, length)
