"""Good, revoked or unknown: what CRLs and OCSP responses say of a certificate as of a given time.

Pure: bytes and times in, a :class:`Status` out. Fetching is the worker's; freshness is judged here.

Two times matter. ``at`` is the time the signature is judged at (proven by a time stamp, or when the
mail came in), ``now`` is today. Evidence counts when its window holds ``at``, or when it was made
after ``at``: a list of today still tells when something was revoked. Revoked after ``at`` is good
as of ``at``, unless the revocation says that the key was lost earlier (invalidityDate).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    ExtensionOID,
)

from crypto_agent.trust import der as tlv
from crypto_agent.trust.certificate import NO_REV_AVAIL, Certificate, PathError
from crypto_agent.trust.path import Budget, Path, milliseconds
from crypto_agent.trust.strength import (
    UnknownAlgorithm,
    WeakKey,
    check_hash,
    check_key,
    verify_signature,
)

LISTS_LIMIT: Final = 400
RESPONSES_LIMIT: Final = 128
LIST_BYTES_LIMIT: Final = 16 * 1024 * 1024
"""The largest public S/MIME lists have some megabytes."""
SKEW: Final = dt.timedelta(minutes=5)
"""Clocks of issuers may be this far ahead of ours."""
NO_NEXT_UPDATE_LIFETIME: Final = dt.timedelta(hours=24)
"""Evidence that names no end is fresh for a day."""

EXPIRED_CERTS_ON_CRL: Final = "2.5.29.60"

_LIST_EXTENSIONS: Final = frozenset(
    {
        ExtensionOID.CRL_NUMBER.dotted_string,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER.dotted_string,
        ExtensionOID.ISSUING_DISTRIBUTION_POINT.dotted_string,
        ExtensionOID.DELTA_CRL_INDICATOR.dotted_string,
        ExtensionOID.FRESHEST_CRL.dotted_string,
        ExtensionOID.ISSUER_ALTERNATIVE_NAME.dotted_string,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS.dotted_string,
        EXPIRED_CERTS_ON_CRL,
    }
)
_ENTRY_EXTENSIONS: Final = frozenset({"2.5.29.21", "2.5.29.24"})
"""reasonCode and invalidityDate. A critical certificateIssuer (indirect lists) is not read."""

GOOD: Final = "good"
REVOKED: Final = "revoked"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True)
class Status:
    """``state`` is good, revoked or unknown; ``code`` is one of ``protocol.FACT_CODES``."""

    state: str
    code: str
    params: dict[str, Any] = field(default_factory=dict)


class _Unusable(Exception):
    """Evidence that says nothing about this certificate, and why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class _Question:
    subject: Certificate
    issuer: Certificate
    at: dt.datetime
    now: dt.datetime
    budget: Budget


class Evidence:
    """CRLs and OCSP responses of one call, looked up by issuer and parsed only when asked for."""

    def __init__(self, *, crls: Iterable[bytes] = (), ocsp_responses: Iterable[bytes] = ()) -> None:
        self._lists: dict[bytes, list[_List]] = {}
        for count, der in enumerate(crls):
            if count >= LISTS_LIMIT:
                break
            try:
                found = _List(der)
            except _Unusable:
                continue
            self._lists.setdefault(found.issuer_name, []).append(found)
        self.responses = [
            der for _, der in zip(range(RESPONSES_LIMIT), ocsp_responses, strict=False)
        ]

    def lists_of(self, issuer: Certificate) -> Sequence[_List]:
        return self._lists.get(issuer.subject_name, ())


