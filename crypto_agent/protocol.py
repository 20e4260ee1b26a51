"""The border between the web and the crypto agent: what crosses it, and how it is sealed.

This is the only module of ``crypto_agent`` that ``webmail`` imports. It is described for people in
``docs/agent-protocol.md``. Nothing here keeps state, reads a clock or opens a socket, except
:class:`FolderSpool`, which reads and writes sealed blobs.

A request is an :class:`Envelope`: routing facts that relay and supervisor may see, and a ``body``
that only the addressed process can open (HPKE, RFC 9180, X25519+ML-KEM-768 hybrid). Inside is the
key that its reply is sealed under, made for this one request. Three things make it acceptable:

* ``signature``: Ed25519 by the deployment's *caller key*: a web or worker process of ours sent it.
  It covers the routing facts and ``digest``, the SHA-256 of the sealed body, so that the supervisor
  can check it without ever reading the body;
* ``proof``: HMAC under a key derived from the session secret C: the browser that unlocked is here;
* ``nonce`` and ``expires``: it is fresh and was not used before.
"""

from __future__ import annotations

import base64
import binascii
import ctypes
import hashlib
import hmac
import os
import re
import secrets
import time
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgpack
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION: Final = 1
"""Raised on every change that an older peer would misread."""

SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)

REQUEST_LIFETIME_MS: Final = 60_000
"""A sealed request is refused this long after it was made."""

INLINE_LIMIT: Final = 64 * 1024
"""Bodies above this many bytes travel through the spool, not through the broker."""

BODY_LIMIT: Final = 160 * 1024 * 1024
"""No sealed body may be larger: a 100 MB message with its base64 expansion."""

HEADER_LIMIT: Final = 16 * 1024
"""No routing header may be larger; a true one has about 700 bytes."""

SESSION_SECRET_BYTES: Final = 32

_REPLY_KEY_BYTES: Final = 32
_REPLY_NONCE_BYTES: Final = 12

AGENT_QUEUE_PREFIX: Final = "agent."
"""Queue of a node's relay: this prefix and the node's name."""

TASK_HANDLE: Final = "crypto_agent.handle"
TASK_DESCRIBE: Final = "crypto_agent.describe"
TASK_ANNOUNCE: Final = "webmail.agent.tasks.announce_node"

# --------------------------------------------------------------------------- operations

OPENER_OPERATIONS: Final = frozenset({"create", "unlock", "resume", "rewrap"})
"""Sealed to the node's key; each is opened in a freshly forked process."""

SESSION_OPERATIONS: Final = frozenset(
    {
        "open",
        "hold",
        "seal_draft",
        "open_draft",
        "seal_fields",
        "open_fields",
        "install",
        "ping",
    }
)
"""Sealed to the user's agent; need the session proof."""

RELEASE_OPERATIONS: Final = frozenset({"release_sign", "release_seal"})
"""Sealed to the user's agent by the worker; work only on blobs which that agent's vault sealed."""

SERVICE_OPERATIONS: Final = {
    "verifier": frozenset({"open", "judge_certificate", "ping"}),
    "authority": frozenset({"init", "issue", "crl", "ping"}),
    "timestamp": frozenset({"stamp", "ping"}),
    "postmaster": frozenset({"hold", "release_sign", "release_seal", "ping"}),
}
"""Allow-list per service agent."""

CONTROL_OPERATIONS: Final = frozenset({"lock", "status"})
"""Signed, unsealed: answered by the supervisor itself, which opens nothing."""


class ErrorCode(StrEnum):
    """Stable codes. The web turns each into one sentence and one hint."""

    WRONG_PASSWORD = "wrong_password"  # noqa: S105 - the name of an error, not a secret
    RATE_LIMITED = "rate_limited"
    BROKER_GONE = "broker_gone"
    NOT_UNLOCKED = "not_unlocked"
    AGENT_GONE = "agent_gone"
    NODE_GONE = "node_gone"
    TIMEOUT = "timeout"
    EXPIRED = "expired"
    REPLAYED = "replayed"
    FORGED = "forged"
    WRONG_SESSION = "wrong_session"
    UNKNOWN_OPERATION = "unknown_operation"
    UNSUPPORTED_VERSION = "unsupported_version"
    TOO_LARGE = "too_large"
    TOO_COMPLEX = "too_complex"
    OVERLOADED = "overloaded"
    BAD_REQUEST = "bad_request"
    DECRYPT_FAILED = "decrypt_failed"
    NO_MATCHING_KEY = "no_matching_key"
    CERTIFICATE_REFUSED = "certificate_refused"
    VAULT_DAMAGED = "vault_damaged"
    INTERNAL = "internal"


