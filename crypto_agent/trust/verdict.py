"""The verdict: five facts about a signature, and the one state that they add up to.

1. digest: the signed digest is that of the bytes displayed,
2. signature: the signature over the signed attributes holds,
3. chain: the certificate leads to an anchor, for mail, at the proven time, and is not revoked,
4. address: the single From is an address of the certificate,
5. root: the signed part is the root of the message.

Each is passed, failed or unknown, with a code of ``protocol.FACT_CODES`` and parameters. Green is
never the result of doubt: ``verified`` needs all five passed. What :mod:`crypto_agent.cms` found is
taken as given for 1 and 2; the rest is decided here. Pure: times come in, nothing is fetched.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

from crypto_agent.cms.facts import Fact, failed, unknown
from crypto_agent.cms.timestamp import TokenFacts, verify_token
from crypto_agent.cms.verify import SignedMessage, Signer
from crypto_agent.protocol import ErrorCode, ProtocolError
from crypto_agent.trust.addresses import AddressError, canonical_address
from crypto_agent.trust.certificate import Certificate, PathError
from crypto_agent.trust.identity import check_names, describe, match_address
from crypto_agent.trust.path import Budget, Path, Pool, Purpose, find_path, milliseconds
from crypto_agent.trust.revocation import (
    GOOD,
    REVOKED,
    UNKNOWN,
    Evidence,
    Status,
    check_certificate,
    check_chain,
    issuer_urls,
    source_urls,
)

SIGNERS_LIMIT: Final = 16
FUTURE_TOLERANCE: Final = dt.timedelta(hours=1)
"""Peers call a mail invalid whose signingTime is an hour off its Date; so do we ahead of time."""
CLOCK_TOLERANCE: Final = dt.timedelta(minutes=5)
"""A time stamp may be this far ahead of our clock."""

PASSED: Final = "passed"
FAILED: Final = "failed"
CANNOT_TELL: Final = "unknown"

TOKENS_LIMIT: Final = 4
"""Time stamps per signature that are looked at; two authorities are cautious, more are a load."""
ENCLOSED_LIMIT: Final = 64
"""Certificates, CRLs and OCSP responses of a message, each. Chains have 2 to 4 certificates."""

_UNDECIDED: Final = frozenset(
    {
        "chain.issuer_unknown",
        "chain.self_signed",
        "chain.too_complex",
        "chain.algorithm_unknown",
    }
)
"""Reasons that say nothing against a certificate: we cannot tell. All others count against it."""


def octets(values: object) -> tuple[bytes, ...]:
    """A list of DER values from outside, or None. Raises ProtocolError (bad_request)."""
    if values is None:
        return ()
    if not isinstance(values, list | tuple) or not all(isinstance(one, bytes) for one in values):
        raise ProtocolError(ErrorCode.BAD_REQUEST, "a list of DER values")
    return tuple(values)


@dataclass(frozen=True)
class TrustMaterial:
    """What the web knows: anchors, fetched certificates and evidence, pins."""

    anchors: tuple[bytes, ...] = ()
    intermediates: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()
    ocsp: tuple[bytes, ...] = ()
    pins: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Address in comparable form to fingerprints of certificates that the user accepted for it."""

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any] | None) -> TrustMaterial:
        """Plain values as they cross the border; absent keys are empty.

        Raises ProtocolError (bad_request).
        """
        payload = payload or {}
        pins = payload.get("pins") or {}
        if not isinstance(pins, dict):
            raise ProtocolError(ErrorCode.BAD_REQUEST, "pins")
        return cls(
            anchors=octets(payload.get("anchors")),
            intermediates=octets(payload.get("intermediates")),
            crls=octets(payload.get("crls")),
            ocsp=octets(payload.get("ocsp")),
            pins={
                str(address): frozenset(str(one).lower() for one in fingerprints)
                for address, fingerprints in pins.items()
            },
        )

    def pinned(self, address: str, fingerprint: str) -> bool:
        return fingerprint in self.pins.get(address, frozenset())


