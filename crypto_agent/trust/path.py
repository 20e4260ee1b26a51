"""From a certificate to an anchor: every candidate path, each checked as of a given time.

Pure: certificates, time and purpose in; a :class:`Path` out, or a :class:`PathError` with the one
reason that a person can act upon. No clock, no fetching, no memory beyond one call.

Why not ``cryptography.x509.verification``: it returns one chain and one line of text, knows
neither S/MIME purposes nor policies, refuses brainpool, accepts RSA-1024 leaves. The tests hold the
results here against it and against openssl.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x448, x25519
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from crypto_agent.trust import der as tlv
from crypto_agent.trust.certificate import NO_REV_AVAIL, Certificate, PathError
from crypto_agent.trust.constraints import check_constraints, names_of
from crypto_agent.trust.strength import (
    UnknownAlgorithm,
    WeakKey,
    check_hash,
    check_key,
    verify_signature,
)

__all__ = [
    "Budget",
    "Certificate",
    "Path",
    "PathError",
    "Pool",
    "Purpose",
    "check_leaf",
    "check_path",
    "find_path",
]

CERTIFICATES_LIMIT: Final = 400
"""Untrusted certificates: those of one message (64, see the verdict) and those we fetched."""
ANCHORS_LIMIT: Final = 1_000
PATH_LIMIT: Final = 8
"""Certificates in a path, leaf and anchor included; public S/MIME chains have 3 or 4."""
SIGNATURES_LIMIT: Final = 200
"""Signature checks per message: cross-certified meshes make paths grow exponentially."""
PATHS_LIMIT: Final = 64
"""Complete paths examined before we stop looking for a good one."""


class Purpose(StrEnum):
    """What the leaf is to be used for."""

    SIGN = "sign"
    ENCRYPT = "encrypt"
    TIMESTAMP = "timestamp"


_EXTENDED_USAGE: Final = {
    Purpose.SIGN: ExtendedKeyUsageOID.EMAIL_PROTECTION,
    Purpose.ENCRYPT: ExtendedKeyUsageOID.EMAIL_PROTECTION,
    Purpose.TIMESTAMP: ExtendedKeyUsageOID.TIME_STAMPING,
}

UNDERSTOOD: Final = frozenset(
    {
        ExtensionOID.KEY_USAGE.dotted_string,
        ExtensionOID.BASIC_CONSTRAINTS.dotted_string,
        ExtensionOID.EXTENDED_KEY_USAGE.dotted_string,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME.dotted_string,
        ExtensionOID.ISSUER_ALTERNATIVE_NAME.dotted_string,
        ExtensionOID.NAME_CONSTRAINTS.dotted_string,
        ExtensionOID.CERTIFICATE_POLICIES.dotted_string,
        ExtensionOID.POLICY_CONSTRAINTS.dotted_string,
        ExtensionOID.POLICY_MAPPINGS.dotted_string,
        ExtensionOID.INHIBIT_ANY_POLICY.dotted_string,
        ExtensionOID.CRL_DISTRIBUTION_POINTS.dotted_string,
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS.dotted_string,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER.dotted_string,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER.dotted_string,
        ExtensionOID.OCSP_NO_CHECK.dotted_string,
        NO_REV_AVAIL,
    }
)
"""Extensions we process; any other one that is critical refuses its certificate (RFC 5280 §4.2)."""

ANY_POLICY: Final = "2.5.29.32.0"


# --------------------------------------------------------------------------- one call's memory


@dataclass
class Budget:
    """What one message may cost, and what it has already learnt: no signature is checked twice."""

    signatures: int = SIGNATURES_LIMIT
    _known: dict[tuple[bytes, bytes], str] = field(default_factory=dict, repr=False)

    def spend(self) -> None:
        """Raises PathError (``chain.too_complex``) when nothing is left."""
        if self.signatures <= 0:
            raise PathError("chain.too_complex")
        self.signatures -= 1

    def check_signed(self, child: Certificate, issuer: Certificate) -> None:
        """``issuer``'s key signed ``child``. Raises PathError.

        Codes: ``chain.signature``, ``chain.algorithm_unknown``, ``chain.too_complex``.
        """
        pair = (child.der, issuer.spki_der)
        known = self._known.get(pair)
        if known is None:
            known = self._check(child, issuer)
            self._known[pair] = known
        if known:
            raise PathError(known, child.named())

    def _check(self, child: Certificate, issuer: Certificate) -> str:
        self.spend()
        try:
            parsed = child.parsed
            verify_signature(
                issuer.public_key,
                parsed.signature,
                parsed.tbs_certificate_bytes,
                parsed.signature_algorithm_oid,
                parsed.signature_hash_algorithm,
                parsed.signature_algorithm_parameters,
            )
        except InvalidSignature:
            return "chain.signature"
        except PathError as error:
            return error.code
        except (UnknownAlgorithm, UnsupportedAlgorithm):
            return "chain.algorithm_unknown"
        except (ValueError, TypeError):  # parameters that pyca cannot read
            return "chain.algorithm_unknown"
        return ""


@dataclass(frozen=True)
class Path:
    """A checked path. ``certificates``: leaf first, anchor last (the same one when pinned)."""

    certificates: tuple[Certificate, ...]
    policies: frozenset[str]
    """Policies of the leaf that every CA on the path allows it."""

    @property
    def leaf(self) -> Certificate:
        return self.certificates[0]

    @property
    def anchor(self) -> Certificate:
        return self.certificates[-1]

    def issuers(self) -> Iterator[tuple[Certificate, Certificate]]:
        """``(certificate, its issuer)`` from the leaf up to the anchor's child."""
        yield from zip(self.certificates, self.certificates[1:], strict=False)


