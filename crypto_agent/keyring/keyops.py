"""The keys of one open vault, and the only lines that use a private key.

A :class:`Keyring` is what operations get as context. It hands out what keys can do (sign a digest,
decrypt a key transport), never a key.
"""

from __future__ import annotations

from crypto_agent.keyring.vault import Vault


class Keyring:
    """Everything an operation may do with one user's keys."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault

    @property
    def user(self) -> str:
        return self.vault.user

    def reload(self) -> None:
        """Look at the vault's record anew, after it changed."""