class _List:
    """One CRL; not trusted before :meth:`check_signed`."""

    def __init__(self, der: bytes) -> None:
        if not isinstance(der, bytes) or len(der) > LIST_BYTES_LIMIT:
            raise _Unusable("revocation.crl_damaged")
        try:
            issuer, agree = tlv.list_parts(der)
        except (tlv.DerError, IndexError) as error:
            raise _Unusable("revocation.crl_damaged") from error
        if not agree:
            raise _Unusable("revocation.crl_damaged")
        self.der = der
        self.issuer_name = tlv.folded(issuer)
        self._parsed: x509.CertificateRevocationList | None = None
        self._signed: dict[bytes, str] = {}

    @property
    def parsed(self) -> x509.CertificateRevocationList:
        if self._parsed is None:
            try:
                self._parsed = x509.load_der_x509_crl(self.der)
            except Exception as error:  # pyca raises several kinds for damaged structures
                raise _Unusable("revocation.crl_damaged") from error
        return self._parsed

    def check_signed(self, issuer: Certificate, budget: Budget) -> None:
        """RFC 5280 §6.3.3 (f), (g): signed by the issuer's key, which may sign lists."""
        reason = self._signed.get(issuer.der)
        if reason is None:
            reason = self._check(issuer, budget)
            self._signed[issuer.der] = reason
        if reason:
            raise _Unusable(reason)

    def _check(self, issuer: Certificate, budget: Budget) -> str:
        usage = issuer.extension(x509.KeyUsage)
        if usage is not None and not usage.crl_sign:
            return "revocation.crl_issuer"
        budget.spend()
        parsed = self.parsed
        try:
            check_key(issuer.public_key)
            digest = parsed.signature_hash_algorithm
            if digest is not None:
                check_hash(digest.name)
            verify_signature(
                issuer.public_key,
                parsed.signature,
                parsed.tbs_certlist_bytes,
                parsed.signature_algorithm_oid,
                digest,
                parsed.signature_algorithm_parameters,
            )
        except (InvalidSignature, WeakKey):
            return "revocation.crl_signature"
        except (UnknownAlgorithm, UnsupportedAlgorithm, PathError, ValueError, TypeError):
            return "revocation.crl_unsupported"
        return ""


def _window(
    question: _Question, this_update: dt.datetime, next_update: dt.datetime | None, kind: str
) -> None:
    """Raises _Unusable when the evidence is not about ``at``."""
    if this_update > question.now + SKEW:
        raise _Unusable(f"revocation.{kind}_future")
    if question.at <= this_update:
        return  # newer than what is asked about: it knows all that happened until then
    end = next_update or this_update + NO_NEXT_UPDATE_LIFETIME
    if question.at > end:
        raise _Unusable(f"revocation.{kind}_stale")


def _keeps_expired(extensions: x509.Extensions, not_after: dt.datetime) -> bool:
    """Whether a list says that certificates expired since a date stay on it (X.509 §9.5.2.8)."""
    for extension in extensions:
        if extension.oid.dotted_string == EXPIRED_CERTS_ON_CRL and isinstance(
            extension.value, x509.UnrecognizedExtension
        ):
            text = extension.value.value[2:].decode("ascii", "replace")
            try:
                # Not strptime: its late import fails in a sandboxed agent.
                since = dt.datetime.fromisoformat(f"{text[:8]}T{text[8:]}").astimezone(dt.UTC)
            except ValueError:
                return False
            return since <= not_after
    return False


def _as_of(
    question: _Question,
    *,
    revoked_at: dt.datetime,
    invalid_since: dt.datetime | None,
    reason: str,
) -> Status:
    """A revocation counts from its date, or from when the key is said to have been lost."""
    since = revoked_at if invalid_since is None else min(revoked_at, invalid_since)
    params = question.subject.named(at=milliseconds(since), reason=reason)
    if since > question.at:
        return Status(GOOD, "revocation.later", params)
    return Status(REVOKED, "revocation.revoked", params)


# --------------------------------------------------------------------------- CRL


def _ask_list(found: _List, question: _Question) -> Status:
    """RFC 5280 §6.3.3 for complete lists. Raises _Unusable."""
    found.check_signed(question.issuer, question.budget)
    parsed = found.parsed
    try:
        extensions = parsed.extensions
        this_update, next_update = parsed.last_update_utc, parsed.next_update_utc
    except Exception as error:
        raise _Unusable("revocation.crl_damaged") from error
    partial = False
    for extension in extensions:
        oid = extension.oid.dotted_string
        if extension.critical and oid not in _LIST_EXTENSIONS:
            raise _Unusable("revocation.crl_unsupported")  # §5.2: MUST NOT be used
        if isinstance(extension.value, x509.IssuingDistributionPoint):
            partial |= _check_scope(extension.value, question.subject)
        if isinstance(extension.value, x509.DeltaCRLIndicator):
            partial = True  # what it adds counts, what it does not mention is unknown
    _window(question, this_update, next_update, "crl")

    entry = parsed.get_revoked_certificate_by_serial_number(question.subject.parsed.serial_number)
    if entry is not None:
        status = _read_entry(entry, question)
        if status is not None and not (partial and status.state == GOOD):
            return status
    if partial:
        raise _Unusable("revocation.crl_partial")
    not_after = question.subject.parsed.not_valid_after_utc
    if entry is None and not_after < this_update and not _keeps_expired(extensions, not_after):
        # §3.3: an entry may leave the list once its certificate has expired
        raise _Unusable("revocation.crl_after_expiry")
    return Status(GOOD, "revocation.good", {"source": "crl", "made": milliseconds(this_update)})


