"""Making SignedData (RFC 5652 §5) in two steps, so that a timestamp fits between them.

:func:`sign` uses the key and makes everything but the unsigned attributes; :func:`finish` adds the
token over the signature value, if the TSA gave one, and writes the message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from crypto_agent.cms import capabilities, der, keys, oids
from crypto_agent.cms.certificate import Parts, issuer_and_serial, parts
from crypto_agent.cms.content_info import content_info
from crypto_agent.cms.errors import CERTIFICATE, DAMAGED, CmsError
from crypto_agent.cms.keys import SigningKey
from crypto_agent.cms.tlv import Cursor
from crypto_agent.protocol import ProtocolError, pack, unpack

_DRAFT_VERSION: Final = 1

_PSS_SALT: Final = 32
"""Octets: as long as the hash (CA/B S/MIME BR §7.1.3.2.1)."""


@dataclass(frozen=True)
class _Algorithms:
    """How a scheme is written in a SignerInfo."""

    digest: str
    """hashlib name."""
    signature: bytes
    """signatureAlgorithm."""

    @property
    def digest_algorithm(self) -> bytes:
        return der.algorithm(oids.DIGEST_OIDS[self.digest])  # RFC 5754 §2: parameters absent


_SHA256_IDENTIFIER: Final = der.algorithm(oids.DIGEST_OIDS["sha256"], der.NULL_VALUE)
_PSS_PARAMETERS: Final = der.sequence(
    der.explicit(0, _SHA256_IDENTIFIER),  # RFC 4055 §3.1, as BR §7.1.3.2.1 writes it
    der.explicit(1, der.algorithm(oids.MGF1, _SHA256_IDENTIFIER)),
    der.explicit(2, der.integer(_PSS_SALT)),
)

_SCHEMES: Final = {
    # RFC 3370 §3.2: rsaEncryption with NULL is what every peer reads
    keys.RSA_PKCS1V15_SHA256: _Algorithms("sha256", der.algorithm(oids.RSA, der.NULL_VALUE)),
    keys.RSA_PSS_SHA256: _Algorithms("sha256", der.algorithm(oids.RSA_PSS, _PSS_PARAMETERS)),
    # RFC 5754 §3.3, RFC 8419 §3: parameters absent
    keys.ECDSA_SHA256: _Algorithms("sha256", der.algorithm(oids.ECDSA_OIDS["sha256"])),
    keys.ECDSA_SHA384: _Algorithms("sha384", der.algorithm(oids.ECDSA_OIDS["sha384"])),
    keys.ECDSA_SHA512: _Algorithms("sha512", der.algorithm(oids.ECDSA_OIDS["sha512"])),
    keys.ED25519: _Algorithms("sha512", der.algorithm(oids.ED25519)),
}

_CURVE_SCHEMES: Final = {
    der.oid(oids.P256): keys.ECDSA_SHA256,
    der.oid(oids.P384): keys.ECDSA_SHA384,
    der.oid(oids.P521): keys.ECDSA_SHA512,
}


def scheme_for(certificate: bytes) -> str:
    """The scheme that we use for a certificate's key. Raises CmsError (certificate.refused)."""
    return _scheme_for(parts(certificate))


def _scheme_for(certificate: Parts) -> str:
    fixed = {
        oids.RSA: keys.RSA_PKCS1V15_SHA256,
        oids.RSA_PSS: keys.RSA_PSS_SHA256,
        oids.ED25519: keys.ED25519,
    }
    scheme = fixed.get(certificate.key_algorithm)
    if certificate.key_algorithm == oids.EC_PUBLIC_KEY:
        scheme = _CURVE_SCHEMES.get(certificate.key_parameters)
    if scheme is None:
        raise CmsError(CERTIFICATE)
    return scheme


