"""``resume``: open the vault again for a session that lives, without asking the user.

Payload ``{"record", "resume", "session_secret"}``; result ``{"descriptor"}``.
"""

from __future__ import annotations

from crypto_agent.keyring.resume import check_secret, open_resume
from crypto_agent.keyring.sessions import Session
from crypto_agent.keyring.vault import Record, Vault
from crypto_agent.operations.openers import Opened, Request
from crypto_agent.protocol import derive


def resume(request: Request) -> Opened:
    """Raises ProtocolError: wrong_session, expired, vault_damaged, bad_request."""
    session_secret = check_secret(request.payload.get("session_secret"))
    record = Record.from_bytes(request.payload.get("record"))
    resumed = open_resume(
        request.payload.get("resume"),
        user=request.user,
        session=request.session,
        session_secret=session_secret,
        now=request.now,
    )
    vault = Vault(record, resumed.vault_key, user=request.user)
    session = Session(
        id=request.session,
        request_key=derive(session_secret, "request"),
        expires=resumed.expires,
        used=request.now,
    )
    return Opened({}, vault, session, session_secret)