def _check_scope(point: x509.IssuingDistributionPoint, subject: Certificate) -> bool:
    """Whether the list is partial. Raises _Unusable when it is about other certificates."""
    constraints = subject.extension(x509.BasicConstraints)
    authority = constraints is not None and constraints.ca
    if (
        point.indirect_crl
        or point.only_contains_attribute_certs
        or (point.only_contains_user_certs and authority)
        or (point.only_contains_ca_certs and not authority)
    ):
        raise _Unusable("revocation.crl_scope")
    if point.relative_name is not None:
        raise _Unusable("revocation.crl_scope")
    if point.full_name is not None:
        # §6.3.3 (b) (2) (i): one of its names must be one of the certificate's
        named = subject.extension(x509.CRLDistributionPoints)
        offered = {name for dp in (named or ()) for name in (dp.full_name or ())}
        if not offered & set(point.full_name):
            raise _Unusable("revocation.crl_scope")
    return point.only_some_reasons is not None


def _read_entry(entry: x509.RevokedCertificate, question: _Question) -> Status | None:
    """None for removeFromCRL. Raises _Unusable."""
    reason, invalid_since = "unspecified", None
    try:
        for extension in entry.extensions:
            if extension.critical and extension.oid.dotted_string not in _ENTRY_EXTENSIONS:
                raise _Unusable("revocation.crl_unsupported")
            if isinstance(extension.value, x509.CRLReason):
                reason = extension.value.reason.value
            if isinstance(extension.value, x509.InvalidityDate):
                invalid_since = extension.value.invalidity_date_utc
        revoked_at = entry.revocation_date_utc
    except _Unusable:
        raise
    except Exception as error:
        raise _Unusable("revocation.crl_damaged") from error
    if reason == x509.ReasonFlags.remove_from_crl.value:
        return None
    return _as_of(question, revoked_at=revoked_at, invalid_since=invalid_since, reason=reason)


# --------------------------------------------------------------------------- OCSP

_DER: Final = serialization.Encoding.DER
_HASHES: Final = {
    "sha1": hashlib.sha1,
    "sha256": hashlib.sha256,
    "sha384": hashlib.sha384,
    "sha512": hashlib.sha512,
}
"""SHA-1 here names a certificate, it protects nothing (RFC 6960 §4.3)."""


def _ask_response(der: bytes, question: _Question, evidence: Evidence) -> Status:
    """RFC 6960 §3.2. Raises _Unusable."""
    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise _Unusable("revocation.ocsp_refused")
        singles = list(response.responses)
        # 1. the response is about this certificate
        single = next((one for one in singles if _is_about(one, question)), None)
        if single is None:
            raise _Unusable("revocation.ocsp_other")
        own = list(response.single_extensions) if len(singles) == 1 else []
        critical = any(one.critical for one in (*response.extensions, *own))
        if critical:
            raise _Unusable("revocation.ocsp_unsupported")
        this_update, next_update = single.this_update_utc, single.next_update_utc
        produced = response.produced_at_utc
    except _Unusable:
        raise
    except Exception as error:  # pyca raises several kinds for damaged structures
        raise _Unusable("revocation.ocsp_damaged") from error

    # 2. and 3. its signature is valid, and the signer may speak for the issuer
    _check_responder(response, question, evidence, produced)
    # 4. and 5. it is about the time in question
    if next_update is not None and next_update < this_update:
        raise _Unusable("revocation.ocsp_damaged")
    _window(question, this_update, next_update, "ocsp")

    status = single.certificate_status
    if status is ocsp.OCSPCertStatus.REVOKED:
        revoked_at = single.revocation_time_utc
        if revoked_at is None:
            raise _Unusable("revocation.ocsp_damaged")
        reason = single.revocation_reason
        return _as_of(
            question,
            revoked_at=revoked_at,
            invalid_since=None,
            reason="unspecified" if reason is None else reason.value,
        )
    if status is ocsp.OCSPCertStatus.UNKNOWN:
        raise _Unusable("revocation.ocsp_unknown")
    if question.subject.parsed.not_valid_after_utc < this_update:
        raise _Unusable("revocation.ocsp_after_expiry")
    return Status(GOOD, "revocation.good", {"source": "ocsp", "made": milliseconds(this_update)})


