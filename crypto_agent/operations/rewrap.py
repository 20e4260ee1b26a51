"""``rewrap``: change the password, and on wish the recovery code. Starts no session.

Payload ``{"record", "way", "secret", "new_password", "new_recovery": bool}``; result ``{"record"}``
and, when asked for, ``{"recovery_code"}``.
"""

from __future__ import annotations

from typing import Any

from crypto_agent.keyring import ways
from crypto_agent.keyring.vault import open_vault
from crypto_agent.operations.openers import Opened, Request
from crypto_agent.protocol import wipe


def rewrap(request: Request) -> Opened:
    """Raises ProtocolError: wrong_password, vault_damaged, bad_request."""
    secret = request.secret("secret")
    new_password = request.secret("new_password")
    try:
        vault = open_vault(
            request.payload.get("record"),
            user=request.user,
            way=str(request.payload.get("way")),
            secret=secret,
        )
        vault.wrap_for(ways.PASSWORD, new_password)
    finally:
        wipe(secret, new_password)
    result: dict[str, Any] = {}
    if request.payload.get("new_recovery") is True:
        code = ways.new_recovery_code()
        vault.wrap_for(ways.RECOVERY, code)
        result["recovery_code"] = code
    result["record"] = vault.record.to_bytes()
    return Opened(result, vault, None, None)