class Pool:
    """Anchors and untrusted intermediates, ready to be asked for issuers.

    Damaged certificates of others are skipped: a broken one in the bag must not spoil a good path.
    Raises PathError (``chain.too_complex``) above the limits.
    """

    def __init__(self, *, anchors: Iterable[bytes], intermediates: Iterable[bytes]) -> None:
        self.anchors = self._read(anchors, ANCHORS_LIMIT)
        self.anchor_ders = {anchor.der for anchor in self.anchors}
        others = self._read(intermediates, CERTIFICATES_LIMIT)
        self.intermediates = [one for one in others if one.der not in self.anchor_ders]
        self._by_subject: defaultdict[bytes, list[Certificate]] = defaultdict(list)
        for certificate in (*self.anchors, *self.intermediates):  # anchors first: shortest paths
            self._by_subject[certificate.subject_name].append(certificate)

    @staticmethod
    def _read(ders: Iterable[bytes], limit: int) -> list[Certificate]:
        found: dict[bytes, Certificate] = {}
        for der in ders:
            if der in found:
                continue
            if len(found) >= limit:
                raise PathError("chain.too_complex")
            try:
                found[der] = Certificate(der)
            except PathError:
                continue
        return list(found.values())

    def is_anchor(self, certificate: Certificate) -> bool:
        return certificate.der in self.anchor_ders

    def issuers_of(self, certificate: Certificate) -> list[Certificate]:
        """Candidates by name; those whose key identifier fits come first (RFC 4158 §3.5.15)."""
        candidates = self._by_subject.get(certificate.issuer_name, [])
        if len(candidates) < 2:
            return candidates

        def rank(candidate: Certificate) -> int:
            try:
                wanted, offered = certificate.authority_key, candidate.subject_key
            except PathError:
                return 3
            if wanted is None or offered is None:
                return 1
            return 0 if wanted == offered else 2

        return sorted(candidates, key=rank)  # stable: anchors stay first among equals


# --------------------------------------------------------------------------- one certificate


def _check_validity(certificate: Certificate, at: dt.datetime) -> None:
    parsed = certificate.parsed
    not_before, not_after = parsed.not_valid_before_utc, parsed.not_valid_after_utc
    if at < not_before:
        raise PathError(
            "chain.not_yet_valid", certificate.named(not_before=milliseconds(not_before))
        )
    if at > not_after:
        raise PathError("chain.expired", certificate.named(not_after=milliseconds(not_after)))


def milliseconds(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)


def _check_strength(certificate: Certificate, *, anchor: bool = False) -> None:
    try:
        check_key(certificate.public_key)
        digest = None if anchor else certificate.parsed.signature_hash_algorithm
        if digest is not None:  # an anchor is trusted as it stands: its own signature says nothing
            check_hash(digest.name)
    except WeakKey as error:
        raise PathError(error.code, certificate.named(**error.params)) from error
    except UnsupportedAlgorithm as error:
        raise PathError("chain.algorithm_unknown", certificate.named()) from error


