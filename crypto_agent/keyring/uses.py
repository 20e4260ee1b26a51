"""A use of a key as the audit sees it: which key, for what, over which octets."""

from __future__ import annotations

import hashlib

from crypto_agent.keyring.vault import SealedKey


def use_of(key: SealedKey, operation: str, subject: bytes) -> dict[str, str]:
    """``{"key": hex, "operation", "digest": SHA-256 hex of subject}``."""
    return {
        "key": key.id.hex(),
        "operation": operation,
        "digest": hashlib.sha256(subject).hexdigest(),
    }