def _is_about(single: ocsp.OCSPSingleResponse, question: _Question) -> bool:
    algorithm = _HASHES.get(single.hash_algorithm.name)
    return (
        algorithm is not None
        and single.serial_number == question.subject.parsed.serial_number
        and single.issuer_name_hash == algorithm(question.issuer.subject_der).digest()
        and single.issuer_key_hash == algorithm(tlv.key_bits(question.issuer.spki_der)).digest()
    )


def _response_signed_by(
    response: ocsp.OCSPResponse, responder: Certificate, budget: Budget
) -> None:
    budget.spend()
    try:
        check_key(responder.public_key)
        digest: hashes.HashAlgorithm | None = response.signature_hash_algorithm
        if digest is not None:
            check_hash(digest.name)
        verify_signature(
            responder.public_key,
            response.signature,
            response.tbs_response_bytes,
            response.signature_algorithm_oid,
            digest,
            None,
        )
    except (InvalidSignature, WeakKey) as error:
        raise _Unusable("revocation.ocsp_signature") from error
    except (UnknownAlgorithm, UnsupportedAlgorithm, PathError, ValueError, TypeError) as error:
        raise _Unusable("revocation.ocsp_unsupported") from error


def _is_responder(response: ocsp.OCSPResponse, candidate: Certificate) -> bool:
    """RFC 6960 §4.2.1 ResponderID, by key hash (always SHA-1) or by name."""
    if response.responder_key_hash is not None:
        bits = tlv.key_bits(candidate.spki_der)
        return response.responder_key_hash == hashlib.sha1(bits, usedforsecurity=False).digest()
    return response.responder_name == candidate.parsed.subject


def _check_responder(
    response: ocsp.OCSPResponse, question: _Question, evidence: Evidence, produced: dt.datetime
) -> None:
    """The issuer itself, or one to whom it delegated (RFC 6960 §4.2.2.2). Raises _Unusable."""
    issuer = question.issuer
    if _is_responder(response, issuer):
        _response_signed_by(response, issuer, question.budget)
        return
    for certificate in response.certificates[:4]:
        try:
            delegate = Certificate(certificate.public_bytes(_DER))
            if not _is_responder(response, delegate) or delegate.issuer_name != issuer.subject_name:
                continue
            extended = delegate.extension(x509.ExtendedKeyUsage)
            if extended is None or ExtendedKeyUsageOID.OCSP_SIGNING not in extended:
                raise _Unusable("revocation.ocsp_responder")
            usage = delegate.extension(x509.KeyUsage)
            if usage is not None and not (usage.digital_signature or usage.content_commitment):
                raise _Unusable("revocation.ocsp_responder")
            digest = delegate.parsed.signature_hash_algorithm
            if digest is not None:
                check_hash(digest.name)
            question.budget.check_signed(delegate, issuer)
            parsed = delegate.parsed
            if not parsed.not_valid_before_utc <= produced <= parsed.not_valid_after_utc:
                raise _Unusable("revocation.ocsp_responder")
        except (PathError, WeakKey) as error:
            raise _Unusable("revocation.ocsp_responder") from error
        _response_signed_by(response, delegate, question.budget)
        if delegate.extension(x509.OCSPNoCheck) is None:
            # §4.2.2.2.1: without ocsp-nocheck the delegate may itself be revoked
            asked = _Question(delegate, issuer, question.at, question.now, question.budget)
            if _ask_lists(asked, evidence).state != GOOD:
                raise _Unusable("revocation.ocsp_responder")
        return
    raise _Unusable("revocation.ocsp_responder")


# --------------------------------------------------------------------------- answers

