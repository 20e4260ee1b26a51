"""``install``: put certificates beside the vault's keys.

Payload ``{"certificates": [{"der", "chain": [der]}], "record"}``; result ``{"record"}``. The given
``record`` is the vault as the database has it: a password changed meanwhile by another process is
kept.
"""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crypto_agent.errors import ErrorCode, ProtocolError
from crypto_agent.keyring.keyops import Keyring
from crypto_agent.keyring.vault import OwnCertificate

CERTIFICATES_LIMIT = 64
CERTIFICATE_BYTES_LIMIT = 64 * 1024


def _own(keyring: Keyring, item: Any) -> OwnCertificate:
    if not isinstance(item, dict):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "certificate")
    der, chain = item.get("der"), item.get("chain")
    if not isinstance(der, bytes) or not isinstance(chain, list) or len(chain) > 8:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "certificate")
    if not all(isinstance(c, bytes) and len(c) <= CERTIFICATE_BYTES_LIMIT for c in (der, *chain)):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "certificate")
    try:
        public = x509.load_der_x509_certificate(der).public_key()
        spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except Exception as error:  # any way in which a certificate can be broken
        raise ProtocolError(ErrorCode.CERTIFICATE_REFUSED, "unreadable") from error
    for key in keyring.vault.record.keys:
        if key.spki == spki:
            return OwnCertificate(key.id, der, tuple(chain))
    raise ProtocolError(ErrorCode.CERTIFICATE_REFUSED, "not for a key of this vault")


def install(keyring: Keyring, payload: dict[str, Any]) -> dict[str, Any]:
    """Raises ProtocolError (bad_request, certificate_refused): none is installed then."""
    items = payload.get("certificates")
    if not isinstance(items, list) or not 1 <= len(items) <= CERTIFICATES_LIMIT:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "certificates")
    own = [_own(keyring, item) for item in items]
    if payload.get("record") is not None:
        keyring.vault.adopt(payload["record"])
    keyring.vault.add_certificates(own)
    keyring.reload()
    return {"record": keyring.vault.record.to_bytes()}
