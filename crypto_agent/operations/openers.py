"""What create, unlock, resume and rewrap have in common: they open a vault in a fresh process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from crypto_agent.errors import ErrorCode, ProtocolError
from crypto_agent.keyring.resume import check_secret, seal_resume
from crypto_agent.keyring.sessions import Session
from crypto_agent.keyring.vault import Vault
from crypto_agent.protocol import derive


@dataclass(frozen=True)
class Request:
    """An opened request of this kind: who asks, for which session, when, within which limits."""

    user: str
    session: str
    now: int
    absolute_ms: int
    payload: dict[str, Any]

    def secret(self, name: str) -> bytes:
        """A non-empty secret of the payload, for the caller to wipe."""
        value = self.payload.get(name)
        if not isinstance(value, bytes) or not value:
            raise ProtocolError(ErrorCode.BAD_REQUEST, name)
        return value


@dataclass(frozen=True)
class Opened:
    """What came of it. With a session the process becomes (or joins) the user's agent."""

    result: dict[str, Any]
    """What is a ``bytearray`` in it is a secret, overwritten once the reply is sealed."""
    vault: Vault
    session: Session | None
    session_secret: bytes | None


def begin_session(request: Request, vault: Vault, result: dict[str, Any]) -> Opened:
    """Start the session named in the envelope: the caller made its secret C, we return the blob."""
    if not request.session:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "session")
    session_secret = check_secret(request.payload.get("session_secret"))
    expires = request.now + request.absolute_ms
    vault_key = vault.copy_key()
    try:
        blob = seal_resume(
            vault_key,
            user=request.user,
            session=request.session,
            session_secret=session_secret,
            expires=expires,
        )
    finally:
        vault_key[:] = bytes(len(vault_key))
    session = Session(
        id=request.session,
        request_key=derive(session_secret, "request"),
        expires=expires,
        used=request.now,
    )
    return Opened({**result, "resume": blob}, vault, session, session_secret)
