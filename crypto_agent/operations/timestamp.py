"""The time stamp service: answers RFC 3161 requests with the authority's TSA key."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from crypto_agent.cms import timestamp as tsp
from crypto_agent.cms.keys import RSA_PKCS1V15_SHA256
from crypto_agent.operations.authority import load_key
from crypto_agent.protocol import ErrorCode, ProtocolError
from crypto_agent.trust.levels import OWN_ARC

POLICY: Final = f"{OWN_ARC}.16.1"
"""Time stamp policy: the node's clock, one second, no promise of an audited source."""
REQUEST_LIMIT: Final = 4096
"""Octets; a request is an imprint and a nonce, some 60."""


class Context(Protocol):
    """What the service agent gives to the operation."""

    @property
    def state(self) -> dict[str, Any]:
        """``{"key": PKCS#8, "certificate": der, "chain": [root der]}``, kept by the authority."""


@dataclass(frozen=True)
class _StampingKey:
    """The TSA key as the engine wants it; it signs with one scheme only."""

    pkcs8: bytes = field(repr=False)
    certificate: bytes
    chain: tuple[bytes, ...]

    @property
    def key_id(self) -> str:
        return hashlib.sha256(self.certificate).hexdigest()

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        return load_key(self.pkcs8)

    def sign(self, data: bytes, *, scheme: str) -> bytes:
        if scheme != RSA_PKCS1V15_SHA256:
            raise ProtocolError(ErrorCode.BAD_REQUEST, "scheme")
        return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())


def stamp(context: Context, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Answer one request. ``payload``: ``request`` (DER TimeStampReq).

    Result: ``{"response": DER TimeStampResp}``; a refusal is a response too. The time is that of
    this node's clock, whatever the payload says. Raises ProtocolError (bad_request) when the
    authority was not set up.
    """
    if not context.state.get("key"):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "the authority is not set up")
    request = payload.get("request")
    if not isinstance(request, bytes) or len(request) > REQUEST_LIMIT:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "request")
    key = _StampingKey(
        pkcs8=bytes(context.state["key"]),
        certificate=bytes(context.state["certificate"]),
        chain=tuple(bytes(der) for der in context.state["chain"]),
    )
    # RFC 3161 §2.4.2: serial numbers are unique; 159 random bits are, without remembering any
    serial = secrets.randbits(159) | 1
    response = tsp.respond(request, key, now=int(time.time() * 1000), serial=serial, policy=POLICY)
    return {"response": response}
