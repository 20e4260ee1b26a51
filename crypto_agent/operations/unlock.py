"""``unlock``: open the vault by one way in and start a session.

Payload ``{"record", "way": "password" | "recovery", "secret", "session_secret"}``; result
``{"resume", "descriptor"}``.
"""

from __future__ import annotations

from crypto_agent.keyring.vault import open_vault
from crypto_agent.operations.openers import Opened, Request, begin_session
from crypto_agent.protocol import wipe


def unlock(request: Request) -> Opened:
    """Raises ProtocolError: wrong_password, vault_damaged, bad_request."""
    secret = request.secret("secret")
    try:
        vault = open_vault(
            request.payload.get("record"),
            user=request.user,
            way=str(request.payload.get("way")),
            secret=secret,
        )
    finally:
        wipe(secret)
    return begin_session(request, vault, {})
