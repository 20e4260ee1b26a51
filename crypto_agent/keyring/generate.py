"""Make key pairs, and certificate requests for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from crypto_agent.errors import ErrorCode, ProtocolError

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

RSA_BITS: Final = {"rsa-3072": 3072, "rsa-4096": 4096}
CURVES: Final[dict[str, ec.EllipticCurve]] = {"p-256": ec.SECP256R1(), "p-384": ec.SECP384R1()}
ALGORITHMS: Final = frozenset(RSA_BITS) | frozenset(CURVES)

_COMMON_NAME_LIMIT: Final = 64
"""ub-common-name of RFC 5280, Appendix A."""


def generate(algorithm: str) -> PrivateKey:
    """Raises ProtocolError (bad_request) for an algorithm we do not make keys of."""
    if algorithm in RSA_BITS:
        return rsa.generate_private_key(65537, RSA_BITS[algorithm])
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm])
    raise ProtocolError(ErrorCode.BAD_REQUEST, "key algorithm")


def to_spki(public: PublicKey) -> bytes:
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def to_pkcs8(private: PrivateKey) -> bytes:
    """Clear PKCS#8, for the caller to wipe."""
    return private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def load_own_pkcs8(pkcs8: bytes | bytearray) -> PrivateKey:
    """Load a key from our own authenticated vault.

    RSA keys are not validated again: the primality tests would cost 20 to 200 ms each, and the
    octets are those which this program sealed.
    """
    key = serialization.load_der_private_key(pkcs8, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ProtocolError(ErrorCode.VAULT_DAMAGED, "key type")
    return key


def request(private: PrivateKey, addresses: Sequence[str]) -> bytes:
    """DER PKCS#10 (RFC 2986) naming ``addresses``; the authority decides what it certifies.

    Raises ProtocolError (bad_request) when an address cannot stand in a certificate.
    """
    if not addresses:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "no address")
    try:
        names = [x509.RFC822Name(address) for address in addresses]
        subject = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, addresses[0])]
            if len(addresses[0]) <= _COMMON_NAME_LIMIT
            else []
        )
        builder = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(subject)
            .add_extension(x509.SubjectAlternativeName(names), critical=not subject.rdns)
        )
    except (ValueError, TypeError) as error:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "address") from error
    return builder.sign(private, hashes.SHA256()).public_bytes(Encoding.DER)
