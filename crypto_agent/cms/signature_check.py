"""Checking one signature value against a public key: which algorithm, which rules, is it valid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import (
    MLDSA44PublicKey,
    MLDSA65PublicKey,
    MLDSA87PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from crypto_agent.cms import facts, oids
from crypto_agent.cms.certificate import Parts, public_key
from crypto_agent.cms.errors import CmsError
from crypto_agent.cms.facts import Fact, failed, passed, unknown
from crypto_agent.cms.structures import PssParameters, pss_parameters
from crypto_agent.cms.tlv import Algorithm

WEAK_DIGESTS: Final = frozenset({"md5", "sha1"})
RSA_MINIMUM_BITS: Final = 2048  # RFC 8550 §4.4: verification below is SHOULD NOT
RSA_MAXIMUM_BITS: Final = 16384  # above, one check costs tens of milliseconds
EC_MINIMUM_BITS: Final = 224  # as strong as RSA 2048 (NIST SP 800-57 part 1, table 2)

_HASHES: Final[dict[str, Callable[[], hashes.HashAlgorithm]]] = {
    "md5": hashes.MD5,
    "sha1": hashes.SHA1,
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
    "sha3_224": hashes.SHA3_224,
    "sha3_256": hashes.SHA3_256,
    "sha3_384": hashes.SHA3_384,
    "sha3_512": hashes.SHA3_512,
}

_ML_DSA_KEYS: Final[dict[str, Any]] = {
    "ml-dsa-44": MLDSA44PublicKey,
    "ml-dsa-65": MLDSA65PublicKey,
    "ml-dsa-87": MLDSA87PublicKey,
}

# RFC 9882 §3.3: digests at least as strong as the signature
_ML_DSA_DIGESTS: Final = {
    "ml-dsa-44": frozenset(
        {"sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512", "shake_256"}
    ),
    "ml-dsa-65": frozenset({"sha384", "sha512", "sha3_384", "sha3_512", "shake_256"}),
    "ml-dsa-87": frozenset({"sha512", "sha3_512", "shake_256"}),
}


def hash_named(name: str) -> hashes.HashAlgorithm:
    """pyca's hash for a hashlib name. Raises KeyError."""
    return _HASHES[name]()


@dataclass(frozen=True)
class Scheme:
    """A signature algorithm as a SignerInfo names it."""

    family: str
    """``rsa-pkcs1v15``, ``rsa-pss``, ``ecdsa``, ``ed25519``, ``ed448`` or ``ml-dsa-NN``."""
    digest: str
    """hashlib name that the algorithm works with."""
    pss: PssParameters | None = None


class Unacceptable(Exception):
    """The algorithms cannot be what an honest signer used. ``fact`` says why."""

    def __init__(self, fact: Fact) -> None:
        super().__init__(fact.code)
        self.fact = fact


def scheme_of(algorithm: Algorithm, digest: str) -> Scheme:
    """What a signatureAlgorithm means beside a digestAlgorithm (hashlib name).

    Raises Unacceptable: unknown algorithms, and pairs that the RFCs do not allow.
    """
    name = algorithm.name
    for family, table in (
        ("rsa-pkcs1v15", oids.RSA_SIGNATURES),
        ("ecdsa", oids.ECDSA_SIGNATURES),
    ):
        if name in table:
            # RFC 8933 §4: signature and content use the same digest
            named: str = table[name]
            if (named or digest) != digest or digest not in _HASHES:
                raise Unacceptable(failed(facts.SIGNATURE_DIGEST_RULE, algorithm=name))
            return Scheme(family, digest)
    if name == oids.RSA_PSS:
        try:
            parameters = pss_parameters(algorithm.parameters)
        except CmsError as error:
            raise Unacceptable(unknown(facts.SIGNATURE_UNKNOWN, algorithm=name)) from error
        # RFC 4056 §3: the digest in the parameters must be digestAlgorithm
        if parameters.hash != digest or digest not in _HASHES:
            raise Unacceptable(failed(facts.SIGNATURE_DIGEST_RULE, algorithm=name))
        if parameters.mgf_hash not in _HASHES:
            raise Unacceptable(unknown(facts.SIGNATURE_UNKNOWN, algorithm=name))
        return Scheme("rsa-pss", digest, parameters)
    if name == oids.ED25519:
        # RFC 8419 §3.1: SHA-512, and no parameters
        if digest != "sha512" or algorithm.parameters:
            raise Unacceptable(failed(facts.SIGNATURE_DIGEST_RULE, algorithm=name))
        return Scheme("ed25519", digest)
    if name == oids.ED448:
        # RFC 8419 §3.1: SHAKE256 with 512 bits, and no parameters
        if digest != "shake_256" or algorithm.parameters:
            raise Unacceptable(failed(facts.SIGNATURE_DIGEST_RULE, algorithm=name))
        return Scheme("ed448", digest)
    if ml_dsa := oids.ML_DSA.get(name):
        if digest not in _ML_DSA_DIGESTS[ml_dsa] or algorithm.parameters:
            raise Unacceptable(failed(facts.SIGNATURE_DIGEST_RULE, algorithm=name))
        return Scheme(ml_dsa, digest)
    raise Unacceptable(unknown(facts.SIGNATURE_UNKNOWN, algorithm=name))


