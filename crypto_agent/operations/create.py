"""``create``: make a vault with its keys, the recovery code and the certificate requests.

Payload ``{"password", "session_secret", "addresses": [str], "key_algorithm"}``; result ``{"record",
"resume", "recovery_code", "requests": [{"purpose", "csr"}], "uses"}``.
"""

from __future__ import annotations

from crypto_agent.errors import ErrorCode, ProtocolError
from crypto_agent.keyring import ways
from crypto_agent.keyring.generate import request as make_csr
from crypto_agent.keyring.uses import use_of
from crypto_agent.keyring.vault import found_vault
from crypto_agent.operations.openers import Opened, Request, begin_session
from crypto_agent.protocol import wipe

ADDRESSES_LIMIT = 50


def create(request: Request) -> Opened:
    """Raises ProtocolError (bad_request)."""
    addresses = request.payload.get("addresses")
    if (
        not isinstance(addresses, list)
        or not 1 <= len(addresses) <= ADDRESSES_LIMIT
        or not all(isinstance(address, str) for address in addresses)
    ):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "addresses")
    password = request.secret("password")
    vault = found_vault(request.user)
    uses = []
    requests = []
    for sealed, private in vault.add_keys(
        algorithm=str(request.payload.get("key_algorithm")), now=request.now
    ):
        csr = make_csr(private, addresses)
        requests.append({"purpose": sealed.purpose, "csr": csr})
        uses.append(use_of(sealed, "create", csr))
    vault.wrap_for(ways.PASSWORD, password)
    wipe(password)
    code = ways.new_recovery_code()
    vault.wrap_for(ways.RECOVERY, code)
    result = {
        "record": vault.record.to_bytes(),
        "recovery_code": code,
        "requests": requests,
        "uses": uses,
    }
    return begin_session(request, vault, result)
