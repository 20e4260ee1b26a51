"""Facts: what was found about one question, with a reason code that the web turns into a sentence.

``passed`` means proven, ``failed`` means proven wrong or not acceptable, ``unknown`` means that it
cannot be told from what we have. Every code of this package that a fact can carry is listed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Result = Literal["passed", "failed", "unknown"]

# --- the digest: are these the octets that were signed?
DIGEST_OK: Final = "digest.ok"
DIGEST_MISMATCH: Final = "digest.mismatch"
"""The content was changed after it was signed."""
DIGEST_TWO_CONTENTS: Final = "digest.two_contents"
"""A detached signature that carries a content of its own (eContent confusion)."""
DIGEST_NO_CONTENT: Final = "digest.no_content"
"""There is nothing the signature could be about."""
DIGEST_UNKNOWN: Final = "digest.algorithm_unknown"
"""params: algorithm (dotted OID)."""
DIGEST_WEAK: Final = "digest.algorithm_weak"
"""The octets match, but by SHA-1 or MD5. params: algorithm."""

# --- the signature: did the signer's key sign the attributes?
SIGNATURE_OK: Final = "signature.ok"
SIGNATURE_INVALID: Final = "signature.invalid"
SIGNATURE_NO_CERTIFICATE: Final = "signature.no_certificate"
"""The message does not carry the signer's certificate."""
SIGNATURE_CERTIFICATE_DAMAGED: Final = "signature.certificate_damaged"
SIGNATURE_UNKNOWN: Final = "signature.algorithm_unknown"
"""params: algorithm (dotted OID)."""
SIGNATURE_WEAK_DIGEST: Final = "signature.digest_weak"
"""Valid, but over SHA-1 or MD5. params: algorithm."""
SIGNATURE_WEAK_KEY: Final = "signature.key_weak"
"""Valid, but by RSA below 2048 bits. params: bits."""
SIGNATURE_KEY_REFUSED: Final = "signature.key_refused"
"""A key that costs too much to check (RSA above 16384 bits). params: bits."""
SIGNATURE_KEY_MISMATCH: Final = "signature.key_mismatch"
"""The signature names an algorithm that the certificate's key is not for."""
SIGNATURE_NOT_DER: Final = "signature.attributes_not_der"
"""Signed attributes not in the one form in which they are hashed (RFC 5652 §5.4)."""
SIGNATURE_ATTRIBUTES: Final = "signature.attributes"
"""An attribute missing, twice, with several values or unreadable. params: attribute."""
SIGNATURE_CONTENT_TYPE: Final = "signature.content_type"
"""The signed content type is not that of the content."""
SIGNATURE_ALGORITHM_PROTECTION: Final = "signature.algorithm_protection"
"""The algorithms named are not those that the signer signed (RFC 6211)."""
SIGNATURE_SIGNING_CERTIFICATE: Final = "signature.signing_certificate"
"""The certificate is not the one that the signer signed with (RFC 5035)."""
SIGNATURE_DIGEST_RULE: Final = "signature.digest_rule"
"""Digest and signature algorithm do not go together (RFC 8419 §3, RFC 8933, RFC 4056 §3)."""

# --- timestamp tokens
TOKEN_OK: Final = "token.ok"  # noqa: S105 - a reason code
TOKEN_DAMAGED: Final = "token.damaged"  # noqa: S105
TOKEN_IMPRINT: Final = "token.imprint"  # noqa: S105
"""The token is about other octets."""
TOKEN_SIGNATURE: Final = "token.signature"  # noqa: S105
"""The token's own signature or digest does not hold. params: reason (code of that fact)."""
TOKEN_USAGE: Final = "token.usage"  # noqa: S105
"""The signer's certificate is not for timestamps alone (RFC 3161 §2.3)."""

CODES: Final[frozenset[str]] = frozenset(
    value
    for name, value in list(globals().items())
    if name.startswith(("DIGEST_", "SIGNATURE_", "TOKEN_")) and isinstance(value, str)
)


@dataclass(frozen=True)
class Fact:
    """One answer. ``params`` holds plain values for the sentence, never content."""

    result: Result
    code: str
    params: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return self.result == "passed"

    def to_dict(self) -> dict[str, object]:
        """The shape that crosses the border."""
        return {"result": self.result, "code": self.code, "params": dict(self.params)}


def passed(code: str, **params: str | int) -> Fact:
    return Fact("passed", code, params)


def failed(code: str, **params: str | int) -> Fact:
    return Fact("failed", code, params)


def unknown(code: str, **params: str | int) -> Fact:
    return Fact("unknown", code, params)
