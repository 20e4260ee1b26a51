"""What an operation may ask of the keys of one open vault.

Implemented by :class:`crypto_agent.keyring.keyops.Keyring`. An operation never sees a private key:
it gets objects that can sign or unwrap, and two symmetric operations under keys that the vault
derives per purpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from crypto_agent.errors import ErrorCode, ProtocolError

if TYPE_CHECKING:
    from crypto_agent.cms.keys import DecryptionKey, SigningKey

HOLD: Final = "hold"
"""Mail waiting for its release."""
RELEASE: Final = "release"
"""Mail signed at release, waiting for its timestamp."""
DRAFT: Final = "draft"
"""The part of a draft that proves that this vault wrote it."""
FIELDS: Final = "fields"
"""Cached subjects, snippets and verdicts of list rows."""


class KeyAccess(Protocol):
    """The keys of one user (or of the postmaster), as operations may use them."""

    def signing_key(self) -> SigningKey:
        """The key new mail is signed with, with its certificate and chain.

        Raises ProtocolError (no_matching_key) while no signing certificate is installed.
        """

    def decryption_keys(self) -> Sequence[DecryptionKey]:
        """Every encryption key the user ever had that has a certificate, newest first."""

    def own_certificates(self) -> Sequence[bytes]:
        """DER of the certificate that our own copies are encrypted to: the newest usable one.

        More than one only while the user has several current encryption keys.
        """

    def addresses(self) -> Sequence[str]:
        """Addresses that the signing certificate names."""

    def seal(self, purpose: str, data: bytes) -> bytes:
        """AEAD under a key derived from the vault key for ``purpose`` (a constant above)."""

    def unseal(self, purpose: str, data: bytes) -> bytes:
        """Open what :meth:`seal` made for the same purpose. Raises ProtocolError (forged)."""


def require(keys: KeyAccess | None) -> KeyAccess:
    """The keys, for operations that make no sense without. Raises ProtocolError (not_unlocked)."""
    if keys is None:
        raise ProtocolError(ErrorCode.NOT_UNLOCKED)
    return keys