def _check_critical(certificate: Certificate) -> None:
    for extension in certificate.extensions:
        if extension.critical and extension.oid.dotted_string not in UNDERSTOOD:
            raise PathError(
                "chain.unknown_critical", certificate.named(oid=extension.oid.dotted_string)
            )


def _check_leaf_usage(leaf: Certificate, purpose: Purpose) -> None:
    usage = leaf.extension(x509.KeyUsage)
    extended = leaf.find(x509.ExtendedKeyUsage)
    if purpose is Purpose.TIMESTAMP:
        # RFC 3161 §2.3: exactly timeStamping, and critical
        if (
            extended is None
            or not extended.critical
            or list(extended.value) != [ExtendedKeyUsageOID.TIME_STAMPING]
        ):
            raise PathError("chain.wrong_usage", leaf.named(purpose=purpose.value))
    elif extended is not None and not (
        # RFC 8550 §4.4.4: emailProtection or anyExtendedKeyUsage, or no extension at all
        set(extended.value)
        & {ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    ):
        raise PathError("chain.wrong_usage", leaf.named(purpose=purpose.value))
    if purpose is Purpose.ENCRYPT:
        key = leaf.public_key
        agreement = isinstance(
            key, ec.EllipticCurvePublicKey | x25519.X25519PublicKey | x448.X448PublicKey
        )
        transport = isinstance(key, rsa.RSAPublicKey) or "MLKEM" in type(key).__name__
        fits = usage is None or (
            # RFC 8550 §4.4.2: keyEncipherment; RFC 5753 §7.1: keyAgreement for EC keys
            (agreement and usage.key_agreement) or (transport and usage.key_encipherment)
        )
        if not (agreement or transport) or not fits:
            raise PathError("chain.wrong_key_usage", leaf.named(purpose=purpose.value))
    elif usage is not None and not (usage.digital_signature or usage.content_commitment):
        # RFC 8550 §4.4.2: digitalSignature or nonRepudiation
        raise PathError("chain.wrong_key_usage", leaf.named(purpose=purpose.value))


def check_leaf(leaf: Certificate, *, at: dt.datetime, purpose: Purpose) -> None:
    """All that a certificate shows by itself, whoever issued it. Raises PathError."""
    _check_strength(leaf)
    _check_critical(leaf)
    _check_leaf_usage(leaf, purpose)
    _check_validity(leaf, at)


def _check_authority(
    certificate: Certificate, *, below: int, at: dt.datetime, purpose: Purpose, anchor: bool
) -> None:
    """A CA of the path; ``below``: how many CAs stand between it and the leaf, not self-issued."""
    _check_strength(certificate, anchor=anchor)
    _check_critical(certificate)
    constraints = certificate.extension(x509.BasicConstraints)
    if constraints is None:
        # A version 1 root has no extensions at all; chosen as anchor by a person, it may serve.
        if not (anchor and certificate.parsed.version is x509.Version.v1):
            raise PathError("chain.not_a_ca", certificate.named())
    elif not constraints.ca:
        raise PathError("chain.not_a_ca", certificate.named())
    elif constraints.path_length is not None and below > constraints.path_length:
        raise PathError("chain.path_length", certificate.named(limit=constraints.path_length))
    usage = certificate.extension(x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise PathError("chain.not_a_ca", certificate.named())
    extended = certificate.extension(x509.ExtendedKeyUsage)
    if extended is not None and not (
        set(extended) & {_EXTENDED_USAGE[purpose], ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    ):
        # Usages nest: a CA for web servers must not vouch for mail, whatever its children say.
        raise PathError("chain.wrong_issuer_usage", certificate.named(purpose=purpose.value))
    _check_validity(certificate, at)


# --------------------------------------------------------------------------- policies


@dataclass
class _Policies:
    """RFC 5280 §6.1 with RFC 9618's flat form: a set instead of a tree that can blow up."""

    certificates: int
    allowed: set[str] = field(default_factory=set)
    any_allowed: bool = True
    explicit: int = 0
    mapping: int = 0
    inhibit_any: int = 0

    def __post_init__(self) -> None:
        self.explicit = self.mapping = self.inhibit_any = self.certificates + 1

    def take(self, certificate: Certificate, *, last: bool) -> None:
        """§6.1.3 (d) to (f)."""
        own = set(certificate.policies)
        any_counts = ANY_POLICY in own and (
            self.inhibit_any > 0 or (not last and certificate.self_issued)
        )
        own.discard(ANY_POLICY)
        named = own if self.any_allowed else own & self.allowed
        if any_counts:
            named = named | self.allowed
        self.any_allowed = self.any_allowed and any_counts
        self.allowed = named
        self.check(certificate)

    def check(self, certificate: Certificate) -> None:
        if self.explicit <= 0 and not self.allowed and not self.any_allowed:
            raise PathError("chain.policy", certificate.named())

    def pass_on(self, certificate: Certificate) -> None:
        """§6.1.4 (a) to (j), between two certificates."""
        for issuer_policy, subject_policy in _mappings(certificate):
            if ANY_POLICY in (issuer_policy, subject_policy):  # (a)
                raise PathError("chain.policy", certificate.named())
            mapped = self.any_allowed or issuer_policy in self.allowed
            self.allowed.discard(issuer_policy)
            if mapped and self.mapping > 0:  # (b) (1); (b) (2) is the discard alone
                self.allowed.add(subject_policy)
        if not certificate.self_issued:
            self.explicit -= 1
            self.mapping -= 1
            self.inhibit_any -= 1
        self._tighten(certificate)

    def _tighten(self, certificate: Certificate) -> None:
        constraints = certificate.extension(x509.PolicyConstraints)
        if constraints is not None:
            if constraints.require_explicit_policy is not None:
                self.explicit = min(self.explicit, constraints.require_explicit_policy)
            if constraints.inhibit_policy_mapping is not None:
                self.mapping = min(self.mapping, constraints.inhibit_policy_mapping)
        inhibit = certificate.extension(x509.InhibitAnyPolicy)
        if inhibit is not None:
            self.inhibit_any = min(self.inhibit_any, inhibit.skip_certs)

    def finish(self, leaf: Certificate) -> frozenset[str]:
        """§6.1.5 (a), (b), (g): the policies that the leaf may claim."""
        self.explicit -= 1
        constraints = leaf.extension(x509.PolicyConstraints)
        if constraints is not None and constraints.require_explicit_policy == 0:
            self.explicit = 0
        self.check(leaf)
        # what the leaf names itself: anyPolicy in a leaf is no claim
        return frozenset(self.allowed & set(leaf.policies))


def _mappings(certificate: Certificate) -> list[tuple[str, str]]:
    """RFC 5280 §4.2.1.5, which pyca leaves unparsed. Raises PathError (``certificate.damaged``)."""
    for extension in certificate.extensions:
        if extension.oid == ExtensionOID.POLICY_MAPPINGS and isinstance(
            extension.value, x509.UnrecognizedExtension
        ):
            try:
                return _read_mappings(extension.value.value)
            except tlv.DerError as error:
                raise PathError("certificate.damaged", certificate.named()) from error
    return []


def _read_mappings(value: bytes) -> list[tuple[str, str]]:
    _, body, after = tlv.read(value, 0, len(value))
    found = []
    for _, _, pair_body, pair_after in tlv.elements(value, body, after):
        pair = tlv.elements(value, pair_body, pair_after)
        if len(pair) != 2:
            raise tlv.DerError("policyMappings")
        (_, _, one, one_end), (_, _, two, two_end) = pair
        found.append((tlv.dotted(value[one:one_end]), tlv.dotted(value[two:two_end])))
    return found


# --------------------------------------------------------------------------- whole paths


def check_path(certificates: Sequence[Certificate], *, at: dt.datetime, purpose: Purpose) -> Path:
    """Check a chain whose signatures hold: leaf first, anchor last. Raises PathError.

    RFC 5280 §6.1, from the anchor down, so that the reason named is the one nearest to the top.
    """
    leaf, anchor = certificates[0], certificates[-1]
    if len(certificates) == 1:
        # chosen by a person as it stands; nobody above it says anything about it
        check_leaf(leaf, at=at, purpose=purpose)
        return Path((leaf,), frozenset())
    constraints: list[tuple[Certificate, x509.NameConstraints]] = []
    policies = _Policies(len(certificates) - 1)
    for position in range(len(certificates) - 1, 0, -1):
        certificate = certificates[position]
        below = sum(1 for one in certificates[1:position] if not one.self_issued)
        _check_authority(
            certificate, below=below, at=at, purpose=purpose, anchor=certificate is anchor
        )
        if certificate is not anchor:
            policies.take(certificate, last=False)
            if not certificate.self_issued:  # §6.1.3 (b): exempt unless it is the last one
                check_constraints(constraints, certificate, names_of(certificate))
            policies.pass_on(certificate)
        own = certificate.extension(x509.NameConstraints)
        if own is not None:
            constraints.append((certificate, own))
    check_leaf(leaf, at=at, purpose=purpose)
    policies.take(leaf, last=True)
    if constraints:
        check_constraints(constraints, leaf, names_of(leaf))
    return Path(tuple(certificates), policies.finish(leaf))


def candidate_chains(
    leaf: Certificate, pool: Pool, budget: Budget
) -> Iterator[tuple[Certificate, ...]]:
    """Every chain of good signatures from ``leaf`` to an anchor, shortest first among neighbours.

    Depth first. Raises PathError (``chain.too_complex``) when the budget is spent.
    """
    stack: list[tuple[Certificate, ...]] = [(leaf,)]
    while stack:
        chain = stack.pop()
        tip = chain[-1]
        if pool.is_anchor(tip):
            yield chain
            continue  # what stands above an anchor adds nothing
        if len(chain) >= PATH_LIMIT:
            continue
        used = {(one.subject_name, one.spki_der) for one in chain}
        extensions = []
        for issuer in pool.issuers_of(tip):
            # RFC 4158 §2.4.2: the same name and key twice is a loop, whatever the certificates
            if (issuer.subject_name, issuer.spki_der) in used:
                continue
            try:
                budget.check_signed(tip, issuer)
            except PathError as error:
                if error.code == "chain.too_complex":
                    raise
                continue
            extensions.append((*chain, issuer))
        stack.extend(reversed(extensions))


def find_path(
    leaf: Certificate,
    pool: Pool,
    *,
    at: dt.datetime,
    purpose: Purpose,
    budget: Budget | None = None,
) -> Path:
    """The first good path of all candidates, valid at ``at`` (aware datetime). Raises PathError.

    When several paths fail, the reason of the first is given: it is the one with the best fitting
    keys. ``chain.issuer_unknown`` and ``chain.self_signed`` mean that nobody we trust is involved,
    ``chain.too_complex`` and ``chain.algorithm_unknown`` that we cannot tell.
    """
    budget = budget or Budget()
    check_leaf(leaf, at=at, purpose=purpose)
    reasons: list[PathError] = []
    for chain in candidate_chains(leaf, pool, budget):
        try:
            return check_path(chain, at=at, purpose=purpose)
        except PathError as error:
            reasons.append(error)
            if len(reasons) >= PATHS_LIMIT:
                raise PathError("chain.too_complex") from error
    if reasons:
        raise reasons[0]
    raise _why_no_chain(leaf, pool, budget)


def _why_no_chain(leaf: Certificate, pool: Pool, budget: Budget) -> PathError:
    """No chain reached an anchor: walk up once more to say what is missing."""
    if leaf.self_issued:
        try:
            budget.check_signed(leaf, leaf)
        except PathError:
            pass
        else:
            return PathError("chain.self_signed", leaf.named())
    tip, seen = leaf, {leaf.der}
    while True:
        candidates = [one for one in pool.issuers_of(tip) if one.der not in seen]
        reasons: list[PathError] = []
        for issuer in candidates:
            try:
                budget.check_signed(tip, issuer)
            except PathError as error:
                reasons.append(error)
                continue
            tip = issuer
            break
        else:
            break
        seen.add(tip.der)
    for reason in reasons:
        if reason.code in ("chain.weak_hash", "chain.algorithm_unknown", "chain.too_complex"):
            return reason
    if reasons and _same_key_named(tip, candidates):
        return reasons[0]
    return PathError(
        "chain.issuer_unknown", {"certificate": leaf.display, "issuer": tip.issuer_display}
    )


def _same_key_named(certificate: Certificate, candidates: Sequence[Certificate]) -> bool:
    """Whether a candidate is the very key named as issuer: then a bad signature is a forgery, and
    otherwise just another CA of the same name."""
    wanted = certificate.authority_key
    return wanted is not None and any(wanted == one.subject_key for one in candidates)
