"""Paths: what is accepted, and each defect by its name. openssl judges the same certificates."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from pathlib import Path as File
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from crypto_agent.trust.der import dotted
from crypto_agent.trust.path import (
    Budget,
    Certificate,
    Path,
    PathError,
    Pool,
    Purpose,
    find_path,
)
from crypto_agent.trust.strength import WeakKey, check_key
from tests.trust.conftest import Pki
from tests.trust.pki import (
    DAY,
    EMAIL,
    NOW,
    SERVER,
    Entity,
    name,
    new_intermediate,
    new_key,
    new_root,
    openssl_verify,
    rsa_key,
    signed_with_sha1,
    smtp_utf8,
    usage,
)


def path_of(
    leaf: Entity,
    *intermediates: Entity,
    anchors: Sequence[Entity],
    at: dt.datetime = NOW,
    purpose: Purpose = Purpose.SIGN,
    budget: Budget | None = None,
) -> Path:
    pool = Pool(
        anchors=[one.der for one in anchors], intermediates=[one.der for one in intermediates]
    )
    return find_path(Certificate(leaf.der), pool, at=at, purpose=purpose, budget=budget)


def reason(*arguments: Any, **options: Any) -> str:
    with pytest.raises(PathError) as refused:
        path_of(*arguments, **options)
    return refused.value.code


# --------------------------------------------------------------------------- accepted


def test_bobs_certificate_leads_to_the_root(pki: Pki) -> None:
    path = path_of(pki.bob, pki.issuing, anchors=[pki.root])
    assert [one.display for one in path.certificates] == [
        "Bob Builder",
        "Example Issuing",
        "Example Root",
    ]


def test_a_chain_of_three_costs_less_than_a_millisecond_and_a_half(pki: Pki) -> None:
    spans = []
    for _ in range(20):
        start = time.perf_counter()
        path_of(pki.bob, pki.issuing, anchors=[pki.root])
        spans.append(time.perf_counter() - start)
    assert min(spans) < 0.0015, f"{min(spans) * 1000:.2f} ms"


Maker = Callable[[Pki], tuple[Entity, Sequence[Entity], Sequence[Entity]]]


def _email_only_intermediate(pki: Pki) -> Any:
    issuing = new_intermediate(pki.root, "Mail CA", extended=[EMAIL])
    return issuing.person(), [issuing], [pki.root]


def _any_usage(pki: Pki) -> Any:
    return (
        pki.issuing.person(extended=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
        [pki.issuing],
        [pki.root],
    )


def _no_usages_at_all(pki: Pki) -> Any:
    return pki.issuing.person(extended=None, key_usage=None), [pki.issuing], [pki.root]


def _non_repudiation_only(pki: Pki) -> Any:
    return (
        pki.issuing.person(key_usage=usage(content_commitment=True)),
        [pki.issuing],
        [pki.root],
    )


def _anchor_is_the_issuing_ca(pki: Pki) -> Any:
    return pki.bob, [], [pki.issuing]


def _rsa(pki: Pki) -> Any:
    root = new_root("RSA Root", key=rsa_key(2048))
    return root.person(key=rsa_key(3072)), [], [root]


def _brainpool(pki: Pki) -> Any:
    root = new_root("Amt", key=ec.generate_private_key(ec.BrainpoolP256R1()))
    return root.person(), [], [root]


def _edwards(pki: Pki) -> Any:
    root = new_root("Edwards", key=ed25519.Ed25519PrivateKey.generate())
    return root.person(key=ed25519.Ed25519PrivateKey.generate()), [], [root]


def _within_name_constraints(pki: Pki) -> Any:
    issuing = new_intermediate(
        pki.root,
        "Constrained",
        extensions=[(x509.NameConstraints([x509.RFC822Name("example.test")], None), True)],
    )
    return issuing.person("bob@example.test"), [issuing], [pki.root]


def _path_length_just_enough(pki: Pki) -> Any:
    root = new_root("Short Root", path_length=1)
    issuing = new_intermediate(root, path_length=0)
    return issuing.person(), [issuing], [root]


ACCEPTED: dict[str, Maker] = {
    "emailProtection-only intermediate": _email_only_intermediate,
    "anyExtendedKeyUsage": _any_usage,
    "no usages at all": _no_usages_at_all,
    "nonRepudiation only": _non_repudiation_only,
    "RSA": _rsa,
    "brainpool": _brainpool,
    "Ed25519": _edwards,
    "within name constraints": _within_name_constraints,
    "path length just enough": _path_length_just_enough,
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_good_certificates_are_accepted_here_and_by_openssl(
    case: str, pki: Pki, tmp_path: File
) -> None:
    leaf, intermediates, anchors = ACCEPTED[case](pki)
    path_of(leaf, *intermediates, anchors=anchors)
    accepted, words = openssl_verify(
        tmp_path,
        leaf.der,
        intermediates=[one.der for one in intermediates],
        anchors=[one.der for one in anchors],
        # RFC 8550 §4.4.4 accepts anyExtendedKeyUsage; openssl's smimesign does not know it
        purpose="any" if case == "anyExtendedKeyUsage" else "smimesign",
    )
    assert accepted, words


def test_an_issuing_ca_alone_may_be_an_anchor(pki: Pki, tmp_path: File) -> None:
    leaf, intermediates, anchors = _anchor_is_the_issuing_ca(pki)
    path_of(leaf, *intermediates, anchors=anchors)
    accepted, words = openssl_verify(
        tmp_path, leaf.der, anchors=[pki.issuing.der], arguments=["-partial_chain"]
    )
    assert accepted, words


# --------------------------------------------------------------------------- refused, by name


def _expired(pki: Pki) -> Any:
    return pki.issuing.person(not_after=NOW - DAY), [pki.issuing], [pki.root]


def _not_yet_valid(pki: Pki) -> Any:
    return pki.issuing.person(not_before=NOW + DAY), [pki.issuing], [pki.root]


def _expired_intermediate(pki: Pki) -> Any:
    issuing = new_intermediate(pki.root, "Old", not_after=NOW - DAY)
    return issuing.person(), [issuing], [pki.root]


def _wrong_usage(pki: Pki) -> Any:
    return pki.issuing.person(extended=[SERVER]), [pki.issuing], [pki.root]


def _wrong_key_usage(pki: Pki) -> Any:
    return (
        pki.issuing.person(key_usage=usage(key_encipherment=True)),
        [pki.issuing],
        [pki.root],
    )


def _server_intermediate(pki: Pki) -> Any:
    issuing = new_intermediate(pki.root, "Web CA", extended=[SERVER])
    return issuing.person(), [issuing], [pki.root]


def _path_length(pki: Pki) -> Any:
    upper = new_intermediate(pki.root, "Upper", path_length=0)
    lower = new_intermediate(upper, "Lower")
    return lower.person(), [lower, upper], [pki.root]


def _name_constraint(pki: Pki) -> Any:
    issuing = new_intermediate(
        pki.root,
        "Constrained",
        extensions=[(x509.NameConstraints([x509.RFC822Name("example.test")], None), True)],
    )
    return issuing.person("mallory@bank.test"), [issuing], [pki.root]


def _excluded_name(pki: Pki) -> Any:
    issuing = new_intermediate(
        pki.root,
        "Constrained",
        extensions=[(x509.NameConstraints(None, [x509.RFC822Name(".bank.test")]), True)],
    )
    return issuing.person("mallory@mail.bank.test"), [issuing], [pki.root]


def _name_constraint_on_the_subject(pki: Pki) -> Any:
    issuing = new_intermediate(
        pki.root,
        "Constrained",
        extensions=[(x509.NameConstraints([x509.RFC822Name("example.test")], None), True)],
    )
    leaf = issuing.issue(name("Mallory", email="mallory@bank.test"))
    return leaf, [issuing], [pki.root]


def _directory_constraint(pki: Pki) -> Any:
    issuing = new_intermediate(
        pki.root,
        "Constrained",
        extensions=[
            (
                x509.NameConstraints([x509.DirectoryName(name("", organisation="Example"))], None),
                True,
            )
        ],
    )
    leaf = issuing.person(subject=name("Mallory", organisation="Bank"))
    return leaf, [issuing], [pki.root]


def _unknown_critical(pki: Pki) -> Any:
    extension = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.32473.1"), b"\x05\x00")
    return (
        pki.issuing.person(extensions=[(extension, True)]),
        [pki.issuing],
        [pki.root],
    )


def _leaf_as_issuer(pki: Pki) -> Any:
    return pki.bob.person("mallory@example.test"), [pki.bob, pki.issuing], [pki.root]


def _ca_without_cert_sign(pki: Pki) -> Any:
    issuing = new_intermediate(pki.root, "No Sign", key_usage=usage(crl_sign=True))
    return issuing.person(), [issuing], [pki.root]


def _ca_without_basic_constraints(pki: Pki) -> Any:
    issuing = new_intermediate(pki.root, "Nothing", basic=False)
    return issuing.person(), [issuing], [pki.root]


def _unknown_critical_in_a_ca(pki: Pki) -> Any:
    extension = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.32473.1"), b"\x05\x00")
    issuing = new_intermediate(pki.root, "Strange CA", extensions=[(extension, True)])
    return issuing.person(), [issuing], [pki.root]


def _no_ca_with_cert_sign(pki: Pki) -> Any:
    issuing = pki.root.issue("Almost a CA", key_usage=usage(key_cert_sign=True))
    return issuing.person(), [issuing], [pki.root]


def _name_constraint_on_a_ca(pki: Pki) -> Any:
    permitted = [x509.DirectoryName(name("", organisation="Example"))]
    root = new_root("Root", extensions=[(x509.NameConstraints(permitted, None), True)])
    issuing = new_intermediate(root, name("Issuing", organisation="Bank"))
    leaf = issuing.issue(
        name("", organisation="Example"), alternative=[x509.RFC822Name("b@a.test")]
    )
    return leaf, [issuing], [root]


def _rsa_1024(pki: Pki) -> Any:
    return pki.issuing.person(key=rsa_key(1024)), [pki.issuing], [pki.root]


def _rsa_1024_intermediate(pki: Pki) -> Any:
    issuing = new_intermediate(pki.root, "Weak", key=rsa_key(1024))
    return issuing.person(), [issuing], [pki.root]


def _sha1(pki: Pki) -> Any:
    root = new_root("RSA Root", key=rsa_key(2048))
    return signed_with_sha1(root.person(), root), [], [root]


def _requires_policy(pki: Pki) -> Any:
    issuing = new_intermediate(
        pki.root,
        "Strict",
        policies=["1.3.6.1.4.1.32473.7"],
        extensions=[(x509.PolicyConstraints(0, None), True)],
    )
    return issuing.person(), [issuing], [pki.root]


REFUSED: dict[str, tuple[str, Maker]] = {
    "expired": ("chain.expired", _expired),
    "not yet valid": ("chain.not_yet_valid", _not_yet_valid),
    "expired intermediate": ("chain.expired", _expired_intermediate),
    "wrong extended usage": ("chain.wrong_usage", _wrong_usage),
    "wrong key usage": ("chain.wrong_key_usage", _wrong_key_usage),
    "serverAuth intermediate": ("chain.wrong_issuer_usage", _server_intermediate),
    "path length": ("chain.path_length", _path_length),
    "name constraint": ("chain.name_constraint", _name_constraint),
    "excluded name": ("chain.name_constraint", _excluded_name),
    "name constraint on the subject": ("chain.name_constraint", _name_constraint_on_the_subject),
    "directory name constraint": ("chain.name_constraint", _directory_constraint),
    "unknown critical extension": ("chain.unknown_critical", _unknown_critical),
    "name constraint on a CA": ("chain.name_constraint", _name_constraint_on_a_ca),
    "unknown critical extension in a CA": ("chain.unknown_critical", _unknown_critical_in_a_ca),
    "no CA, with keyCertSign": ("chain.not_a_ca", _no_ca_with_cert_sign),
    "a person's certificate as issuer": ("chain.not_a_ca", _leaf_as_issuer),
    "CA without keyCertSign": ("chain.not_a_ca", _ca_without_cert_sign),
    "CA without basicConstraints": ("chain.not_a_ca", _ca_without_basic_constraints),
    "RSA 1024": ("chain.weak_key", _rsa_1024),
    "RSA 1024 intermediate": ("chain.weak_key", _rsa_1024_intermediate),
    "SHA-1": ("chain.weak_hash", _sha1),
    "missing policy": ("chain.policy", _requires_policy),
}


@pytest.mark.parametrize("case", REFUSED)
def test_each_defect_has_its_name_and_openssl_refuses_it_too(
    case: str, pki: Pki, tmp_path: File
) -> None:
    code, make = REFUSED[case]
    leaf, intermediates, anchors = make(pki)
    assert reason(leaf, *intermediates, anchors=anchors) == code
    accepted, words = openssl_verify(
        tmp_path,
        leaf.der,
        intermediates=[one.der for one in intermediates],
        anchors=[one.der for one in anchors],
        arguments=["-policy_check", "-x509_strict"] if "basic" in case else ["-policy_check"],
    )
    assert not accepted, words


def test_a_self_signed_certificate_is_named_so_and_is_its_own_anchor_when_chosen() -> None:
    key = new_key()
    mallory = Entity(key, None).issue(  # type: ignore[arg-type]
        "Mallory", key=key, self_signed=True, alternative=[x509.RFC822Name("m@example.test")]
    )
    other = new_root()
    assert reason(mallory, anchors=[other]) == "chain.self_signed"
    assert len(path_of(mallory, anchors=[mallory]).certificates) == 1


def test_an_unknown_root_is_named_by_the_missing_issuer(pki: Pki) -> None:
    stranger = new_root("Stranger Root")
    issuing = new_intermediate(stranger, "Stranger Issuing")
    with pytest.raises(PathError) as refused:
        path_of(issuing.person(), issuing, anchors=[pki.root])
    assert refused.value.code == "chain.issuer_unknown"
    assert refused.value.params["issuer"] == "Stranger Root"


def test_a_stranger_with_our_roots_name_is_not_our_root(pki: Pki) -> None:
    impostor = new_root("Example Root")
    leaf = impostor.person()
    assert reason(leaf, impostor, anchors=[pki.root]) == "chain.issuer_unknown"


def test_a_forged_signature_is_found(pki: Pki) -> None:
    forged = bytearray(pki.bob.der)
    forged[-1] ^= 1
    pool = Pool(anchors=[pki.root.der], intermediates=[pki.issuing.der])
    with pytest.raises(PathError) as refused:
        find_path(Certificate(bytes(forged)), pool, at=NOW, purpose=Purpose.SIGN)
    assert refused.value.code == "chain.signature"


@pytest.mark.parametrize("cut", [0, 1, 10, 200])
def test_damaged_certificates_are_damaged_not_a_crash(cut: int, pki: Pki) -> None:
    with pytest.raises(PathError) as refused:
        Certificate(pki.bob.der[:cut])
    assert refused.value.code == "certificate.damaged"


def test_a_damaged_certificate_in_the_bag_does_not_spoil_the_path(pki: Pki) -> None:
    pool = Pool(anchors=[pki.root.der], intermediates=[b"\x30\x03abc", b"", pki.issuing.der])
    find_path(Certificate(pki.bob.der), pool, at=NOW, purpose=Purpose.SIGN)


# --------------------------------------------------------------------------- time and purpose


def test_validity_is_judged_at_the_given_time(pki: Pki, tmp_path: File) -> None:
    leaf = pki.issuing.person(not_before=NOW - 50 * DAY, not_after=NOW - 10 * DAY)
    path_of(leaf, pki.issuing, anchors=[pki.root], at=NOW - 20 * DAY)
    accepted, words = openssl_verify(
        tmp_path,
        leaf.der,
        intermediates=[pki.issuing.der],
        anchors=[pki.root.der],
        at=NOW - 20 * DAY,
    )
    assert accepted, words
    assert reason(leaf, pki.issuing, anchors=[pki.root]) == "chain.expired"


def test_signing_and_encryption_are_different_purposes(pki: Pki) -> None:
    signing = pki.issuing.person(key=rsa_key(2048))
    encryption = pki.issuing.person(key=rsa_key(2048), key_usage=usage(key_encipherment=True))
    agreement = pki.issuing.person(key_usage=usage(key_agreement=True))
    for leaf in (encryption, agreement):
        path_of(leaf, pki.issuing, anchors=[pki.root], purpose=Purpose.ENCRYPT)
        assert reason(leaf, pki.issuing, anchors=[pki.root]) == "chain.wrong_key_usage"
    path_of(signing, pki.issuing, anchors=[pki.root])
    assert (
        reason(signing, pki.issuing, anchors=[pki.root], purpose=Purpose.ENCRYPT)
        == "chain.wrong_key_usage"
    )


@pytest.mark.parametrize(
    ("extended", "critical", "good"),
    [
        ([ExtendedKeyUsageOID.TIME_STAMPING], True, True),
        ([ExtendedKeyUsageOID.TIME_STAMPING], False, False),
        ([ExtendedKeyUsageOID.TIME_STAMPING, EMAIL], True, False),
        ([EMAIL], True, False),
        (None, False, False),
    ],
)
def test_a_time_stamp_certificate_is_for_nothing_else(
    extended: Any, critical: bool, good: bool, pki: Pki, tmp_path: File
) -> None:
    stamper = pki.root.issue("TSA", extended=extended, extended_critical=critical)
    if good:
        path_of(stamper, anchors=[pki.root], purpose=Purpose.TIMESTAMP)
    else:
        assert reason(stamper, anchors=[pki.root], purpose=Purpose.TIMESTAMP) == "chain.wrong_usage"
    accepted, words = openssl_verify(
        tmp_path, stamper.der, anchors=[pki.root.der], purpose="timestampsign"
    )
    assert accepted == good, words


# --------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("søren@example.test", True),
        ("søren@bank.test", False),
    ],
)
def test_name_constraints_hold_for_international_mailboxes(
    address: str, good: bool, pki: Pki
) -> None:
    issuing = new_intermediate(
        pki.root,
        "Constrained",
        extensions=[(x509.NameConstraints([x509.RFC822Name("example.test")], None), True)],
    )
    leaf = issuing.person(alternative=[smtp_utf8(address)])
    if good:
        path_of(leaf, issuing, anchors=[pki.root])
    else:
        assert reason(leaf, issuing, anchors=[pki.root]) == "chain.name_constraint"


def test_a_mailbox_constraint_never_means_an_international_mailbox(pki: Pki) -> None:
    constraint = x509.NameConstraints([x509.RFC822Name("bob@example.test")], None)
    issuing = new_intermediate(pki.root, "One Mailbox", extensions=[(constraint, True)])
    path_of(issuing.person("bob@example.test"), issuing, anchors=[pki.root])
    for leaf in (
        issuing.person("alice@example.test"),
        issuing.person(alternative=[smtp_utf8("søren@example.test")]),
        issuing.person(alternative=[smtp_utf8("bob@example.test")]),
    ):
        assert reason(leaf, issuing, anchors=[pki.root]) == "chain.name_constraint"


def test_constraints_of_a_root_bind_its_children_two_steps_down() -> None:
    constraint = x509.NameConstraints([x509.RFC822Name("example.test")], None)
    root = new_root("Constrained Root", extensions=[(constraint, True)])
    issuing = new_intermediate(root)
    path_of(issuing.person("bob@example.test"), issuing, anchors=[root])
    mallory = issuing.person("mallory@bank.test")
    assert reason(mallory, issuing, anchors=[root]) == "chain.name_constraint"


# --------------------------------------------------------------------------- many paths


def test_when_one_path_is_bad_another_one_is_found(pki: Pki) -> None:
    """The same CA key, certified twice: by a web root and by a mail root."""
    key = new_key()
    web = new_intermediate(pki.root, "Shared", key=key, extended=[SERVER])
    mail_root = new_root("Mail Root")
    mail = new_intermediate(mail_root, "Shared", key=key, extended=[EMAIL])
    leaf = mail.person()
    for bag in ((web, mail), (mail, web)):
        path = path_of(leaf, *bag, anchors=[pki.root, mail_root])
        assert path.anchor.der == mail_root.der
    assert reason(leaf, web, anchors=[pki.root, mail_root]) == "chain.wrong_issuer_usage"


def test_cross_certificates_in_a_circle_end(pki: Pki) -> None:
    one, two = new_root("One"), new_root("Two")
    one_by_two = two.issue("One", key=one.key, ca=True)
    two_by_one = one.issue("Two", key=two.key, ca=True)
    leaf = one.person()
    bag = (one_by_two, two_by_one)
    assert reason(leaf, *bag, anchors=[pki.root]) == "chain.issuer_unknown"
    assert path_of(leaf, *bag, anchors=[two]).anchor.der == two.der


def test_a_mesh_of_cross_certificates_costs_a_bounded_number_of_signature_checks(
    pki: Pki,
) -> None:
    authorities = [new_root(f"CA {number}") for number in range(7)]
    mesh = [
        issuer.issue(subject.certificate.subject, key=subject.key, ca=True)
        for issuer in authorities
        for subject in authorities
        if issuer is not subject
    ]
    budget = Budget()
    start = time.perf_counter()
    code = reason(authorities[0].person(), *mesh, anchors=[pki.root], budget=budget)
    assert code in ("chain.too_complex", "chain.issuer_unknown")
    assert budget.signatures >= 0
    assert time.perf_counter() - start < 2.0


def test_one_signature_is_never_checked_twice_in_a_call(pki: Pki) -> None:
    budget = Budget()
    path_of(pki.bob, pki.issuing, anchors=[pki.root], budget=budget)
    left = budget.signatures
    path_of(pki.bob, pki.issuing, anchors=[pki.root], budget=budget)
    assert budget.signatures == left
    assert left == Budget().signatures - 2


def test_an_empty_budget_says_that_it_cannot_tell(pki: Pki) -> None:
    budget = Budget(signatures=1)
    code = reason(pki.bob, pki.issuing, anchors=[pki.root], budget=budget)
    assert code == "chain.too_complex"


def test_a_path_of_nine_is_not_followed() -> None:
    root = new_root()
    chain = [root]
    for number in range(7):
        chain.append(new_intermediate(chain[-1], f"Level {number}"))
    short = chain[-2].person()
    path_of(short, *chain[1:], anchors=[root])
    assert reason(chain[-1].person(), *chain[1:], anchors=[root]) == "chain.issuer_unknown"


# --------------------------------------------------------------------------- a second opinion


def test_the_verifier_of_cryptography_agrees_where_it_has_an_opinion(pki: Pki) -> None:
    """Its policies for S/MIME are ours to state; brainpool, key strength, policies are not its."""
    from cryptography.x509.verification import (
        Criticality,
        ExtensionPolicy,
        PolicyBuilder,
        Store,
        VerificationError,
    )

    allowed = {EMAIL, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}

    def mail_usage(_policy: Any, _certificate: Any, usage: x509.ExtendedKeyUsage | None) -> None:
        if usage is not None and not set(usage) & allowed:
            raise ValueError("not for mail")

    def is_ca(_policy: Any, _certificate: Any, basic: x509.BasicConstraints) -> None:
        if not basic.ca:
            raise ValueError("not a CA")

    ca_policy = (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, is_ca)
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, mail_usage)
    )
    ee_policy = ExtensionPolicy.permit_all().may_be_present(
        x509.ExtendedKeyUsage, Criticality.AGNOSTIC, mail_usage
    )
    no_opinion = {
        "wrong key usage",
        "RSA 1024",
        "RSA 1024 intermediate",
        "missing policy",
        "CA without keyCertSign",
        "brainpool",
        "Ed25519",
        "name constraint on the subject",
        "name constraint on a CA",
    }
    for expected, cases in ((True, ACCEPTED), (False, {k: v[1] for k, v in REFUSED.items()})):
        for case in set(cases) - no_opinion:
            leaf, intermediates, anchors = cases[case](pki)
            verifier = (
                PolicyBuilder()
                .store(Store([one.certificate for one in anchors]))
                .time(NOW)
                .extension_policies(ca_policy=ca_policy, ee_policy=ee_policy)
                .build_client_verifier()
            )
            try:
                verifier.verify(leaf.certificate, [one.certificate for one in intermediates])
                agreed = expected
            except VerificationError:
                agreed = not expected
            assert agreed, case


def test_pss_signed_certificates_are_read(pki: Pki) -> None:
    key = rsa_key(2048)
    root = new_root("PSS Root", key=key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name("Bob"))
        .issuer_name(root.certificate.subject)
        .public_key(new_key().public_key())
        .serial_number(1)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
    )
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    leaf = Entity(None, builder.sign(key, hashes.SHA256(), rsa_padding=pss))
    path_of(leaf, anchors=[root])


# --------------------------------------------------------------------------- keys


def test_keys_too_weak_or_too_large_are_refused_by_name() -> None:
    huge = rsa.RSAPublicNumbers(65537, (1 << 9000) + 1).public_key()
    for key, code, words in (
        (huge, "chain.key_too_large", "RSA 9001"),
        (ec.generate_private_key(ec.SECP256K1()).public_key(), "chain.weak_key", "EC secp256k1"),
        (ec.generate_private_key(ec.SECP192R1()).public_key(), "chain.weak_key", "EC secp192r1"),
        (rsa_key(1024).public_key(), "chain.weak_key", "RSA 1024"),
    ):
        with pytest.raises(WeakKey) as refused:
            check_key(key)
        assert (refused.value.code, refused.value.params) == (code, {"key": words})
    check_key(rsa_key(2048).public_key())


@pytest.mark.parametrize("exponent", [b"\x01\x00\x00", b"\x00\x00\x01"])
def test_rsa_exponents_that_sign_nothing_are_damage(exponent: bytes, pki: Pki) -> None:
    der = pki.issuing.person(key=rsa_key(2048)).der
    changed = der.replace(b"\x02\x03\x01\x00\x01", b"\x02\x03" + exponent)
    assert changed != der
    pool = Pool(anchors=[pki.root.der], intermediates=[pki.issuing.der])
    with pytest.raises(PathError) as refused:
        find_path(Certificate(changed), pool, at=NOW, purpose=Purpose.SIGN)
    assert refused.value.code == "certificate.damaged"


def test_the_unsigned_algorithm_must_be_the_signed_one(pki: Pki) -> None:
    """RFC 5280 §4.1.1.2: the outer field is not covered by the signature."""
    sha256, sha384 = (bytes.fromhex(f"06082a8648ce3d0403{last}") for last in ("02", "03"))
    assert pki.bob.der.count(sha256) == 2
    head, _, tail = pki.bob.der.rpartition(sha256)
    with pytest.raises(PathError) as refused:
        Certificate(head + sha384 + tail)
    assert refused.value.code == "certificate.damaged"


# --------------------------------------------------------------------------- policies

ONE, TWO = "1.3.6.1.4.1.32473.1", "1.3.6.1.4.1.32473.2"
ANY = "2.5.29.32.0"
ANY_INITIAL_POLICY = ["-policy_check", "-policy", ANY]
"""What RFC 5280 starts with; the openssl program starts with the empty set."""


def oid_der(oid: str) -> bytes:
    arcs = [int(arc) for arc in oid.split(".")]
    content = b""
    for value in (40 * arcs[0] + arcs[1], *arcs[2:]):
        digits = [value & 0x7F]
        while value := value >> 7:
            digits.append(value & 0x7F | 0x80)
        content += bytes(reversed(digits))
    assert dotted(content) == oid
    return bytes([0x06, len(content)]) + content


def mapping(issuer: str, subject: str) -> tuple[x509.ExtensionType, bool]:
    pair = oid_der(issuer) + oid_der(subject)
    one = bytes([0x30, len(pair)]) + pair
    value = bytes([0x30, len(one)]) + one
    return x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.33"), value), True


EXPLICIT = (x509.PolicyConstraints(0, None), True)


@pytest.mark.parametrize(
    ("mapped", "leaf_policy", "good"),
    [
        ((ONE, TWO), TWO, True),
        ((ONE, TWO), ONE, False),
        ((ONE, ANY), ANY, False),
        ((ANY, TWO), TWO, False),
        (None, ONE, True),
        (None, TWO, False),
    ],
)
def test_policies_are_mapped_as_the_ca_says(
    mapped: tuple[str, str] | None,
    leaf_policy: str,
    good: bool,
    pki: Pki,
    tmp_path: File,
) -> None:
    extensions = [EXPLICIT, *([mapping(*mapped)] if mapped else [])]
    issuing = new_intermediate(pki.root, "Mapping", policies=[ONE], extensions=extensions)
    leaf = issuing.person(policies=[leaf_policy])
    if good:
        assert path_of(leaf, issuing, anchors=[pki.root]).policies == {leaf_policy}
    else:
        assert reason(leaf, issuing, anchors=[pki.root]) == "chain.policy"
    accepted, words = openssl_verify(
        tmp_path,
        leaf.der,
        intermediates=[issuing.der],
        anchors=[pki.root.der],
        arguments=ANY_INITIAL_POLICY,
    )
    assert accepted == good, words


def test_mapping_can_be_forbidden_from_above(pki: Pki, tmp_path: File) -> None:
    for inhibit, good in ((None, True), (0, False)):
        constraint = (x509.PolicyConstraints(0, inhibit), True)
        upper = new_intermediate(pki.root, "Upper", policies=[ONE], extensions=[constraint])
        lower = new_intermediate(upper, "Lower", policies=[ONE], extensions=[mapping(ONE, TWO)])
        leaf = lower.person(policies=[TWO])
        if good:
            path_of(leaf, lower, upper, anchors=[pki.root])
        else:
            assert reason(leaf, lower, upper, anchors=[pki.root]) == "chain.policy"
        accepted, words = openssl_verify(
            tmp_path,
            leaf.der,
            intermediates=[lower.der, upper.der],
            anchors=[pki.root.der],
            arguments=ANY_INITIAL_POLICY,
        )
        assert accepted == good, words


@pytest.mark.parametrize(("skip", "good"), [(0, False), (1, True)])
def test_any_policy_can_be_forbidden_below(skip: int, good: bool, pki: Pki, tmp_path: File) -> None:
    upper = new_intermediate(
        pki.root,
        "Upper",
        policies=[ONE],
        extensions=[EXPLICIT, (x509.InhibitAnyPolicy(skip), True)],
    )
    lower = new_intermediate(upper, "Lower", policies=[ANY])
    leaf = lower.person(policies=[ONE])
    if good:
        path_of(leaf, lower, upper, anchors=[pki.root])
    else:
        assert reason(leaf, lower, upper, anchors=[pki.root]) == "chain.policy"
    accepted, words = openssl_verify(
        tmp_path,
        leaf.der,
        intermediates=[lower.der, upper.der],
        anchors=[pki.root.der],
        arguments=ANY_INITIAL_POLICY,
    )
    assert accepted == good, words
