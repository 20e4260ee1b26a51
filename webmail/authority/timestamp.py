"""Ask a time-stamping authority for a token (RFC 3161). No token is no reason not to send."""

from __future__ import annotations

import logging
import secrets
import time
from typing import Any, Final

from asn1crypto import algos, tsp

from crypto_agent.protocol import ProtocolError
from webmail.agent import door

logger = logging.getLogger(__name__)

NONCE_BITS: Final = 64
_GRANTED: Final = frozenset({"granted", "granted_with_mods"})


class BadToken(ValueError):
    """The answer is no token for what was asked. Holds no content."""


def token_for(imprint: bytes) -> bytes | None:
    """A token of our own authority over ``imprint`` (SHA-256), or None when none is to be had.

    What the token is worth is judged by whoever reads the mail; here it is only made sure that it
    answers this very request.
    """
    nonce = secrets.randbits(NONCE_BITS) | 1 << (NONCE_BITS - 1)
    try:
        answer = door.service(
            "timestamp",
            "stamp",
            {"request": make_request(imprint, nonce), "now": int(time.time() * 1000)},
        )
        return token_from(bytes(answer["response"]), imprint, nonce)
    except (ProtocolError, BadToken) as error:
        logger.warning("a mail goes without a timestamp: %s", type(error).__name__)
        return None


def make_request(imprint: bytes, nonce: int) -> bytes:
    """DER of a TimeStampReq (RFC 3161 §2.4.1) that asks for the certificate too."""
    request = tsp.TimeStampReq(
        {
            "version": "v1",
            "message_imprint": {
                "hash_algorithm": algos.DigestAlgorithm({"algorithm": "sha256"}),
                "hashed_message": imprint,
            },
            "nonce": nonce,
            "cert_req": True,
        }
    )
    der: bytes = request.dump()
    return der


def token_from(response: bytes, imprint: bytes, nonce: int) -> bytes:
    """The TimeStampToken in a TimeStampResp (RFC 3161 §2.4.2). Raises BadToken."""
    try:
        parsed = tsp.TimeStampResp.load(response, strict=True)
        if parsed["status"]["status"].native not in _GRANTED:
            raise BadToken("not granted")
        token = parsed["time_stamp_token"]
        info: Any = token["content"]["encap_content_info"]["content"].parsed
        stamped = info["message_imprint"]
        # §2.4.2: the same imprint and the same nonce, else it is another answer.
        if stamped["hash_algorithm"]["algorithm"].native != "sha256":
            raise BadToken("other digest")
        if stamped["hashed_message"].native != imprint or info["nonce"].native != nonce:
            raise BadToken("other request")
        der: bytes = token.dump()
    except BadToken:
        raise
    except Exception as error:  # asn1crypto raises ValueError, TypeError, KeyError, ...
        raise BadToken("unreadable") from error
    return der