def describe(certificate: Parts) -> str:
    """The key in words such as ``RSA 3072``; empty when it cannot be read."""
    try:
        key = public_key(certificate.spki)
    except CmsError:
        return ""
    if isinstance(key, RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, EllipticCurvePublicKey):
        names = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
        return f"ECDSA {names.get(key.curve.name, key.curve.name)}"
    if isinstance(key, Ed25519PublicKey):
        return "Ed25519"
    if isinstance(key, Ed448PublicKey):
        return "Ed448"
    for name, kind in _ML_DSA_KEYS.items():
        if isinstance(key, kind):
            return name.upper()
    return ""


def check_signature(certificate: Parts, scheme: Scheme, signed: bytes, signature: bytes) -> Fact:
    """Whether ``signature`` over ``signed`` is by the key of ``certificate``.

    Valid signatures by weak keys or over weak digests fail by name (S/MIME 4.0 allows neither).
    """
    try:
        key = public_key(certificate.spki)
    except CmsError:
        return unknown(facts.SIGNATURE_CERTIFICATE_DAMAGED)
    weak = None
    try:
        if scheme.family.startswith("rsa-"):
            if not isinstance(key, RSAPublicKey):
                return failed(facts.SIGNATURE_KEY_MISMATCH)
            if key.key_size > RSA_MAXIMUM_BITS:
                return failed(facts.SIGNATURE_KEY_REFUSED, bits=key.key_size)
            exponent = key.public_numbers().e
            if exponent < 3 or not exponent & 1 or exponent.bit_length() > 64:
                # e = 1 verifies anything; a huge one is work for us (FIPS 186-5 §5.4)
                return failed(facts.SIGNATURE_KEY_REFUSED, bits=key.key_size)
            if key.key_size < RSA_MINIMUM_BITS:
                weak = failed(facts.SIGNATURE_WEAK_KEY, bits=key.key_size)
            if not _allowed_by_key(certificate, scheme):
                return failed(facts.SIGNATURE_KEY_MISMATCH)
            digest = hash_named(scheme.digest)
            if scheme.pss is None:
                key.verify(signature, signed, padding.PKCS1v15(), digest)
            else:
                generator = padding.MGF1(hash_named(scheme.pss.mgf_hash))
                key.verify(signature, signed, padding.PSS(generator, scheme.pss.salt), digest)
        elif scheme.family == "ecdsa":
            if not isinstance(key, EllipticCurvePublicKey):
                return failed(facts.SIGNATURE_KEY_MISMATCH)
            if key.curve.key_size < EC_MINIMUM_BITS:
                weak = failed(facts.SIGNATURE_WEAK_KEY, bits=key.curve.key_size)
            key.verify(signature, signed, ECDSA(hash_named(scheme.digest)))
        else:
            wanted = {"ed25519": Ed25519PublicKey, "ed448": Ed448PublicKey, **_ML_DSA_KEYS}
            if not isinstance(key, wanted[scheme.family]):
                return failed(facts.SIGNATURE_KEY_MISMATCH)
            # RFC 9882 §3: pure mode, empty context
            key.verify(signature, signed)
    except InvalidSignature:
        return failed(facts.SIGNATURE_INVALID)
    except UnsupportedAlgorithm:
        return unknown(facts.SIGNATURE_UNKNOWN, algorithm=scheme.family)
    except Exception:  # a key or value that the library will not work with proves nothing
        return failed(facts.SIGNATURE_INVALID)
    if scheme.digest in WEAK_DIGESTS:
        return failed(facts.SIGNATURE_WEAK_DIGEST, algorithm=scheme.digest)
    return weak or passed(facts.SIGNATURE_OK)


def _allowed_by_key(certificate: Parts, scheme: Scheme) -> bool:
    """id-RSASSA-PSS keys are for PSS alone, with at least their parameters (RFC 4055 §3.3)."""
    if certificate.key_algorithm != oids.RSA_PSS:
        return True
    if scheme.pss is None:
        return False
    if not certificate.key_parameters:
        return True
    try:
        bound = pss_parameters(certificate.key_parameters)
    except CmsError:
        return False
    return (
        scheme.pss.hash == bound.hash
        and scheme.pss.mgf_hash == bound.mgf_hash
        and scheme.pss.salt >= bound.salt
    )