FACT_CODES: Final[frozenset[str]] = frozenset(
    {
        # 1. the digest
        "digest.ok",
        "digest.mismatch",
        "digest.two_contents",
        "digest.no_content",
        "digest.algorithm_unknown",
        "digest.algorithm_weak",
        # 2. the signature
        "signature.ok",
        "signature.none",
        "signature.invalid",
        "signature.no_certificate",
        "signature.certificate_damaged",
        "signature.algorithm_unknown",
        "signature.digest_weak",
        "signature.key_weak",
        "signature.key_refused",
        "signature.key_mismatch",
        "signature.attributes_not_der",
        "signature.attributes",
        "signature.content_type",
        "signature.algorithm_protection",
        "signature.signing_certificate",
        "signature.digest_rule",
        "signature.other_signer_bad",
        "signature.time_in_future",
        # 3. the certificate, its chain, its revocation
        "certificate.missing",
        "certificate.damaged",
        "certificate.name_injection",
        "chain.trusted",
        "chain.trusted_then",
        "chain.pinned",
        "chain.issuer_unknown",
        "chain.self_signed",
        "chain.too_complex",
        "chain.algorithm_unknown",
        "chain.expired",
        "chain.not_yet_valid",
        "chain.weak_key",
        "chain.key_too_large",
        "chain.weak_hash",
        "chain.signature",
        "chain.not_a_ca",
        "chain.path_length",
        "chain.name_constraint",
        "chain.unknown_critical",
        "chain.wrong_usage",
        "chain.wrong_key_usage",
        "chain.wrong_issuer_usage",
        "chain.policy",
        "revocation.revoked",
        "revocation.no_source",
        "revocation.not_fetched",
        "revocation.crl_damaged",
        "revocation.crl_signature",
        "revocation.crl_issuer",
        "revocation.crl_unsupported",
        "revocation.crl_scope",
        "revocation.crl_partial",
        "revocation.crl_stale",
        "revocation.crl_future",
        "revocation.crl_after_expiry",
        "revocation.ocsp_damaged",
        "revocation.ocsp_signature",
        "revocation.ocsp_responder",
        "revocation.ocsp_unsupported",
        "revocation.ocsp_refused",
        "revocation.ocsp_unknown",
        "revocation.ocsp_stale",
        "revocation.ocsp_future",
        "revocation.ocsp_after_expiry",
        # 4. the address
        "address.match",
        "address.match_case",
        "address.mismatch",
        "address.subject_only",
        "address.none_in_certificate",
        "address.no_from",
        "address.several_from",
        "address.not_asked",
        # 5. the root
        "root.whole",
        "root.partial",
        # the time
        "time.none",
        "time.proven",
        "time.future",
        "time.untrusted",
        "time.revoked",
        "time.revocation_unknown",
        "token.ok",
        "token.damaged",
        "token.imprint",
        "token.signature",
        "token.usage",
    }
)
"""Every code a fact of a verdict may carry; the web has one sentence for each."""


class ProtocolError(Exception):
    """A message that must not be acted upon. ``code`` is stable, ``detail`` holds no content."""

    def __init__(self, code: ErrorCode, detail: str = "") -> None:
        super().__init__(f"{code.value}: {detail}" if detail else code.value)
        self.code = code
        self.detail = detail


# --------------------------------------------------------------------------- packing


_PACK_BUFFER_BYTES: Final = 4096
"""Grows when needed. The library's own choice, 256 KiB, would cost each agent as much memory."""