@dataclass(frozen=True)
class SignedDraft:
    """A signature whose unsigned attributes are still open."""

    imprint: bytes
    """SHA-256 of the signature value: what a timestamp is asked for (RFC 3161, CAdES-T)."""
    content_type: str
    content: bytes | None = field(repr=False)
    """None when detached."""
    certificates: tuple[bytes, ...] = field(repr=False)
    digest_algorithm: bytes = field(repr=False)
    signer: bytes = field(repr=False)
    """The fields of the SignerInfo up to and including the signature value."""

    def to_bytes(self) -> bytes:
        """For sealing. Holds the content when the signature is opaque."""
        return pack(
            [
                _DRAFT_VERSION,
                self.imprint,
                self.content_type,
                self.content,
                list(self.certificates),
                self.digest_algorithm,
                self.signer,
            ]
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> SignedDraft:
        """Raises CmsError (cms.damaged)."""
        try:
            version, imprint, content_type, content, certificates, digest, signer = unpack(data)
            if version != _DRAFT_VERSION:
                raise CmsError(DAMAGED)
            return cls(imprint, content_type, content, tuple(certificates), digest, signer)
        except (ProtocolError, TypeError, ValueError) as error:
            raise CmsError(DAMAGED) from error


def sign(
    content: bytes,
    key: SigningKey,
    *,
    detached: bool,
    signing_time: int,
    scheme: str | None = None,
    encrypt_to: bytes | None = None,
) -> SignedDraft:
    """Sign ``content``: the exact octets of a MIME entity, line ends CRLF.

    ``signing_time``: milliseconds since the epoch, written in whole seconds. ``scheme``: one of
    keys.SIGNING_SCHEMES; by default what the certificate's key is for. ``encrypt_to``: the
    certificate (DER) with which answers should be encrypted; it is put into the message and named
    as the signer's preference, because readers cannot guess it where two certificates are in use.
    Raises CmsError (certificate.refused), and whatever ``key.sign`` raises.
    """
    attributes = [
        der.attribute(oids.SIGNING_TIME, der.time(signing_time)),
        der.attribute(oids.SMIME_CAPABILITIES, capabilities.OWN),
        *(() if encrypt_to is None else _preference(parts(encrypt_to))),
    ]
    return sign_as(
        content,
        key,
        content_type=oids.DATA,
        detached=detached,
        attributes=attributes,
        scheme=scheme,
        more_certificates=() if encrypt_to is None else (encrypt_to,),
    )


def _preference(certificate: Parts) -> tuple[bytes, bytes]:
    """SMIMEEncryptionKeyPreference (RFC 8551 §2.5.3), and its forerunner for Outlook."""
    name = issuer_and_serial(certificate)
    implicit = bytes((der.CONTEXT_CONSTRUCTED,)) + name[1:]  # [0] IMPLICIT IssuerAndSerialNumber
    return (
        der.attribute(oids.ENCRYPTION_KEY_PREFERENCE, implicit),
        der.attribute(oids.MICROSOFT_ENCRYPTION_KEY, name),
    )


def sign_as(
    content: bytes,
    key: SigningKey,
    *,
    content_type: str,
    detached: bool,
    attributes: Sequence[bytes],
    scheme: str | None = None,
    certificates: bool = True,
    more_certificates: Sequence[bytes] = (),
) -> SignedDraft:
    """Like :func:`sign`, for any content type and with other signed attributes.

    contentType, messageDigest, signingCertificateV2 and CMSAlgorithmProtection are always added.
    ``certificates``: put the signer's certificate and chain into the message;
    ``more_certificates``: and these.
    """
    signer = parts(key.certificate)
    scheme = scheme or _scheme_for(signer)
    algorithms = _SCHEMES[scheme]
    digest = hashlib.new(algorithms.digest, content).digest()
    signature_fields = Cursor(algorithms.signature)
    signature_fields.enter()
    signed_attributes = der.set_of(
        [
            der.attribute(oids.CONTENT_TYPE, der.oid(content_type)),
            der.attribute(oids.MESSAGE_DIGEST, der.octet_string(digest)),
            der.attribute(oids.SIGNING_CERTIFICATE_V2, _signing_certificate(signer)),
            der.attribute(
                oids.ALGORITHM_PROTECTION,  # RFC 6211 §2: [1] IMPLICIT signatureAlgorithm
                der.sequence(
                    algorithms.digest_algorithm,
                    der.explicit(1, algorithms.signature[signature_fields.position :]),
                ),
            ),
            *attributes,
        ]
    )
    value = key.sign(signed_attributes, scheme=scheme)  # RFC 5652 §5.4: as SET OF, not as [0]
    fields = b"".join(
        (
            der.integer(1),  # RFC 5652 §5.3: issuerAndSerialNumber
            issuer_and_serial(signer),
            algorithms.digest_algorithm,
            bytes((der.CONTEXT_CONSTRUCTED,)) + signed_attributes[1:],
            algorithms.signature,
            der.octet_string(value),
        )
    )
    return SignedDraft(
        imprint=hashlib.sha256(value).digest(),
        content_type=content_type,
        content=None if detached else content,
        certificates=_bag(key, more_certificates) if certificates else (),
        digest_algorithm=algorithms.digest_algorithm,
        signer=fields,
    )


def _signing_certificate(signer: Parts) -> bytes:
    """SigningCertificateV2 (RFC 5035 §3): hashAlgorithm absent means SHA-256, its DEFAULT."""
    issuer = der.sequence(der.explicit(4, signer.issuer))  # GeneralNames with one directoryName
    entry = der.sequence(
        der.octet_string(hashlib.sha256(signer.encoded).digest()),
        der.sequence(issuer, der.integer(signer.serial)),
    )
    return der.sequence(der.sequence(entry))


def _bag(key: SigningKey, more: Sequence[bytes]) -> tuple[bytes, ...]:
    """The signer's certificate and its intermediates. Roots stay out: peers have them or not."""
    bag = [key.certificate]
    for encoded in (*more, *key.chain):
        if encoded not in bag and not parts(encoded).self_issued:
            bag.append(encoded)
    return tuple(bag)


def finish(draft: SignedDraft, token: bytes | None) -> bytes:
    """The ContentInfo DER, with ``token`` (a TimeStampToken, DER) as unsigned attribute if given.

    Raises CmsError (cms.damaged) when the token is not a single element.
    """
    unsigned = b""
    if token is not None:
        cursor = Cursor(token)
        cursor.skip()
        cursor.finish()
        unsigned = der.set_of(
            [der.attribute(oids.TIMESTAMP_TOKEN, token)], tag=der.CONTEXT_CONSTRUCTED | 1
        )
    content: der.Pieces = []
    if draft.content is not None:
        octets = der.wrap(der.OCTET_STRING, [draft.content])
        content = der.wrap(der.CONTEXT_CONSTRUCTED, octets)
    # RFC 5652 §5.1: version 3 when the content is not id-data
    version = 1 if draft.content_type == oids.DATA else 3
    signed_data = [
        der.integer(version),
        der.set_of([draft.digest_algorithm]),
        *der.wrap(der.SEQUENCE, [der.oid(draft.content_type), *content]),
        *(
            [der.set_of(draft.certificates, tag=der.CONTEXT_CONSTRUCTED)]
            if draft.certificates
            else []
        ),
        der.set_of([der.sequence(draft.signer, unsigned)]),
    ]
    return content_info(oids.SIGNED_DATA, der.wrap(der.SEQUENCE, signed_data))


def certificates_only(certificates: Sequence[bytes]) -> bytes:
    """A SignedData without content and signers, to hand certificates over (RFC 8551 §3.8)."""
    signed_data = [
        der.integer(1),
        der.set_of([]),
        der.sequence(der.oid(oids.DATA)),
        der.set_of(certificates, tag=der.CONTEXT_CONSTRUCTED),
        der.set_of([]),
    ]
    return content_info(oids.SIGNED_DATA, der.wrap(der.SEQUENCE, signed_data))
