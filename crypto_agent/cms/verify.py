"""Reading and checking SignedData (RFC 5652 §5).

What is hashed is always a slice of the source: the content as given, the signed attributes as they
stand in the message. Each step below bears its number; the first that fails names the reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from crypto_agent.cms import certificate as certificates_of
from crypto_agent.cms import der, facts, oids
from crypto_agent.cms.certificate import Parts
from crypto_agent.cms.content_info import close_content, open_content
from crypto_agent.cms.errors import DAMAGED, TOO_COMPLEX, CmsError
from crypto_agent.cms.facts import Fact, failed, passed, unknown
from crypto_agent.cms.signature_check import (
    WEAK_DIGESTS,
    Unacceptable,
    check_signature,
    describe,
    scheme_of,
)
from crypto_agent.cms.tlv import Algorithm, Cursor, Octets, is_der, milliseconds

SIGNER_LIMIT: Final = 16
"""Signers. Honest mail has one, two during a change of algorithms (RFC 5752)."""
CERTIFICATE_LIMIT: Final = 64
"""Certificates in the bag. Chains have 2 to 4 each."""
LIST_LIMIT: Final = 64
"""CRLs and OCSP responses in the message."""
ATTRIBUTE_LIMIT: Final = 64
"""Attributes per signer; honest signers use 5 to 8."""
ATTRIBUTES_SIZE_LIMIT: Final = 1024 * 1024
"""Octets of a signer's attributes of one kind. Long-term archive attributes have tens of KB."""


@dataclass(frozen=True)
class Signer:
    """One SignerInfo and what could be proven about it. Chain and address are judged elsewhere."""

    index: int
    certificate: bytes | None
    """DER of the signer's certificate, found in the message's bag (untrusted)."""
    digest: Fact
    signature: Fact
    digest_algorithm: str
    """hashlib name such as ``sha256``, or the dotted OID of an unknown one."""
    signature_algorithm: str
    """``rsa-pkcs1v15``, ``rsa-pss``, ``ecdsa``, ``ed25519``, ``ml-dsa-65`` ..., or a dotted OID."""
    key: str
    """Such as ``RSA 3072``, ``ECDSA P-256``, ``Ed25519``; empty when unknown."""
    signing_time: int | None
    """The signer's claim, milliseconds since the epoch (RFC 5652 §11.3)."""
    capabilities: bytes | None
    """DER of the SMIMECapabilities SEQUENCE (RFC 8551 §2.5.2)."""
    encryption_key: bytes | None
    """DER of the SMIMEEncryptionKeyPreference value (RFC 8551 §2.5.3)."""
    imprint: bytes
    """SHA-256 over the signature value: what a timestamp token is about (CAdES-T)."""
    tokens: tuple[bytes, ...]
    """DER of the RFC 3161 tokens among the unsigned attributes, as found."""
    signature_value: bytes = field(repr=False, default=b"")


@dataclass(frozen=True)
class SignedMessage:
    """What a SignedData holds. No signers means: not signed."""

    content_type: str
    """Dotted OID of the encapsulated content; id-data in mail, id-ct-TSTInfo in tokens."""
    content: bytes | None = field(repr=False)
    """The encapsulated content (opaque signature), or None when detached."""
    certificates: tuple[bytes, ...] = field(repr=False)
    """DER of the X.509 certificates in the bag: untrusted hints."""
    crls: tuple[bytes, ...] = field(repr=False)
    ocsp: tuple[bytes, ...] = field(repr=False)
    """OCSPResponse DER stapled per RFC 5940."""
    signers: tuple[Signer, ...]


@dataclass(frozen=True)
class _SignerInfo:
    """A SignerInfo as it stands in the source (RFC 5652 §5.3)."""

    issuer: bytes | None
    serial: int
    key_identifier: bytes | None
    digest: Algorithm
    signed_attributes: bytes | None
    """With the identifier octet of SET OF, as they are hashed (RFC 5652 §5.4)."""
    signature_algorithm: Algorithm
    signature: bytes
    unsigned_attributes: bytes | None