def pack(value: Any) -> bytes:
    """Serialise plain values (None, bool, int, float, str, bytes, list, dict) as MessagePack."""
    packed: bytes = msgpack.Packer(use_bin_type=True, buf_size=_PACK_BUFFER_BYTES).pack(value)
    return packed


def unpack(data: bytes | bytearray | memoryview) -> Any:
    """Read what :func:`pack` wrote. Raises ProtocolError (bad_request) on anything else."""
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "not a packed value") from error


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def unb64(text: object) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "not base64") from error


def derive(secret: bytes | bytearray, purpose: str) -> bytes:
    """32 bytes for one named purpose (HKDF-SHA256, RFC 5869)."""
    return HKDF(hashes.SHA256(), 32, None, b"sealpost/1 " + purpose.encode()).derive(secret)


_BYTES_HEADER: Final = bytes.__basicsize__ - 1
"""Where the octets of a ``bytes`` object begin (CPython)."""


def wipe(*secret_values: bytes | bytearray) -> None:
    """Overwrite secrets in place, so that they do not stay in freed memory.

    Only for values the caller alone owns: a ``bytes`` object is overwritten too, which every other
    holder of it would see. Objects of fewer than two octets are shared by CPython and left alone.
    """
    for value in secret_values:
        if len(value) < 2:
            continue
        if isinstance(value, bytearray):
            value[:] = bytes(len(value))
        else:
            ctypes.memset(id(value) + _BYTES_HEADER, 0, len(value))


# --------------------------------------------------------------------------- sealing keys

_MLKEM_PUBLIC_BYTES: Final = 1184
_PUBLIC_BYTES: Final = _MLKEM_PUBLIC_BYTES + 32
_MLKEM_SEED_BYTES: Final = 64
SEED_BYTES: Final = _MLKEM_SEED_BYTES + 32
"""Octets that a sealing key can be made from: FIPS 203's d and z, and an X25519 private key."""


