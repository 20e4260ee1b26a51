"""RFC 3161 timestamps: asking, answering and reading them (with ESSCertIDv2, RFC 5816)."""

from __future__ import annotations

from dataclasses import dataclass

from crypto_agent.cms.facts import Fact
from crypto_agent.cms.keys import SigningKey


@dataclass(frozen=True)
class TokenFacts:
    """What a token says and what of it is proven. Its chain is judged elsewhere, at gen_time."""

    fact: Fact
    """All of the below in one answer: passed only when digest, signature, usage and imprint hold."""
    gen_time: int | None
    """Milliseconds since the epoch."""
    accuracy_ms: int | None
    serial: int | None
    policy: str
    nonce: int | None
    certificate: bytes | None
    """DER of the TSA's certificate (untrusted until its chain is judged)."""
    certificates: tuple[bytes, ...]
    digest_ok: bool
    signature_ok: bool
    usage_ok: bool
    """EKU timeStamping, critical and sole (RFC 3161 §2.3)."""


def request(imprint: bytes, nonce: int | None) -> bytes:
    """A TimeStampReq for a SHA-256 imprint, asking for the TSA's certificate."""
    raise NotImplementedError


def read_response(response: bytes, *, imprint: bytes | None = None, nonce: int | None = None) -> bytes:
    """The TimeStampToken of a granted TimeStampResp; checked against what was asked, if given.

    Raises CmsError (timestamp.refused, timestamp.mismatch, cms.damaged).
    """
    raise NotImplementedError


def respond(request_der: bytes, key: SigningKey, *, now: int, serial: int, policy: str) -> bytes:
    """Answer a TimeStampReq: a TimeStampResp, granted or with the reason of refusal.

    ``now`` in ms, ``policy`` a dotted OID. Never raises for a bad request: that is a response too.
    """
    raise NotImplementedError


def verify_token(token: bytes, *, imprint: bytes) -> TokenFacts:
    """Read a TimeStampToken and check it against the SHA-256 ``imprint``. Never raises."""
    raise NotImplementedError