@dataclass(frozen=True)
class _SignedData:
    content_type: str
    content: list[memoryview] | None
    certificates: tuple[bytes, ...]
    crls: tuple[bytes, ...]
    ocsp: tuple[bytes, ...]
    signers: tuple[_SignerInfo, ...]


Attributes = dict[str, list[list[bytes]]]
"""Dotted type to the values of each attribute of that type: honest ones appear once."""


def verify(
    data: Octets,
    detached: Octets | None = None,
    *,
    certificates: Sequence[bytes] = (),
) -> SignedMessage:
    """Check every signer of a SignedData ContentInfo.

    ``data``: BER or DER. ``detached``: the exact octets that ``multipart/signed`` covers, or None
    for an opaque signature; a content inside and one given at once fail the digest fact.
    ``certificates``: further DER certificates in which signers are looked for.
    Raises CmsError (cms.damaged, cms.too_complex, cms.unsupported); hostile content otherwise only
    makes facts fail.
    """
    found = _read(data)
    # Step 1: which octets are signed? Exactly one of the two (RFC 5652 §5.2; "Johnny, you are
    # fired" §4.1 for what happens otherwise).
    content = found.content
    subject: list[memoryview] | None = content
    if detached is not None:
        subject = None if content is not None else [memoryview(detached)]
    two_contents = detached is not None and content is not None
    bag = _readable((*found.certificates, *certificates))
    digests: dict[str, bytes] = {}
    signers = tuple(
        _check(index, info, found.content_type, subject, two_contents, bag, digests)
        for index, info in enumerate(found.signers)
    )
    return SignedMessage(
        content_type=found.content_type,
        content=None if content is None else b"".join(content),
        certificates=found.certificates,
        crls=found.crls,
        ocsp=found.ocsp,
        signers=signers,
    )


def read_bag(data: Octets) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """``(certificates, CRLs)`` of a SignedData, nothing checked. Raises CmsError."""
    found = _read(data)
    return found.certificates, found.crls


# --------------------------------------------------------------------------- reading


def _read(data: Octets) -> _SignedData:
    """Parse, with all caps before any work. Raises CmsError."""
    _, cursor = open_content(data, oids.SIGNED_DATA)
    cursor.enter()
    cursor.small_integer()  # version: RFC 5652 §5.1 derives it from the content; peers get it wrong
    cursor.raw(der.SET)  # digestAlgorithms: only a hint for one-pass readers
    cursor.enter()  # encapContentInfo
    content_type = cursor.oid()
    content = None
    if not cursor.at_end():
        cursor.enter(der.CONTEXT_CONSTRUCTED)
        content = cursor.chunks()
        cursor.leave()
    cursor.leave()
    certificates: list[bytes] = []
    if cursor.at(der.CONTEXT_CONSTRUCTED):
        cursor.enter(der.CONTEXT_CONSTRUCTED)
        seen = 0
        while not cursor.at_end():
            if (seen := seen + 1) > CERTIFICATE_LIMIT:
                raise CmsError(TOO_COMPLEX)
            if cursor.at(der.SEQUENCE):
                certificates.append(cursor.raw())
            else:
                cursor.skip()  # attribute and PKCS#6 certificates: no use for them (§10.2.2)
        cursor.leave()
    crls: list[bytes] = []
    ocsp: list[bytes] = []
    if cursor.at(der.CONTEXT_CONSTRUCTED | 1):
        cursor.enter(der.CONTEXT_CONSTRUCTED | 1)
        seen = 0
        while not cursor.at_end():
            if (seen := seen + 1) > LIST_LIMIT:
                raise CmsError(TOO_COMPLEX)
            if cursor.at(der.SEQUENCE):
                crls.append(cursor.raw())
            elif cursor.at(der.CONTEXT_CONSTRUCTED | 1):  # OtherRevocationInfoFormat (RFC 5940 §2)
                cursor.enter(der.CONTEXT_CONSTRUCTED | 1)
                wanted = cursor.oid() == oids.OCSP_RESPONSE
                response = cursor.raw()
                cursor.leave()
                if wanted:
                    ocsp.append(response)
            else:
                cursor.skip()
        cursor.leave()
    signers: list[_SignerInfo] = []
    cursor.enter(der.SET)
    while not cursor.at_end():
        if len(signers) >= SIGNER_LIMIT:
            raise CmsError(TOO_COMPLEX)
        signers.append(_read_signer(cursor))
    cursor.leave()
    cursor.leave()
    close_content(cursor)
    return _SignedData(
        content_type, content, tuple(certificates), tuple(crls), tuple(ocsp), tuple(signers)
    )


