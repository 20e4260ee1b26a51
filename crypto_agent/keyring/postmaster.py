"""The system mailbox's keys as a keyring, from the state that the authority made for it."""

from __future__ import annotations

from typing import Any, Final

from crypto_agent.errors import ErrorCode, ProtocolError
from crypto_agent.keyring.generate import load_own_pkcs8
from crypto_agent.keyring.keyops import Keyring
from crypto_agent.keyring.vault import OwnCertificate, found_vault

POSTMASTER_USER: Final = "service:postmaster"


def postmaster_keyring(state: dict[str, Any], vault_key: bytes) -> Keyring:
    """A keyring over ``{"keys": [{"purpose", "key": PKCS#8, "certificate", "chain"}]}``.

    ``vault_key`` is derived from the service key, so that what was held before a restart opens
    after it. An empty state gives a keyring without keys. Raises ProtocolError (vault_damaged).
    """
    vault = found_vault(POSTMASTER_USER, vault_key=bytearray(vault_key))
    try:
        for item in state.get("keys", []):
            private = load_own_pkcs8(item["key"])
            sealed = vault.add_key(private, purpose=item["purpose"], algorithm="", now=0)
            own = OwnCertificate(sealed.id, item["certificate"], tuple(item["chain"]))
            vault.add_certificates([own])
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(ErrorCode.VAULT_DAMAGED, "postmaster state") from error
    return Keyring(vault)
