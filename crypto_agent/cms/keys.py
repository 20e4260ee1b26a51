"""What the engine needs of private keys. It never sees one: others implement these protocols.

Scheme names say the whole operation, so that an implementer has nothing to choose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

RSA_PKCS1V15_SHA256: Final = "rsa-pkcs1v15-sha256"
RSA_PSS_SHA256: Final = "rsa-pss-sha256"
"""MGF1 with SHA-256, salt of 32 octets (RFC 4056 §3; CA/B S/MIME BR §7.1.3.2.1)."""
ECDSA_SHA256: Final = "ecdsa-sha256"
ECDSA_SHA384: Final = "ecdsa-sha384"
ECDSA_SHA512: Final = "ecdsa-sha512"
"""ECDSA signatures are the DER SEQUENCE of r and s (RFC 5753 §7.2 / X9.62)."""
ED25519: Final = "ed25519"
"""Pure Ed25519 (RFC 8032); with signed attributes whose digest is SHA-512 (RFC 8419 §3.1)."""

SIGNING_SCHEMES: Final = (
    RSA_PKCS1V15_SHA256,
    RSA_PSS_SHA256,
    ECDSA_SHA256,
    ECDSA_SHA384,
    ECDSA_SHA512,
    ED25519,
)


@dataclass(frozen=True)
class OaepParameters:
    """Parameters of RSAES-OAEP (RFC 8017 §7.1) as a message states them.

    ``hash`` and ``mgf_hash`` are hashlib names (``"sha1"``, ``"sha256"``, ...) and may differ;
    ``label`` is usually empty.
    """

    hash: str
    mgf_hash: str
    label: bytes = b""


@runtime_checkable
class SigningKey(Protocol):
    """A private key that signs, with its certificate.

    ``key_id`` is hexadecimal and opaque to the engine; ``certificate`` is DER; ``chain`` holds the
    intermediates, nearest first. A root in it is not put into messages.
    """

    @property
    def key_id(self) -> str: ...

    @property
    def certificate(self) -> bytes: ...

    @property
    def chain(self) -> tuple[bytes, ...]: ...

    def sign(self, data: bytes, *, scheme: str) -> bytes:
        """Sign ``data`` itself (hashing included). ``scheme`` is one of ``SIGNING_SCHEMES``."""
        ...


@runtime_checkable
class DecryptionKey(Protocol):
    """A private key that decrypts, with the certificate by which senders know it.

    Several certificates of one key are several values of this protocol.
    """

    @property
    def key_id(self) -> str: ...

    @property
    def certificate(self) -> bytes: ...

    def rsa_decrypt(self, encrypted: bytes, *, oaep: OaepParameters | None) -> bytes:
        """RSAES-PKCS1-v1_5 with implicit rejection when ``oaep`` is None, else RSAES-OAEP.

        May raise any exception; the engine answers all of them alike.
        """
        ...

    def agree(self, peer_spki: bytes) -> bytes:
        """The raw shared secret with a public key (DER SubjectPublicKeyInfo): ECDH x-coordinate
        or X25519 output. May raise any exception; the engine answers all of them alike.
        """
        ...


@runtime_checkable
class KemKey(Protocol):
    """An optional further ability of a :class:`DecryptionKey`: ML-KEM (RFC 9936)."""

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """The 32-octet shared secret. May raise any exception, like the other two."""
        ...