def _read_signer(cursor: Cursor) -> _SignerInfo:
    cursor.enter()
    cursor.small_integer()  # version: says which sid follows; the sid itself says so too
    issuer, serial, key_identifier = None, 0, None
    if cursor.at(der.SEQUENCE):
        cursor.enter()
        issuer, serial = cursor.raw(der.SEQUENCE), cursor.integer()
        cursor.leave()
    else:
        key_identifier = cursor.octets(der.CONTEXT)
    digest = cursor.algorithm()
    signed_attributes = unsigned_attributes = None
    if cursor.at(der.CONTEXT_CONSTRUCTED):
        # RFC 5652 §5.4: hashed with the identifier octet of SET OF instead of [0]
        signed_attributes = bytes((der.SET,)) + _limited(cursor.raw())[1:]
    signature_algorithm = cursor.algorithm()
    signature = cursor.octets()
    if cursor.at(der.CONTEXT_CONSTRUCTED | 1):
        unsigned_attributes = bytes((der.SET,)) + _limited(cursor.raw())[1:]
    cursor.leave()
    return _SignerInfo(
        issuer,
        serial,
        key_identifier,
        digest,
        signed_attributes,
        signature_algorithm,
        signature,
        unsigned_attributes,
    )


def _limited(attributes: bytes) -> bytes:
    if len(attributes) > ATTRIBUTES_SIZE_LIMIT:
        raise CmsError(TOO_COMPLEX)
    return attributes


def _readable(encoded: Iterable[bytes]) -> list[Parts]:
    """The certificates that can be cut; damaged ones cannot be anybody's."""
    found = []
    for certificate in encoded:
        try:
            found.append(certificates_of.parts(certificate))
        except CmsError:
            continue
    return found


def _attributes(encoded: bytes, *, strict: bool) -> Attributes:
    """Attributes by type. ``strict``: must be DER (lengths and the order of sets), or CmsError."""
    found: Attributes = {}
    members: list[bytes] = []
    cursor = Cursor(encoded, strict=strict)
    cursor.enter(der.SET)
    while not cursor.at_end():
        if len(members) >= ATTRIBUTE_LIMIT:
            raise CmsError(TOO_COMPLEX)
        start = cursor.position
        cursor.enter()
        name = cursor.oid()
        cursor.enter(der.SET)
        values: list[bytes] = []
        while not cursor.at_end():
            if len(values) >= ATTRIBUTE_LIMIT:
                raise CmsError(TOO_COMPLEX)
            values.append(cursor.raw())
        cursor.leave()
        cursor.leave()
        members.append(encoded[start : cursor.position])
        if strict and (sorted(values) != values or not all(map(is_der, values))):
            raise CmsError(DAMAGED)
        found.setdefault(name, []).append(values)
    cursor.leave()
    cursor.finish()
    if strict and sorted(members) != members:
        raise CmsError(DAMAGED)
    return found


def _single(attributes: Attributes, name: str) -> bytes | None:
    """The value of an attribute that may appear once with one value; None when absent.

    Raises Unacceptable when it appears otherwise (RFC 5652 §5.3 and §11).
    """
    instances = attributes.get(name)
    if instances is None:
        return None
    if len(instances) != 1 or len(instances[0]) != 1:
        raise Unacceptable(failed(facts.SIGNATURE_ATTRIBUTES, attribute=name))
    return instances[0][0]


# --------------------------------------------------------------------------- checking


