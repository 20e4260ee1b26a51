"""Which keys and hashes are strong enough to carry trust, and what each is called.

Checks raise :class:`WeakKey`, whose ``code`` is one of ``protocol.FACT_CODES``.
"""

from __future__ import annotations

from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import (
    ec,
    ed448,
    ed25519,
    mldsa,
    mlkem,
    padding,
    rsa,
    x448,
    x25519,
)

RSA_MINIMUM: Final = 2048
"""RFC 8550 §4.1; below it a key can be broken with money."""
RSA_MAXIMUM: Final = 8192
"""Verification time grows with the square of the size: larger keys are an attack on us."""

CURVES: Final = frozenset(
    {
        "secp256r1",
        "secp384r1",
        "secp521r1",
        # German authorities and the public CAs serving them
        "brainpoolP256r1",
        "brainpoolP384r1",
        "brainpoolP512r1",
    }
)
WEAK_HASHES: Final = frozenset({"md2", "md4", "md5", "sha1"})
"""Collisions are practical; a certificate signed over one may have a twin."""

_OTHER_NAMES: Final[dict[type, str]] = {
    ed25519.Ed25519PublicKey: "Ed25519",
    ed448.Ed448PublicKey: "Ed448",
    x25519.X25519PublicKey: "X25519",
    x448.X448PublicKey: "X448",
    mlkem.MLKEM768PublicKey: "ML-KEM-768",
    mlkem.MLKEM1024PublicKey: "ML-KEM-1024",
    mldsa.MLDSA44PublicKey: "ML-DSA-44",
    mldsa.MLDSA65PublicKey: "ML-DSA-65",
    mldsa.MLDSA87PublicKey: "ML-DSA-87",
}

_SELF_CONTAINED: Final = (
    ed25519.Ed25519PublicKey
    | ed448.Ed448PublicKey
    | mldsa.MLDSA44PublicKey
    | mldsa.MLDSA65PublicKey
    | mldsa.MLDSA87PublicKey
)
"""Kinds of keys that know their one way of signing."""


class WeakKey(Exception):
    """A key or hash that must not carry trust. ``params["key"]`` or ``params["hash"]`` names it."""

    def __init__(self, code: str, params: dict[str, Any]) -> None:
        super().__init__(code)
        self.code = code
        self.params = params


def key_name(key: object) -> str:
    """For people: ``RSA 3072``, ``EC P-256``, ``Ed25519``; empty when unknown."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        nist = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
        return f"EC {nist.get(key.curve.name, key.curve.name)}"
    for kind, name in _OTHER_NAMES.items():
        if isinstance(key, kind):
            return name
    return ""


def check_key(key: object) -> None:
    """Raises WeakKey: ``chain.weak_key`` or ``chain.key_too_large``.

    RSA exponents below 3 or even, and points off their curve, never get here: pyca refuses to load
    such keys, and the certificate counts as damaged.
    """
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < RSA_MINIMUM:
            raise WeakKey("chain.weak_key", {"key": key_name(key)})
        if key.key_size > RSA_MAXIMUM:
            raise WeakKey("chain.key_too_large", {"key": key_name(key)})
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in CURVES:
            raise WeakKey("chain.weak_key", {"key": key_name(key)})
    elif not key_name(key):
        raise WeakKey("chain.weak_key", {"key": type(key).__name__.removesuffix("PublicKey")})


def check_hash(name: str) -> None:
    """Raises WeakKey (``chain.weak_hash``) for a hash with practical collisions."""
    if name.lower().replace("-", "") in WEAK_HASHES:
        raise WeakKey("chain.weak_hash", {"hash": name.upper().replace("SHA1", "SHA-1")})


class UnknownAlgorithm(Exception):
    """A signature algorithm that we cannot compute: neither good nor bad."""


def verify_signature(
    key: object,
    signature: bytes,
    data: bytes,
    algorithm: x509.ObjectIdentifier,
    digest: hashes.HashAlgorithm | None,
    parameters: object,
) -> None:
    """Check a signature over ``data`` as X.509 structures carry it.

    ``parameters`` is pyca's ``signature_algorithm_parameters`` (padding or ECDSA), or None where
    pyca offers none (OCSP): then the plain scheme of the key's kind is meant.

    Raises InvalidSignature, or UnknownAlgorithm when key and algorithm do not fit together.
    """
    if isinstance(key, rsa.RSAPublicKey):
        if digest is None or isinstance(parameters, ec.ECDSA):
            raise UnknownAlgorithm(algorithm.dotted_string)
        scheme = parameters if isinstance(parameters, padding.PSS) else padding.PKCS1v15()
        key.verify(signature, data, scheme, digest)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if digest is None or isinstance(parameters, padding.AsymmetricPadding):
            raise UnknownAlgorithm(algorithm.dotted_string)
        key.verify(signature, data, ec.ECDSA(digest))
    elif isinstance(key, _SELF_CONTAINED):
        key.verify(signature, data)
    else:
        raise UnknownAlgorithm(algorithm.dotted_string)