@dataclass(frozen=True)
class SealingKey:
    """A key pair that lives in one process only: per node start and per agent start."""

    private: MLKEM768X25519PrivateKey = field(repr=False)
    public: bytes
    """ML-KEM-768 encapsulation key (1,184 bytes) followed by the X25519 public key (32 bytes)."""

    @classmethod
    def generate(cls) -> SealingKey:
        return cls._of(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes | bytearray) -> SealingKey:
        """The key of :data:`SEED_BYTES` random octets, always the same one."""
        view = memoryview(seed)
        return cls._of(
            MLKEM768PrivateKey.from_seed_bytes(view[:_MLKEM_SEED_BYTES]),
            X25519PrivateKey.from_private_bytes(view[_MLKEM_SEED_BYTES:]),
        )

    @classmethod
    def _of(cls, mlkem_key: MLKEM768PrivateKey, x25519_key: X25519PrivateKey) -> SealingKey:
        public = (
            mlkem_key.public_key().public_bytes_raw() + x25519_key.public_key().public_bytes_raw()
        )
        return cls(MLKEM768X25519PrivateKey(mlkem_key, x25519_key), public)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Open what :func:`seal` made for this key and context; ProtocolError (forged) if not."""
        try:
            return SUITE.decrypt(sealed, self.private, info=context)
        except Exception as error:  # one answer for every way this can fail
            raise ProtocolError(ErrorCode.FORGED, "cannot be opened") from error


@lru_cache(maxsize=256)
def _recipient(public: bytes) -> MLKEM768X25519PublicKey:
    """Kept, because reading a key costs a third of sealing to it."""
    if len(public) != _PUBLIC_BYTES:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "not a sealing key")
    return MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_BYTES]),
        X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_BYTES:]),
    )


def seal(plaintext: bytes, public: bytes, context: bytes) -> bytes:
    """HPKE single-shot seal (RFC 9180 §6.1), ``context`` bound as HPKE info."""
    return SUITE.encrypt(plaintext, _recipient(public), info=context)


# --------------------------------------------------------------------------- deployment keys


def caller_key(deployment_secret: bytes) -> Ed25519PrivateKey:
    """The key with which web and worker sign requests; agents hold its public half only."""
    return Ed25519PrivateKey.from_private_bytes(derive(deployment_secret, "caller"))


def control_key(deployment_secret: bytes) -> bytes:
    """The key of the MAC over answers to ``lock`` and ``status``."""
    return derive(deployment_secret, "control")


def node_identity(deployment_secret: bytes) -> Ed25519PrivateKey:
    """The key with which a supervisor signs its descriptor, once, before it forks anything."""
    return Ed25519PrivateKey.from_private_bytes(derive(deployment_secret, "node"))


# --------------------------------------------------------------------------- descriptors


@dataclass(frozen=True)
class NodeDescriptor:
    """Who an agent node is: to its ``public`` key passwords are sealed, hence the signature.

    Written to the database by the worker; a writer of broker or database cannot make one.
    """

    node: str
    start: str
    public: bytes
    not_after: int
    """Milliseconds since the epoch; the supervisor retires before it."""
    services: tuple[tuple[str, bytes], ...] = ()
    """Name and public sealing key of every service agent of this node."""
    signature: bytes = b""

    def _signed(self) -> bytes:
        return b"sealpost/1 node\0" + pack(
            [self.node, self.start, self.public, self.not_after, self.services]
        )

    def service(self, name: str) -> bytes:
        """Public sealing key of one service agent; ProtocolError (unknown_operation) if none."""
        for known, public in self.services:
            if known == name:
                return public
        raise ProtocolError(ErrorCode.UNKNOWN_OPERATION, "no such service on this node")

    def sign(self, identity: Ed25519PrivateKey) -> NodeDescriptor:
        return replace(self, signature=identity.sign(self._signed()))

    def to_wire(self) -> dict[str, Any]:
        return {
            "v": VERSION,
            "node": self.node,
            "start": self.start,
            "public": b64(self.public),
            "not_after": self.not_after,
            "services": {name: b64(public) for name, public in self.services},
            "signature": b64(self.signature),
        }

    @classmethod
    def from_wire(
        cls, untrusted_wire: dict[str, Any], identity: Ed25519PublicKey, *, now: int
    ) -> NodeDescriptor:
        """Raises ProtocolError: unsupported_version, bad_request, forged or expired."""
        if untrusted_wire.get("v") != VERSION:
            raise ProtocolError(ErrorCode.UNSUPPORTED_VERSION)
        try:
            untrusted = cls(
                node=str(untrusted_wire["node"]),
                start=str(untrusted_wire["start"]),
                public=unb64(untrusted_wire["public"]),
                not_after=int(untrusted_wire["not_after"]),
                services=tuple(
                    sorted((str(k), unb64(v)) for k, v in untrusted_wire["services"].items())
                ),
                signature=unb64(untrusted_wire["signature"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProtocolError(ErrorCode.BAD_REQUEST, "node descriptor") from error
        try:
            identity.verify(untrusted.signature, untrusted._signed())
        except InvalidSignature as error:
            raise ProtocolError(ErrorCode.FORGED, "node descriptor") from error
        if now >= untrusted.not_after:
            raise ProtocolError(ErrorCode.EXPIRED, "node descriptor")
        return untrusted


@dataclass(frozen=True)
class AgentDescriptor:
    """Where a session's requests go. The MAC is keyed with the session secret C, which only the
    agent and the browser's cookie hold, so that a database writer cannot divert plaintext."""

    node: str
    agent: str
    public: bytes
    user: str
    session: str
    mac: bytes = b""

    def _authenticated(self) -> bytes:
        return b"sealpost/1 agent\0" + pack(
            [self.node, self.agent, self.public, self.user, self.session]
        )

    def authenticate(self, session_secret: bytes) -> AgentDescriptor:
        key = derive(session_secret, "agent descriptor")
        return replace(self, mac=hmac.digest(key, self._authenticated(), "sha256"))

    def check(self, session_secret: bytes) -> None:
        """Raises ProtocolError (forged) unless made by a holder of the session secret."""
        key = derive(session_secret, "agent descriptor")
        if not hmac.compare_digest(self.mac, hmac.digest(key, self._authenticated(), "sha256")):
            raise ProtocolError(ErrorCode.FORGED, "agent descriptor")

    def to_bytes(self) -> bytes:
        return pack([self.node, self.agent, self.public, self.user, self.session, self.mac])

    @classmethod
    def from_bytes(cls, data: bytes) -> AgentDescriptor:
        fields = unpack(data)
        if not isinstance(fields, list) or len(fields) != 6:
            raise ProtocolError(ErrorCode.BAD_REQUEST, "agent descriptor")
        return cls(*fields)