@dataclass
class _Findings:
    """What is told about a signer besides the two facts."""

    signature_algorithm: str
    signing_time: int | None = None
    capabilities: bytes | None = None
    encryption_key: bytes | None = None


def _check(
    index: int,
    info: _SignerInfo,
    content_type: str,
    subject: list[memoryview] | None,
    two_contents: bool,
    bag: list[Parts],
    digests: dict[str, bytes],
) -> Signer:
    digest_name = _digest_name(info.digest)
    candidates = _candidates(info, bag)
    findings = _Findings(info.signature_algorithm.name)
    attributes, attributes_fact = _signed_attributes(info)
    if attributes is not None:
        findings.signing_time = _quiet_time(attributes)
        findings.capabilities = _quiet(attributes, oids.SMIME_CAPABILITIES)
        findings.encryption_key = _quiet(attributes, oids.ENCRYPTION_KEY_PREFERENCE)

    digest = _digest_fact(digest_name, attributes, subject, two_contents, digests)
    signer, signature = _signature_fact(
        info, digest_name, content_type, attributes, attributes_fact, subject, candidates, findings
    )
    if info.signed_attributes is None and digest.passed and not signature.passed:
        # Without attributes the signature is the only proof for the content
        digest = unknown(signature.code, **signature.params)
    return Signer(
        index=index,
        certificate=None if signer is None else signer.encoded,
        digest=digest,
        signature=signature,
        digest_algorithm=digest_name or info.digest.name,
        signature_algorithm=findings.signature_algorithm,
        key="" if signer is None else describe(signer),
        signing_time=findings.signing_time,
        capabilities=findings.capabilities,
        encryption_key=findings.encryption_key,
        imprint=hashlib.sha256(info.signature).digest(),
        tokens=_tokens(info.unsigned_attributes),
        signature_value=info.signature,
    )


def _digest_name(algorithm: Algorithm) -> str | None:
    """hashlib name of a digestAlgorithm; None when unknown."""
    name = oids.DIGESTS.get(algorithm.name)
    if algorithm.name == oids.SHAKE256_LEN:
        # RFC 8419 §2.3: the parameter is the output length, which must be 512 bits
        return name if algorithm.parameters == der.integer(512) else None
    return name if algorithm.bare else None


def _candidates(info: _SignerInfo, bag: list[Parts]) -> list[Parts]:
    """Step 2: the certificates that the sid can mean; several may share a key identifier."""
    if info.key_identifier is not None:
        return [one for one in bag if one.has_key_identifier(info.key_identifier)]
    issuer = info.issuer or b""
    return [one for one in bag if one.is_named(issuer, info.serial)]


def _signed_attributes(info: _SignerInfo) -> tuple[Attributes | None, Fact | None]:
    """Step 3: the signed attributes, which must stand in the message as they were hashed.

    Hashing a re-encoding instead would mean to show one thing and to verify another.
    """
    if info.signed_attributes is None:
        return None, None
    try:
        return _attributes(info.signed_attributes, strict=True), None
    except CmsError:
        return None, failed(facts.SIGNATURE_NOT_DER)


def _quiet(attributes: Attributes, name: str) -> bytes | None:
    try:
        return _single(attributes, name)
    except Unacceptable:
        return None


def _quiet_time(attributes: Attributes) -> int | None:
    value = _quiet(attributes, oids.SIGNING_TIME)
    try:
        return None if value is None else milliseconds(value)
    except CmsError:
        return None


def _digest_fact(
    name: str | None,
    attributes: Attributes | None,
    subject: list[memoryview] | None,
    two_contents: bool,
    digests: dict[str, bytes],
) -> Fact:
    """Step 4: are these the octets that were signed (RFC 5652 §5.4, §5.6)?"""
    if two_contents:
        return failed(facts.DIGEST_TWO_CONTENTS)
    if subject is None:
        return failed(facts.DIGEST_NO_CONTENT)
    if name is None:
        return unknown(facts.DIGEST_UNKNOWN)
    if attributes is not None:
        value = _quiet(attributes, oids.MESSAGE_DIGEST)
        if value is None or value[:1] != bytes((der.OCTET_STRING,)):
            return failed(facts.SIGNATURE_ATTRIBUTES, attribute=oids.MESSAGE_DIGEST)
        if name not in digests:
            digests[name] = _digest(name, subject)
        if Cursor(value).value(der.OCTET_STRING) != digests[name]:
            return failed(facts.DIGEST_MISMATCH)
    if name in WEAK_DIGESTS:
        return failed(facts.DIGEST_WEAK, algorithm=name)
    return passed(facts.DIGEST_OK)