@dataclass(frozen=True)
class TimeVerdict:
    """When the signature existed, as far as can be told."""

    fact: Fact
    proven: int | None = None
    tsa: str = ""
    claimed: int | None = None
    received: int | None = None

    def to_plain(self) -> dict[str, Any]:
        return {
            "proven": self.proven,
            "tsa": self.tsa,
            "fact": self.fact.to_dict(),
            "claimed": self.claimed,
            "received": self.received,
        }


@dataclass(frozen=True)
class Verdict:
    """One signer judged, or the absence of one. The state is computed, never set."""

    digest: Fact
    signature: Fact
    chain: Fact
    address: Fact
    root: Fact
    time: TimeVerdict
    signer: dict[str, Any] | None
    revocation: str
    urls: tuple[str, ...] = ()
    """Where missing evidence and issuers could be fetched."""

    @property
    def facts(self) -> dict[str, Fact]:
        return {
            "digest": self.digest,
            "signature": self.signature,
            "chain": self.chain,
            "address": self.address,
            "root": self.root,
        }

    @property
    def state(self) -> str:
        """``verified``, ``unverified``, ``failed`` or ``unsigned``."""
        if self.digest.code == "signature.none" or self.root.result != PASSED:
            return "unsigned"
        results = {fact.result for fact in self.facts.values()}
        if FAILED in results or self.revocation == REVOKED:
            return "failed"
        if results == {PASSED} and self.revocation == GOOD:
            return "verified"
        return "unverified"

    def to_plain(
        self, *, encryption: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """The verdict as it crosses the border (``docs/agent-protocol.md``)."""
        return {
            "state": self.state,
            "facts": {name: fact.to_dict() for name, fact in self.facts.items()},
            "signer": self.signer,
            "time": self.time.to_plain(),
            "encryption": dict(encryption),
            "revocation": self.revocation,
            "layers": [dict(layer) for layer in layers],
            "urls": list(self.urls),
        }


NOT_ENCRYPTED: Final[Mapping[str, Any]] = {
    "encrypted": False,
    "authenticated": False,
    "algorithm": "",
    "key_transport": "",
    "weak": False,
}


# --------------------------------------------------------------------------- the judgement


def judge(
    message: SignedMessage | None,
    *,
    from_addresses: Sequence[str],
    root: bool,
    trust: TrustMaterial,
    now: int,
    received: int | None = None,
    encryption: Mapping[str, Any] | None = None,
    layers: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The verdict over a message, as plain values.

    ``message``: what :func:`crypto_agent.cms.verify.verify` found, or None when nothing is signed.
    ``from_addresses``: every address of the protected From (one is expected); ``root``: whether the
    signed part is the root cryptographic payload; ``now``, ``received``: ms since the epoch, the
    latter when our own mail server took the message in. Raises nothing: what cannot be read is
    reported as a fact.
    """
    verdict = judge_message(
        message,
        from_addresses=from_addresses,
        root=root,
        trust=trust,
        now=now,
        received=received,
    )
    return verdict.to_plain(
        encryption=NOT_ENCRYPTED if encryption is None else encryption, layers=layers
    )


def judge_message(
    message: SignedMessage | None,
    *,
    from_addresses: Sequence[str],
    root: bool,
    trust: TrustMaterial,
    now: int,
    received: int | None,
) -> Verdict:
    """As :func:`judge`, typed. With several signers: the one who is From, never better than the
    worst of the others."""
    if message is None or not message.signers:
        return unsigned(received=received)
    signers = message.signers
    judgement = _Judgement(
        from_addresses=tuple(from_addresses),
        root=root,
        trust=trust,
        now=_moment(now),
        received=None if received is None else min(_moment(received), _moment(now)),
        certificates=message.certificates,
        crls=message.crls,
        ocsp=message.ocsp,
        budget=Budget(),
    )
    if len(signers) > SIGNERS_LIMIT:
        return replace(judgement.signer(signers[0]), chain=Fact(CANNOT_TELL, "chain.too_complex"))
    verdicts = [judgement.signer(one) for one in signers]
    chosen = next((one for one in verdicts if one.address.result == PASSED), verdicts[0])
    others = [one for one in verdicts if one is not chosen]
    if chosen.signature.result == PASSED and any(
        FAILED in (one.digest.result, one.signature.result, one.chain.result) for one in others
    ):
        return replace(chosen, signature=Fact(CANNOT_TELL, "signature.other_signer_bad"))
    return chosen


def unsigned(*, received: int | None = None) -> Verdict:
    """The verdict over a message that nobody signed."""
    nothing = Fact(CANNOT_TELL, "signature.none")
    return Verdict(
        digest=nothing,
        signature=nothing,
        chain=nothing,
        address=nothing,
        root=nothing,
        time=TimeVerdict(Fact(CANNOT_TELL, "time.none"), received=received),
        signer=None,
        revocation=UNKNOWN,
    )


def _moment(at: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(at / 1000, dt.UTC)


def _milliseconds(moment: dt.datetime | None) -> int | None:
    return None if moment is None else milliseconds(moment)


@dataclass
class _Judgement:
    """What is the same for all signers of a message."""

    from_addresses: tuple[str, ...]
    root: bool
    trust: TrustMaterial
    now: dt.datetime
    received: dt.datetime | None
    certificates: tuple[bytes, ...]
    crls: tuple[bytes, ...]
    ocsp: tuple[bytes, ...]
    budget: Budget
    purpose: Purpose = Purpose.SIGN

    @cached_property
    def pool(self) -> Pool:
        """Raises PathError (``chain.too_complex``)."""
        return self._pool(self.trust.anchors)

    def _pool(self, anchors: tuple[bytes, ...], *more: bytes) -> Pool:
        enclosed = dict.fromkeys((*self.certificates, *more))
        if len(enclosed) > ENCLOSED_LIMIT:
            raise PathError("chain.too_complex")
        return Pool(anchors=anchors, intermediates=(*self.trust.intermediates, *enclosed))

    @cached_property
    def evidence(self) -> Evidence:
        return Evidence(
            crls=(*self.trust.crls, *self.crls[:ENCLOSED_LIMIT]),
            ocsp_responses=(*self.trust.ocsp, *self.ocsp[:ENCLOSED_LIMIT]),
        )

    def signer(self, facts: Signer) -> Verdict:
        # 1. The time: of the stamp, else of arrival, else now.
        time, stamper = self._time(facts)
        at = _moment(time.proven) if time.proven is not None else (self.received or self.now)
        # 2. The certificate itself.
        root = Fact(PASSED, "root.whole") if self.root else Fact(FAILED, "root.partial")
        signature = self._signature(facts, at)
        try:
            if facts.certificate is None:
                raise PathError("certificate.missing")
            certificate = Certificate(facts.certificate)
            check_names(certificate)
            address = self._address(certificate)
        except PathError as error:
            missing = error.code == "certificate.missing"
            fact = Fact(CANNOT_TELL if missing else FAILED, error.code, error.params)
            return Verdict(
                facts.digest,
                signature,
                fact,
                fact,
                root,
                time,
                signer=None,
                revocation=UNKNOWN,
            )
        # 3. Its chain and revocation at that time.
        chain, path, revocation = self._chain(certificate, address, at)
        return Verdict(
            digest=facts.digest,
            signature=signature,
            chain=chain,
            address=address,
            root=root,
            time=time,
            signer=describe(certificate, path),
            revocation=revocation,
            urls=self._urls(certificate, path, stamper),
        )

    # -- time

    def _time(self, facts: Signer) -> tuple[TimeVerdict, Certificate | None]:
        """The first token that proves a time, else what is wrong with the first; and its TSA."""
        bare = TimeVerdict(
            Fact(CANNOT_TELL, "time.none"),
            claimed=facts.signing_time,
            received=_milliseconds(self.received),
        )
        answers = [
            self._token(verify_token(token, imprint=facts.imprint), bare)
            for token in facts.tokens[:TOKENS_LIMIT]
        ]
        if not answers:
            return bare, None
        return next((one for one in answers if one[0].proven is not None), answers[0])

    def _token(
        self, token: TokenFacts, bare: TimeVerdict
    ) -> tuple[TimeVerdict, Certificate | None]:
        if not token.fact.passed or token.gen_time is None or token.certificate is None:
            return replace(bare, fact=token.fact), None
        at = _moment(token.gen_time)
        tsa = ""
        stamper: Certificate | None = None
        try:
            stamper = Certificate(token.certificate)
            tsa = stamper.display
            if at > self.now + CLOCK_TOLERANCE:
                raise PathError("time.future", {"time": token.gen_time})
            path = find_path(
                stamper,
                self._pool(self.trust.anchors, *token.certificates),
                at=at,
                purpose=Purpose.TIMESTAMP,
                budget=self.budget,
            )
        except PathError as error:
            answer = unknown if error.code in _UNDECIDED else failed
            code = error.code if error.code == "time.future" else "time.untrusted"
            params = {**error.params, "reason": error.code, "tsa": tsa}
            return replace(bare, tsa=tsa, fact=answer(code, **params)), stamper
        status = check_chain(path, self.evidence, at=at, now=self.now, budget=self.budget)
        params = {"reason": status.code, "tsa": tsa, "time": token.gen_time}
        if status.state == REVOKED:
            return replace(bare, tsa=tsa, fact=Fact(FAILED, "time.revoked", params)), stamper
        if status.state == UNKNOWN:
            # A stolen TSA key could date anything: without news of it the stamp proves nothing.
            fact = Fact(CANNOT_TELL, "time.revocation_unknown", params)
            return replace(bare, tsa=tsa, fact=fact), stamper
        fact = Fact(PASSED, "time.proven", {"tsa": tsa, "time": token.gen_time})
        return replace(bare, tsa=tsa, proven=token.gen_time, fact=fact), stamper

    def _signature(self, facts: Signer, at: dt.datetime) -> Fact:
        claimed = facts.signing_time
        if (
            facts.signature.passed
            and claimed is not None
            and claimed > milliseconds(at + FUTURE_TOLERANCE)
        ):
            # Made, by its own words, after it was already here: the signer's clock or a trick.
            params = {"claimed": claimed, "known": milliseconds(at)}
            return Fact(CANNOT_TELL, "signature.time_in_future", params)
        return facts.signature

    # -- address

    def _address(self, certificate: Certificate) -> Fact:
        if not self.from_addresses:
            return Fact(FAILED, "address.no_from")
        if len(self.from_addresses) > 1:
            # which of them a reader sees is up to the program: no single sender, no green
            return Fact(FAILED, "address.several_from", {"count": len(self.from_addresses)})
        return match_address(certificate, self.from_addresses[0])

    def _sender(self) -> str:
        """The address under which pins are kept; empty when there is not exactly one."""
        if len(self.from_addresses) != 1:
            return ""
        try:
            return canonical_address(self.from_addresses[0])
        except AddressError:
            return ""

    # -- chain

    def _chain(
        self, certificate: Certificate, address: Fact, at: dt.datetime
    ) -> tuple[Fact, Path | None, str]:
        sender = self._sender() if address.result != FAILED else ""
        try:
            path, pinned = self._path(certificate, sender, at)
        except PathError as error:
            # revoked is worth knowing even where nobody we trust is involved
            return self._unproven(certificate, at, error)
        if pinned:
            status = self._status_untrusted(certificate, at)
            if status.state != REVOKED:
                status = Status(GOOD, "revocation.anchor")
        else:
            status = check_chain(path, self.evidence, at=at, now=self.now, budget=self.budget)
        if status.state == REVOKED:
            return Fact(FAILED, status.code, status.params), path, REVOKED
        if status.state == UNKNOWN:
            return Fact(CANNOT_TELL, status.code, status.params), path, UNKNOWN
        params: dict[str, Any] = {"anchor": path.anchor.display}
        if status.code == "revocation.later":
            params["revoked_at"] = status.params.get("at")
        expired = certificate.parsed.not_valid_after_utc < self.now
        if pinned:
            code = "chain.pinned"
        elif expired or status.code == "revocation.later":
            code = "chain.trusted_then"  # no longer usable, but it was when this was signed
        else:
            code = "chain.trusted"
        return Fact(PASSED, code, params), path, GOOD

    def _path(self, certificate: Certificate, sender: str, at: dt.datetime) -> tuple[Path, bool]:
        try:
            path = find_path(
                certificate, self.pool, at=at, purpose=self.purpose, budget=self.budget
            )
        except PathError as error:
            if error.code not in _UNDECIDED or not self.trust.pinned(
                sender, certificate.fingerprint
            ):
                raise
            # The user accepted this very certificate for this address: it is its own anchor.
            path = find_path(
                certificate,
                self._pool((certificate.der,)),
                at=at,
                purpose=self.purpose,
                budget=self.budget,
            )
            return path, True
        return path, len(path.certificates) == 1

    def _status_untrusted(self, certificate: Certificate, at: dt.datetime) -> Status:
        """What the certificate's own issuer says of it, whether we trust that issuer or not."""
        try:
            for issuer in self.pool.issuers_of(certificate):
                self.budget.check_signed(certificate, issuer)
                return check_certificate(
                    certificate, issuer, self.evidence, at=at, now=self.now, budget=self.budget
                )
        except PathError:
            pass
        return Status(UNKNOWN, "revocation.no_source")

    def _unproven(
        self, certificate: Certificate, at: dt.datetime, error: PathError
    ) -> tuple[Fact, Path | None, str]:
        if error.code in _UNDECIDED:
            status = self._status_untrusted(certificate, at)
            if status.state == REVOKED:
                return Fact(FAILED, status.code, status.params), None, REVOKED
            return Fact(CANNOT_TELL, error.code, error.params), None, UNKNOWN
        return Fact(FAILED, error.code, error.params), None, UNKNOWN

    # -- what to fetch

    def _urls(
        self, certificate: Certificate, path: Path | None, stamper: Certificate | None
    ) -> tuple[str, ...]:
        urls: dict[str, None] = {}
        if path is not None:
            for subject, _ in path.issuers():
                urls.update(dict.fromkeys(source_urls(subject)))
        else:
            urls.update(dict.fromkeys(issuer_urls(certificate)))
            urls.update(dict.fromkeys(source_urls(certificate)))
        if stamper is not None:
            urls.update(dict.fromkeys((*source_urls(stamper), *issuer_urls(stamper))))
        return tuple(urls)[:16]


# --------------------------------------------------------------------------- a certificate alone


def judge_certificate(
    der: bytes,
    *,
    chain: Sequence[bytes],
    trust: TrustMaterial,
    address: str | None,
    purpose: str,
    now: int,
) -> dict[str, Any]:
    """Whether a certificate may be used now, to ``sign`` or to ``encrypt`` to ``address``.

    ``{"usable", "facts": {"chain": F, "address": F}, "signer": S | None, "revocation", "urls"}``.
    Usable means: trusted (or accepted by the user for this address), fitting, and not revoked.
    An unknown revocation state does not make it unusable: refusing to encrypt would send the mail
    in clear; the fact says so. Raises nothing.
    """
    judgement = _Judgement(
        from_addresses=() if address is None else (address,),
        root=True,
        trust=trust,
        now=_moment(now),
        received=None,
        certificates=tuple(chain),
        crls=(),
        ocsp=(),
        budget=Budget(),
        purpose=Purpose.ENCRYPT if purpose == "encrypt" else Purpose.SIGN,
    )
    try:
        certificate = Certificate(der)
        check_names(certificate)
        if address is None:
            matched = Fact(PASSED, "address.not_asked")
        else:
            matched = judgement._address(certificate)
    except PathError as error:
        broken = Fact(FAILED, error.code, error.params).to_dict()
        return {
            "usable": False,
            "facts": {"chain": broken, "address": broken},
            "signer": None,
            "revocation": UNKNOWN,
            "urls": [],
        }
    chain_fact, path, revocation = judgement._chain(certificate, matched, judgement.now)
    accepted = trust.pinned(judgement._sender(), certificate.fingerprint)
    return {
        "usable": (
            path is not None
            and revocation != REVOKED
            and (matched.result == PASSED or (accepted and matched.result != FAILED))
        ),
        "facts": {"chain": chain_fact.to_dict(), "address": matched.to_dict()},
        "signer": describe(certificate, path),
        "revocation": revocation,
        "urls": list(judgement._urls(certificate, path, None)),
    }
