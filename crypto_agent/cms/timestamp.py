"""RFC 3161 timestamps: asking, answering and reading them (with ESSCertIDv2, RFC 5816)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Final

from crypto_agent.cms import certificate as certificates_of
from crypto_agent.cms import der, facts, oids, structures
from crypto_agent.cms.errors import DAMAGED, CmsError
from crypto_agent.cms.facts import Fact, failed, passed
from crypto_agent.cms.keys import SigningKey
from crypto_agent.cms.signed import finish, sign_as
from crypto_agent.cms.tlv import Cursor, milliseconds
from crypto_agent.cms.verify import verify

REFUSED: Final = "timestamp.refused"
"""The TSA answered, and said no."""
MISMATCH: Final = "timestamp.mismatch"
"""The TSA's answer is to another question."""

SIZE_LIMIT: Final = 256 * 1024
"""Octets of a request, response or token. Tokens with long chains have about 10 KB."""

_DIGEST_SIZES: Final = {"sha256": 32, "sha384": 48, "sha512": 64}
"""Imprints that our TSA stamps: nothing weaker than SHA-256."""

# PKIStatus and PKIFailureInfo (RFC 3161 §2.4.2)
_GRANTED: Final = 0
_GRANTED_WITH_MODIFICATIONS: Final = 1
_REJECTION: Final = 2
_BAD_ALGORITHM: Final = 0
_BAD_REQUEST: Final = 2
_BAD_DATA_FORMAT: Final = 5
_UNACCEPTED_POLICY: Final = 15
_UNACCEPTED_EXTENSION: Final = 16


@dataclass(frozen=True)
class TokenFacts:
    """What a token says and what of it is proven. Its chain is judged elsewhere, at gen_time."""

    fact: Fact
    """All of it in one answer: passed only when imprint, digest, signature and usage hold."""
    gen_time: int | None
    """Milliseconds since the epoch."""
    accuracy_ms: int | None
    serial: int | None
    policy: str
    """Dotted OID, or empty."""
    nonce: int | None
    certificate: bytes | None = field(repr=False)
    """DER of the TSA's certificate (untrusted until its chain is judged)."""
    certificates: tuple[bytes, ...] = field(repr=False)
    imprint_ok: bool
    digest_ok: bool
    signature_ok: bool
    usage_ok: bool
    """EKU timeStamping, critical and sole (RFC 3161 §2.3)."""


_DAMAGED_TOKEN: Final = TokenFacts(
    fact=failed(facts.TOKEN_DAMAGED),
    gen_time=None,
    accuracy_ms=None,
    serial=None,
    policy="",
    nonce=None,
    certificate=None,
    certificates=(),
    imprint_ok=False,
    digest_ok=False,
    signature_ok=False,
    usage_ok=False,
)


def _imprint(imprint: bytes) -> bytes:
    """MessageImprint of a SHA-256 digest. NULL parameters: the form that all TSAs read."""
    identifier = der.algorithm(oids.DIGEST_OIDS["sha256"], der.NULL_VALUE)
    return der.sequence(identifier, der.octet_string(imprint))


def request(imprint: bytes, nonce: int | None) -> bytes:
    """A TimeStampReq (RFC 3161 §2.4.1) for a SHA-256 imprint, asking for the TSA's certificate."""
    if len(imprint) != 32:
        raise ValueError("imprint is not SHA-256")
    return der.sequence(
        der.integer(1),
        _imprint(imprint),
        b"" if nonce is None else der.integer(nonce),
        der.boolean(True),
    )


def read_response(
    response: bytes, *, imprint: bytes | None = None, nonce: int | None = None
) -> bytes:
    """The TimeStampToken of a TimeStampResp, compared with what was asked, if that is given.

    Its signature is checked by :func:`verify_token`. Raises CmsError: timestamp.refused,
    timestamp.mismatch, cms.damaged.
    """
    if len(response) > SIZE_LIMIT:
        raise CmsError(DAMAGED)
    # TimeStampResp ::= SEQUENCE { PKIStatusInfo, token OPTIONAL }
    cursor = Cursor(response)
    cursor.enter()
    cursor.enter()
    status = cursor.small_integer()
    while not cursor.at_end():
        cursor.skip()
    cursor.leave()
    token = None if cursor.at_end() else cursor.raw(der.SEQUENCE)
    cursor.leave()
    cursor.finish()
    # RFC 3161 §2.4.2: a token is present with these two, and only then
    if status not in (_GRANTED, _GRANTED_WITH_MODIFICATIONS) or token is None:
        raise CmsError(REFUSED)
    info = _info(token)
    if imprint is not None and (info.digest, info.imprint) != (oids.DIGEST_OIDS["sha256"], imprint):
        raise CmsError(MISMATCH)
    if nonce is not None and info.nonce != nonce:
        raise CmsError(MISMATCH)
    return token