_IMPORTANCE: Final = (
    # what a person can do something about comes first
    "revocation.crl_signature",
    "revocation.ocsp_signature",
    "revocation.ocsp_unknown",
    "revocation.crl_stale",
    "revocation.ocsp_stale",
)


def _unknown(subject: Certificate, reasons: Sequence[str]) -> Status:
    for code in _IMPORTANCE:
        if code in reasons:
            return Status(UNKNOWN, code, subject.named())
    if reasons:
        return Status(UNKNOWN, reasons[0], subject.named())
    urls = source_urls(subject)
    code = "revocation.not_fetched" if urls else "revocation.no_source"
    return Status(UNKNOWN, code, subject.named())


def _ask_lists(question: _Question, evidence: Evidence) -> Status:
    good: Status | None = None
    reasons: list[str] = []
    for found in evidence.lists_of(question.issuer):
        try:
            status = _ask_list(found, question)
        except _Unusable as error:
            reasons.append(error.code)
            continue
        if status.state == REVOKED:
            return status
        good = status if good is None or status.code == "revocation.later" else good
    return good or _unknown(question.subject, reasons)


def check_certificate(
    subject: Certificate,
    issuer: Certificate,
    evidence: Evidence,
    *,
    at: dt.datetime,
    now: dt.datetime,
    budget: Budget | None = None,
) -> Status:
    """Status of one certificate, issued by ``issuer``. Revoked from any source outweighs good."""
    budget = budget or Budget()
    if subject.has_extension(NO_REV_AVAIL):
        return Status(GOOD, "revocation.not_needed", {})  # RFC 9608: never revoked, short-lived
    question = _Question(subject, issuer, at, now, budget)
    try:
        by_list = _ask_lists(question, evidence)
        if by_list.state == REVOKED:
            return by_list
        good = by_list if by_list.state == GOOD else None
        reasons = [by_list.code] if by_list.code.startswith("revocation.crl") else []
        for der in evidence.responses:
            try:
                status = _ask_response(der, question, evidence)
            except _Unusable as error:
                if error.code != "revocation.ocsp_other":
                    reasons.append(error.code)
                continue
            if status.state == REVOKED:
                return status
            good = good or status
    except PathError as error:  # the budget is spent
        return Status(UNKNOWN, error.code, subject.named())
    return good or _unknown(subject, reasons)


def check_chain(
    path: Path,
    evidence: Evidence,
    *,
    at: dt.datetime,
    now: dt.datetime,
    budget: Budget | None = None,
) -> Status:
    """Status of all certificates below the anchor; an anchor is trusted until taken off the list.

    Revoked if one is revoked, good only if all are good.
    """
    budget = budget or Budget()
    answers = [
        check_certificate(subject, issuer, evidence, at=at, now=now, budget=budget)
        for subject, issuer in path.issuers()
    ]
    if not answers:
        return Status(GOOD, "revocation.anchor", {})
    for state in (REVOKED, UNKNOWN):
        for answer in answers:
            if answer.state == state:
                return answer
    return answers[0]


def source_urls(certificate: Certificate) -> list[str]:
    """Where to ask about this certificate: CRL and OCSP addresses that it names, http(s) only."""
    urls: list[str] = []
    try:
        points = certificate.extension(x509.CRLDistributionPoints)
        access = certificate.extension(x509.AuthorityInformationAccess)
    except PathError:
        return urls
    for point in points or ():
        urls += [
            name.value
            for name in point.full_name or ()
            if isinstance(name, x509.UniformResourceIdentifier)
        ]
    urls += [
        description.access_location.value
        for description in access or ()
        if description.access_method == AuthorityInformationAccessOID.OCSP
        and isinstance(description.access_location, x509.UniformResourceIdentifier)
    ]
    return [url for url in urls if url.lower().startswith(("http://", "https://"))][:8]


def issuer_urls(certificate: Certificate) -> list[str]:
    """Where the issuer's certificate can be fetched (AIA caIssuers), http(s) only."""
    try:
        access = certificate.extension(x509.AuthorityInformationAccess)
    except PathError:
        return []
    return [
        description.access_location.value
        for description in access or ()
        if description.access_method == AuthorityInformationAccessOID.CA_ISSUERS
        and isinstance(description.access_location, x509.UniformResourceIdentifier)
        and description.access_location.value.lower().startswith(("http://", "https://"))
    ][:4]