# --------------------------------------------------------------------------- envelopes


@dataclass(frozen=True)
class Envelope:
    """A request as relay and supervisor see it."""

    op: str
    user: str
    """Opaque user id (UUID hex), or ``service:<name>``."""
    session: str
    """Session id (UUID hex), or empty."""
    task: str
    """Celery task id."""
    to: str
    """Start id of the node (opener operations), of the agent, or the service name."""
    nonce: bytes
    expires: int
    """Milliseconds since the epoch."""
    background: bool = False
    """Made by a page that polls: does not count as activity of the user."""
    body: bytes = field(default=b"", repr=False)
    digest: bytes = field(default=b"", repr=False)
    """SHA-256 of the sealed body; proven by ``signature``, compared by who reads the body."""
    signature: bytes = field(default=b"", repr=False)
    proof: bytes = field(default=b"", repr=False)
    spool: str = ""
    """Name of the spool blob that holds the body; then ``body`` is empty on the wire."""

    def context(self) -> bytes:
        """Associated data: every routing fact, in one unambiguous encoding."""
        return b"sealpost/1 request\0" + pack(
            [
                VERSION,
                self.op,
                self.user,
                self.session,
                self.task,
                self.to,
                self.nonce,
                self.expires,
                self.background,
            ]
        )

    def _authenticated(self) -> bytes:
        return self.context() + self.digest

    @property
    def created(self) -> int:
        """When the caller made it, in milliseconds since the epoch."""
        return self.expires - REQUEST_LIFETIME_MS

    def sign(self, key: Ed25519PrivateKey) -> Envelope:
        return replace(self, signature=key.sign(self._authenticated()))

    def prove(self, session_secret: bytes) -> Envelope:
        key = derive(session_secret, "request")
        return replace(self, proof=hmac.digest(key, self._authenticated(), "sha256"))

    def check_caller(self, caller: Ed25519PublicKey, *, now: int) -> None:
        """Raises ProtocolError (expired, forged). Replay is the receiver's to check.

        A caller's clock may be up to one lifetime ahead of the receiver's.
        """
        if not now <= self.expires <= now + 2 * REQUEST_LIFETIME_MS:
            raise ProtocolError(ErrorCode.EXPIRED)
        try:
            caller.verify(self.signature, self._authenticated())
        except InvalidSignature as error:
            raise ProtocolError(ErrorCode.FORGED, "caller") from error

    def check_body(self) -> None:
        """Raises ProtocolError (forged) unless the body is the one that was signed."""
        if not hmac.compare_digest(self.digest, hashlib.sha256(self.body).digest()):
            raise ProtocolError(ErrorCode.FORGED, "body")

    def check_session(self, request_key: bytes) -> None:
        """Raises ProtocolError (wrong_session) unless the sender holds the session secret.

        ``request_key`` is ``derive(session_secret, "request")``, all that an agent keeps of it.
        """
        key = request_key
        if not hmac.compare_digest(self.proof, hmac.digest(key, self._authenticated(), "sha256")):
            raise ProtocolError(ErrorCode.WRONG_SESSION)

    def to_wire(self) -> dict[str, Any]:
        """JSON for the broker: opaque ids, sealed bytes in base64 or a spool name."""
        return {
            "v": VERSION,
            "op": self.op,
            "user": self.user,
            "session": self.session,
            "task": self.task,
            "to": self.to,
            "nonce": b64(self.nonce),
            "expires": self.expires,
            "background": self.background,
            "digest": b64(self.digest),
            "signature": b64(self.signature),
            "proof": b64(self.proof),
            "body": "" if self.spool else b64(self.body),
            "spool": self.spool,
        }

    @classmethod
    def from_wire(cls, untrusted_wire: dict[str, Any]) -> Envelope:
        """Shape only; nothing is proven yet. Raises ProtocolError."""
        if not isinstance(untrusted_wire, dict) or untrusted_wire.get("v") != VERSION:
            raise ProtocolError(ErrorCode.UNSUPPORTED_VERSION)
        try:
            return cls(
                op=str(untrusted_wire["op"]),
                user=str(untrusted_wire["user"]),
                session=str(untrusted_wire["session"]),
                task=str(untrusted_wire["task"]),
                to=str(untrusted_wire["to"]),
                nonce=unb64(untrusted_wire["nonce"]),
                expires=int(untrusted_wire["expires"]),
                background=untrusted_wire["background"] is True,
                digest=unb64(untrusted_wire["digest"]),
                signature=unb64(untrusted_wire["signature"]),
                proof=unb64(untrusted_wire["proof"]),
                body=unb64(untrusted_wire["body"]),
                spool=str(untrusted_wire["spool"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError(ErrorCode.BAD_REQUEST, "envelope") from error


def make_request(
    *,
    op: str,
    user: str,
    session: str,
    task: str,
    to: str,
    recipient: bytes,
    payload: dict[str, Any],
    caller: Ed25519PrivateKey,
    now: int,
    session_secret: bytes | None = None,
    background: bool = False,
) -> tuple[Envelope, ReplyKey]:
    """Seal ``payload`` to ``recipient``. Returns the envelope and the key that opens its reply."""
    reply_key = ReplyKey.generate()
    bare = Envelope(
        op=op,
        user=user,
        session=session,
        task=task,
        to=to,
        nonce=secrets.token_bytes(16),
        expires=now + REQUEST_LIFETIME_MS,
        background=background,
    )
    content = pack({"payload": payload, "reply_key": reply_key.octets})
    try:
        body = seal(content, recipient, bare.context())
    finally:
        if op in OPENER_OPERATIONS:
            wipe(content)  # it holds a password or the session secret
    if len(body) > BODY_LIMIT:
        raise ProtocolError(ErrorCode.TOO_LARGE)
    envelope = replace(bare, body=body, digest=hashlib.sha256(body).digest())
    if session_secret is not None:
        envelope = envelope.prove(session_secret)
    return envelope.sign(caller), reply_key


def make_control(
    *, op: str, user: str, session: str, task: str, to: str, caller: Ed25519PrivateKey, now: int
) -> Envelope:
    """A signed request without a body, which the supervisor itself answers."""
    bare = Envelope(
        op=op,
        user=user,
        session=session,
        task=task,
        to=to,
        nonce=secrets.token_bytes(16),
        expires=now + REQUEST_LIFETIME_MS,
        digest=hashlib.sha256(b"").digest(),
    )
    return bare.sign(caller)


def _answer_mac(envelope: Envelope, key: bytes, answer: dict[str, Any]) -> bytes:
    return hmac.digest(key, b"sealpost/1 answer\0" + envelope.context() + pack(answer), "sha256")


def confirm_control(envelope: Envelope, key: bytes, answer: dict[str, Any]) -> dict[str, Any]:
    """The supervisor's answer to a control request as JSON, with its MAC."""
    return {"control": b64(pack(answer)), "mac": b64(_answer_mac(envelope, key, answer))}


def read_control(envelope: Envelope, key: bytes, untrusted_wire: dict[str, Any]) -> dict[str, Any]:
    """Raises ProtocolError (forged) unless a supervisor of ours answered this very request."""
    answer = unpack(unb64(untrusted_wire.get("control")))
    if not isinstance(answer, dict):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "answer")
    expected = _answer_mac(envelope, key, answer)
    if not hmac.compare_digest(unb64(untrusted_wire.get("mac")), expected):
        raise ProtocolError(ErrorCode.FORGED, "answer")
    return answer


def open_request(envelope: Envelope, key: SealingKey) -> tuple[dict[str, Any], ReplyKey]:
    """The payload and the key to seal the reply under. Raises ProtocolError."""
    opened = key.open(envelope.body, envelope.context())
    try:
        content = unpack(opened)
    finally:
        if envelope.op in OPENER_OPERATIONS:
            wipe(opened)  # it holds a password or the session secret
    if not isinstance(content, dict) or not isinstance(content.get("payload"), dict):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "request")
    return content["payload"], ReplyKey.of(content.get("reply_key"))


def _reply_context(envelope: Envelope) -> bytes:
    return b"sealpost/1 reply\0" + envelope.context()


@dataclass(frozen=True)
class ReplyKey:
    """The key of one reply, made by the caller and known to nobody but who opened its request.

    RFC 9458 §4.4 answers to an encapsulated request in the same way, under a symmetric key: a
    second key exchange would protect nothing that the request does not show already.
    """

    octets: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> ReplyKey:
        return cls(secrets.token_bytes(_REPLY_KEY_BYTES))

    @classmethod
    def of(cls, untrusted: object) -> ReplyKey:
        """Raises ProtocolError (bad_request)."""
        if not isinstance(untrusted, bytes) or len(untrusted) != _REPLY_KEY_BYTES:
            raise ProtocolError(ErrorCode.BAD_REQUEST, "reply key")
        return cls(untrusted)

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        nonce = secrets.token_bytes(_REPLY_NONCE_BYTES)
        return nonce + AESGCM(self.octets).encrypt(nonce, plaintext, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Raises ProtocolError (forged)."""
        try:
            return AESGCM(self.octets).decrypt(
                sealed[:_REPLY_NONCE_BYTES], sealed[_REPLY_NONCE_BYTES:], context
            )
        except (InvalidTag, ValueError) as error:
            raise ProtocolError(ErrorCode.FORGED, "cannot be opened") from error


def seal_result(envelope: Envelope, reply_key: ReplyKey, result: dict[str, Any]) -> bytes:
    return reply_key.seal(pack({"ok": True, "result": result}), _reply_context(envelope))


def seal_error(envelope: Envelope, reply_key: ReplyKey, code: ErrorCode, detail: str = "") -> bytes:
    return reply_key.seal(
        pack({"ok": False, "code": code.value, "detail": detail}), _reply_context(envelope)
    )


def open_reply(envelope: Envelope, reply_key: ReplyKey, sealed: bytes) -> dict[str, Any]:
    """The result, or raises ProtocolError with the agent's own code."""
    content = unpack(reply_key.open(sealed, _reply_context(envelope)))
    if not isinstance(content, dict):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "reply")
    if content.get("ok") is True and isinstance(content.get("result"), dict):
        result: dict[str, Any] = content["result"]
        return result
    try:
        code = ErrorCode(str(content.get("code")))
    except ValueError:
        code = ErrorCode.INTERNAL
    raise ProtocolError(code, str(content.get("detail", "")))


# --------------------------------------------------------------------------- spool

_SPOOL_NAME: Final = re.compile(r"[0-9a-f]{64}")


class FolderSpool:
    """Sealed blobs on their short way between processes, as files in one folder.

    Names are random, so that knowing one is needed to read it; contents are sealed anyway.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, name: str) -> Path:
        if not _SPOOL_NAME.fullmatch(name):
            raise ProtocolError(ErrorCode.BAD_REQUEST, "spool name")
        return self.folder / name[:2] / name

    def put(self, sealed: bytes) -> str:
        name = secrets.token_hex(32)
        path = self._path(name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(sealed)
        partial.rename(path)
        return name

    def get(self, name: str) -> bytes:
        """Raises ProtocolError (expired) when the blob was swept or never was."""
        try:
            with self._path(name).open("rb") as file:
                data = file.read(BODY_LIMIT + 1)
        except FileNotFoundError as error:
            raise ProtocolError(ErrorCode.EXPIRED, "spool blob") from error
        if len(data) > BODY_LIMIT:
            raise ProtocolError(ErrorCode.TOO_LARGE)
        return data

    def delete(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def sweep(self, *, older_than_s: float) -> int:
        """Delete blobs older than ``older_than_s`` seconds; returns how many."""
        limit = time.time() - older_than_s
        swept = 0
        for path in self.folder.glob("??/*"):
            try:
                if path.stat().st_mtime < limit:
                    path.unlink()
                    swept += 1
            except FileNotFoundError:  # another sweeper was faster
                continue
        return swept