def _info(token: bytes) -> structures.TimestampInfo:
    message = verify(token)
    if message.content_type != oids.TST_INFO or message.content is None:
        raise CmsError(DAMAGED)
    return structures.timestamp_info(message.content)


def respond(request_der: bytes, key: SigningKey, *, now: int, serial: int, policy: str) -> bytes:
    """Answer a TimeStampReq: a TimeStampResp, granted or with the reason of refusal.

    ``now``: ms since the epoch. ``serial``: never used before (RFC 3161 §2.4.2). ``policy``: dotted
    OID of ours. Never raises for a bad request: the refusal is the response.
    """
    try:
        if len(request_der) > SIZE_LIMIT:
            raise CmsError(DAMAGED)
        asked = structures.timestamp_request(request_der)
    except CmsError:
        return _refusal(_BAD_DATA_FORMAT)
    if asked.version != 1:
        return _refusal(_BAD_REQUEST)
    digest = oids.DIGESTS.get(asked.digest, "")
    if digest not in _DIGEST_SIZES or asked.digest_parameters:
        return _refusal(_BAD_ALGORITHM)
    if len(asked.imprint) != _DIGEST_SIZES[digest]:
        return _refusal(_BAD_DATA_FORMAT)
    if asked.policy and asked.policy != policy:
        return _refusal(_UNACCEPTED_POLICY)
    if asked.extensions:  # RFC 3161 §2.4.1: unknown extensions are refused
        return _refusal(_UNACCEPTED_EXTENSION)
    identifier = der.algorithm(asked.digest, der.NULL_VALUE)
    info = der.sequence(
        der.integer(1),
        der.oid(policy),
        der.sequence(identifier, der.octet_string(asked.imprint)),
        der.integer(serial),
        der.generalized_time(now),
        der.sequence(der.integer(1)),  # accuracy: one second
        b"" if asked.nonce is None else der.integer(asked.nonce),
    )
    draft = sign_as(
        info,
        key,
        content_type=oids.TST_INFO,
        detached=False,
        attributes=[der.attribute(oids.SIGNING_TIME, der.time(now))],
        certificates=asked.certificate_wanted,
    )
    return der.sequence(der.sequence(der.integer(_GRANTED)), finish(draft, None))


def _refusal(reason: int) -> bytes:
    """PKIStatusInfo with one PKIFailureInfo bit."""
    octets, bit = divmod(reason, 8)
    bits = bytes(octets) + bytes((0x80 >> bit,))
    unused = 7 - bit
    return der.sequence(
        der.sequence(der.integer(_REJECTION), der.tlv(der.BIT_STRING, bytes((unused,)), bits))
    )


def verify_token(
    token: bytes, *, imprint: bytes, certificates: tuple[bytes, ...] = ()
) -> TokenFacts:
    """Read a TimeStampToken and check it against the SHA-256 ``imprint``. Never raises.

    ``certificates``: further ones in which the TSA's is looked for.
    """
    try:
        if len(token) > SIZE_LIMIT:
            raise CmsError(DAMAGED)
        # Step 1: a SignedData over a TSTInfo, by one signer (RFC 3161 §2.4.2)
        message = verify(token, certificates=certificates)
        if message.content_type != oids.TST_INFO or message.content is None:
            raise CmsError(DAMAGED)
        if len(message.signers) != 1:
            raise CmsError(DAMAGED)
        info = structures.timestamp_info(message.content)
        gen_time = milliseconds(info.gen_time)
        if info.version != 1:
            raise CmsError(DAMAGED)
    except CmsError:
        return _DAMAGED_TOKEN
    signer = message.signers[0]
    # Step 2: it is about our octets
    imprint_ok = info.digest == oids.DIGEST_OIDS["sha256"] and hmac.compare_digest(
        info.imprint, imprint
    )
    # Step 3: the TSA signed it
    digest_ok, signature_ok = signer.digest.passed, signer.signature.passed
    # Step 4: with a key that is for nothing else
    usage_ok = (
        signer.certificate is not None
        and certificates_of.parts(signer.certificate).timestamping_only
    )
    if not imprint_ok:
        fact = failed(facts.TOKEN_IMPRINT)
    elif not digest_ok or not signature_ok:
        reason = signer.signature.code if digest_ok else signer.digest.code
        fact = failed(facts.TOKEN_SIGNATURE, reason=reason)
    elif not usage_ok:
        fact = failed(facts.TOKEN_USAGE)
    else:
        fact = passed(facts.TOKEN_OK)
    return TokenFacts(
        fact=fact,
        gen_time=gen_time,
        accuracy_ms=info.accuracy_ms,
        serial=info.serial,
        policy=info.policy,
        nonce=info.nonce,
        certificate=signer.certificate,
        certificates=message.certificates,
        imprint_ok=imprint_ok,
        digest_ok=digest_ok,
        signature_ok=signature_ok,
        usage_ok=usage_ok,
    )