def _digest(name: str, subject: list[memoryview]) -> bytes:
    work = hashlib.new(name, usedforsecurity=False)
    for piece in subject:
        work.update(piece)
    if name.startswith("shake"):  # RFC 8419 §2.3: SHAKE256 with 512 bits of output
        return work.digest(64)  # type: ignore[call-arg]  # new() is declared without the SHAKE kind
    return work.digest()


def _signature_fact(
    info: _SignerInfo,
    digest_name: str | None,
    content_type: str,
    attributes: Attributes | None,
    attributes_fact: Fact | None,
    subject: list[memoryview] | None,
    candidates: list[Parts],
    findings: _Findings,
) -> tuple[Parts | None, Fact]:
    """Steps 5 to 9: did the signer's key sign? ``(the signer's certificate, fact)``."""
    first = candidates[0] if candidates else None
    try:
        # Step 5: attributes readable, those that must be there once are there once
        if attributes_fact is not None:
            return first, attributes_fact
        if attributes is not None:
            _check_attributes(attributes, content_type, info)
            signed = info.signed_attributes or b""
        else:
            signed = _check_bare_content(content_type, subject)
        # Step 6: algorithms known, and allowed together
        if digest_name is None:
            return first, unknown(facts.SIGNATURE_UNKNOWN, algorithm=info.digest.name)
        scheme = scheme_of(info.signature_algorithm, digest_name)
        findings.signature_algorithm = scheme.family
        # Step 7: somebody's certificate
        if first is None:
            return None, unknown(facts.SIGNATURE_NO_CERTIFICATE)
        # Step 8: the signature itself; several certificates may carry the same key identifier
        fact = failed(facts.SIGNATURE_INVALID)
        for candidate in candidates:
            fact = check_signature(candidate, scheme, signed, info.signature)
            if fact.code in (facts.SIGNATURE_INVALID, facts.SIGNATURE_KEY_MISMATCH):
                continue
            # Step 9: it is the certificate that the signer named (RFC 5035 §5)
            if attributes is not None:
                _check_signing_certificate(attributes, candidate)
            return candidate, fact
        return first, fact
    except Unacceptable as refusal:
        return first, refusal.fact


def _check_attributes(attributes: Attributes, content_type: str, info: _SignerInfo) -> None:
    """Step 5. Raises Unacceptable."""
    # RFC 5652 §11.1, §11.2: contentType and messageDigest exactly once, with one value
    for name in (oids.CONTENT_TYPE, oids.MESSAGE_DIGEST):
        if _single(attributes, name) is None:
            raise Unacceptable(failed(facts.SIGNATURE_ATTRIBUTES, attribute=name))
    if _single(attributes, oids.CONTENT_TYPE) != der.oid(content_type):
        raise Unacceptable(failed(facts.SIGNATURE_CONTENT_TYPE))
    # RFC 5652 §11.3, RFC 8551 §2.5.2, §2.5.3: at most once, with one value
    for name in (
        oids.SIGNING_TIME,
        oids.SMIME_CAPABILITIES,
        oids.ENCRYPTION_KEY_PREFERENCE,
        oids.SIGNING_CERTIFICATE,
        oids.SIGNING_CERTIFICATE_V2,
    ):
        _single(attributes, name)
    signing_time = _single(attributes, oids.SIGNING_TIME)
    if signing_time is not None and _quiet_time(attributes) is None:
        raise Unacceptable(failed(facts.SIGNATURE_ATTRIBUTES, attribute=oids.SIGNING_TIME))
    # RFC 6211 §2: the algorithms used are those that the signer meant
    protection = _single(attributes, oids.ALGORITHM_PROTECTION)
    if protection is not None and not _protects(protection, info):
        raise Unacceptable(failed(facts.SIGNATURE_ALGORITHM_PROTECTION))


def _protects(protection: bytes, info: _SignerInfo) -> bool:
    """CMSAlgorithmProtection ::= SEQUENCE { digestAlgorithm, [1] signatureAlgorithm, [2] mac }."""
    try:
        cursor = Cursor(protection)
        cursor.enter()
        digest = cursor.algorithm()
        cursor.enter(der.CONTEXT_CONSTRUCTED | 1)
        name = cursor.oid()
        parameters = b"" if cursor.at_end() else cursor.raw()
        cursor.leave()
        cursor.leave()
        cursor.finish()
    except CmsError:
        return False
    return _same(digest, info.digest) and _same(
        Algorithm(name, parameters, b""), info.signature_algorithm
    )


def _same(one: Algorithm, other: Algorithm) -> bool:
    """RFC 6211 §3: absent and NULL parameters mean the same for our algorithms."""
    return one.name == other.name and (
        one.parameters == other.parameters or (one.bare and other.bare)
    )


def _check_bare_content(content_type: str, subject: list[memoryview] | None) -> bytes:
    """Step 5 without signed attributes: the signature is over the content itself."""
    # RFC 5652 §5.3: attributes MUST be present when the content is not id-data
    if content_type != oids.DATA:
        raise Unacceptable(failed(facts.SIGNATURE_ATTRIBUTES, attribute=oids.CONTENT_TYPE))
    if subject is None:
        raise Unacceptable(failed(facts.DIGEST_NO_CONTENT))
    content = b"".join(subject)
    # A signature over attributes, passed off as one over a content that looks like them
    if content[:1] == bytes((der.SET,)) and len(content) < ATTRIBUTES_SIZE_LIMIT:
        try:
            disguised = oids.MESSAGE_DIGEST in _attributes(content, strict=True)
        except CmsError:
            disguised = False
        if disguised:
            raise Unacceptable(failed(facts.SIGNATURE_ATTRIBUTES, attribute=oids.MESSAGE_DIGEST))
    return content


def _check_signing_certificate(attributes: Attributes, signer: Parts) -> None:
    """Step 9. ESS signingCertificate and V2: the first entry must be the signer's certificate.

    Raises Unacceptable.
    """
    for name, default in (
        (oids.SIGNING_CERTIFICATE, "sha1"),  # RFC 2634 §5.4: always SHA-1
        (oids.SIGNING_CERTIFICATE_V2, "sha256"),  # RFC 5035 §4: DEFAULT
    ):
        value = _single(attributes, name)
        if value is None:
            continue
        try:
            cursor = Cursor(value)
            cursor.enter()
            cursor.enter()
            cursor.enter()
            algorithm: str | None = default
            if name == oids.SIGNING_CERTIFICATE_V2 and cursor.at(der.SEQUENCE):
                algorithm = oids.DIGESTS.get(cursor.algorithm().name)
            stated = cursor.value(der.OCTET_STRING)
        except CmsError as error:
            refusal = failed(facts.SIGNATURE_ATTRIBUTES, attribute=name)
            raise Unacceptable(refusal) from error
        if algorithm is None or algorithm.startswith("shake"):
            raise Unacceptable(unknown(facts.SIGNATURE_UNKNOWN, algorithm=name))
        work = hashlib.new(algorithm, signer.encoded, usedforsecurity=False)
        if work.digest() != stated:
            raise Unacceptable(failed(facts.SIGNATURE_SIGNING_CERTIFICATE))


def _tokens(encoded: bytes | None) -> tuple[bytes, ...]:
    """RFC 3161 tokens; unreadable unsigned attributes hold none, and say nothing else."""
    if encoded is None:
        return ()
    try:
        attributes = _attributes(encoded, strict=False)
    except CmsError:
        return ()
    return tuple(token for values in attributes.get(oids.TIMESTAMP_TOKEN, []) for token in values)
