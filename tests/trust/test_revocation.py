"""Revocation: good, revoked or unknown, as of the time that a signature is judged at."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path as File
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from crypto_agent.trust.path import Certificate, Pool, Purpose, find_path
from crypto_agent.trust.revocation import Evidence, Status, check_certificate, check_chain
from tests.trust.pki import (
    DAY,
    DER,
    NOW,
    Entity,
    ms,
    name,
    new_intermediate,
    new_key,
    new_root,
    openssl_verify,
)

HOUR = dt.timedelta(hours=1)
OCSP_SIGNING = ExtendedKeyUsageOID.OCSP_SIGNING
CRL_URL = "http://crl.example.test/one.crl"


@pytest.fixture
def ca() -> Entity:
    return new_root("Example CA")


def ask(
    subject: Entity,
    issuer: Entity,
    *,
    crls: Sequence[bytes] = (),
    responses: Sequence[bytes] = (),
    at: dt.datetime = NOW,
    now: dt.datetime = NOW,
) -> Status:
    return check_certificate(
        Certificate(subject.der),
        Certificate(issuer.der),
        Evidence(crls=crls, ocsp_responses=responses),
        at=at,
        now=now,
    )


def said(*arguments: Any, **options: Any) -> tuple[str, str]:
    status = ask(*arguments, **options)
    return status.state, status.code


# --------------------------------------------------------------------------- lists


def test_not_on_the_list_is_good(ca: Entity, tmp_path: File) -> None:
    bob, crl = ca.person(), ca.crl()
    assert said(bob, ca, crls=[crl]) == ("good", "revocation.good")
    accepted, words = openssl_verify(tmp_path, bob.der, anchors=[ca.der], crls=[crl])
    assert accepted, words


def test_on_the_list_is_revoked_with_date_and_reason(ca: Entity, tmp_path: File) -> None:
    mallory = ca.person()
    ca.revoke(mallory, NOW - 5 * DAY, x509.ReasonFlags.key_compromise)
    crl = ca.crl()
    status = ask(mallory, ca, crls=[crl])
    assert (status.state, status.code) == ("revoked", "revocation.revoked")
    assert status.params["at"] == ms(NOW - 5 * DAY)
    assert status.params["reason"] == "keyCompromise"
    accepted, words = openssl_verify(tmp_path, mallory.der, anchors=[ca.der], crls=[crl])
    assert not accepted
    assert "revoked" in words


def test_nothing_known_is_unknown_never_good(ca: Entity) -> None:
    assert said(ca.person(), ca) == ("unknown", "revocation.no_source")
    with_source = ca.person(crl_url=CRL_URL)
    assert said(with_source, ca) == ("unknown", "revocation.not_fetched")


def test_revoked_after_the_proven_time_stays_good(ca: Entity) -> None:
    bob = ca.person()
    ca.revoke(bob, NOW - 5 * DAY, x509.ReasonFlags.superseded)
    crl = ca.crl()
    assert said(bob, ca, crls=[crl], at=NOW - 6 * DAY) == ("good", "revocation.later")
    assert said(bob, ca, crls=[crl], at=NOW - 4 * DAY) == ("revoked", "revocation.revoked")


def test_a_key_lost_before_the_proven_time_is_revoked_although_it_was_noticed_later(
    ca: Entity,
) -> None:
    bob = ca.person()
    ca.revoke(bob, NOW - 5 * DAY, x509.ReasonFlags.key_compromise, invalid_since=NOW - 20 * DAY)
    crl = ca.crl()
    assert said(bob, ca, crls=[crl], at=NOW - 10 * DAY)[0] == "revoked"
    assert said(bob, ca, crls=[crl], at=NOW - 30 * DAY) == ("good", "revocation.later")


def test_a_stale_list_says_nothing(ca: Entity, tmp_path: File) -> None:
    bob = ca.person()
    crl = ca.crl(at=NOW - 20 * DAY, until=NOW - 10 * DAY)
    assert said(bob, ca, crls=[crl]) == ("unknown", "revocation.crl_stale")
    assert said(bob, ca, crls=[crl], at=NOW - 15 * DAY)[0] == "good"
    accepted, words = openssl_verify(tmp_path, bob.der, anchors=[ca.der], crls=[crl])
    assert not accepted
    assert "expired" in words


def test_a_list_from_the_future_says_nothing(ca: Entity) -> None:
    bob = ca.person()
    assert said(bob, ca, crls=[ca.crl(at=NOW + HOUR)]) == ("unknown", "revocation.crl_future")


def test_a_newer_list_answers_for_an_older_time(ca: Entity) -> None:
    bob = ca.person()
    assert said(bob, ca, crls=[ca.crl(at=NOW - DAY)], at=NOW - 50 * DAY)[0] == "good"


def test_a_list_made_after_expiry_may_have_forgotten_the_certificate(ca: Entity) -> None:
    bob = ca.person(not_before=NOW - 50 * DAY, not_after=NOW - 10 * DAY)
    crl = ca.crl()
    assert said(bob, ca, crls=[crl], at=NOW - 20 * DAY) == (
        "unknown",
        "revocation.crl_after_expiry",
    )
    since = b"\x18\x0f20250101000000Z"
    keeps = x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.60"), since)
    kept = ca.crl(extensions=[(keeps, False)])
    assert said(bob, ca, crls=[kept], at=NOW - 20 * DAY)[0] == "good"


def test_a_list_signed_by_another_key_says_nothing(ca: Entity, tmp_path: File) -> None:
    mallory = ca.person()
    forged = ca.crl(key=new_key())
    assert said(mallory, ca, crls=[forged]) == ("unknown", "revocation.crl_signature")
    accepted, _ = openssl_verify(tmp_path, mallory.der, anchors=[ca.der], crls=[forged])
    assert not accepted


def test_a_list_of_another_authority_says_nothing(ca: Entity) -> None:
    other = new_root("Other CA")
    assert said(ca.person(), ca, crls=[other.crl()])[0] == "unknown"


@pytest.mark.parametrize(
    ("scope", "state"),
    [
        ({"only_contains_user_certs": True}, "good"),
        ({"only_contains_ca_certs": True}, "unknown"),
        ({"only_contains_attribute_certs": True}, "unknown"),
        ({"indirect_crl": True}, "unknown"),
        ({"full_name": [x509.UniformResourceIdentifier(CRL_URL)]}, "good"),
        ({"full_name": [x509.UniformResourceIdentifier(CRL_URL + "2")]}, "unknown"),
        ({"only_some_reasons": frozenset([x509.ReasonFlags.superseded])}, "unknown"),
    ],
)
def test_a_list_counts_within_its_scope(scope: Any, state: str, ca: Entity) -> None:
    options: dict[str, Any] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
        **scope,
    }
    bob = ca.person(crl_url=CRL_URL)
    crl = ca.crl(extensions=[(x509.IssuingDistributionPoint(**options), True)])
    assert said(bob, ca, crls=[crl])[0] == state


def test_a_partial_list_still_revokes(ca: Entity) -> None:
    mallory = ca.person()
    ca.revoke(mallory, NOW - 5 * DAY)
    delta = ca.crl(extensions=[(x509.DeltaCRLIndicator(1), True)])
    assert said(mallory, ca, crls=[delta])[0] == "revoked"
    assert said(ca.person(), ca, crls=[delta]) == ("unknown", "revocation.crl_partial")


def test_a_list_with_an_unknown_critical_extension_says_nothing(ca: Entity) -> None:
    strange = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.32473.2"), b"\x05\x00")
    crl = ca.crl(extensions=[(strange, True)])
    assert said(ca.person(), ca, crls=[crl]) == ("unknown", "revocation.crl_unsupported")


def test_entries_of_indirect_lists_are_not_misread(ca: Entity) -> None:
    """A critical certificateIssuer means: this serial number is another CA's."""
    bob = ca.person()
    entry = (
        x509.RevokedCertificateBuilder()
        .serial_number(bob.certificate.serial_number)
        .revocation_date(NOW - 5 * DAY)
        .add_extension(
            x509.CertificateIssuer([x509.DirectoryName(name("Somebody else"))]), critical=True
        )
        .build()
    )
    ca.revoked.append(entry)
    assert said(bob, ca, crls=[ca.crl()]) == ("unknown", "revocation.crl_unsupported")


def test_the_unsigned_algorithm_of_a_list_must_be_the_signed_one(ca: Entity) -> None:
    sha256, sha384 = (bytes.fromhex(f"06082a8648ce3d0403{last}") for last in ("02", "03"))
    head, _, tail = ca.crl().rpartition(sha256)
    assert said(ca.person(), ca, crls=[head + sha384 + tail]) == (
        "unknown",
        "revocation.no_source",  # not even counted as one of this CA's lists
    )


def test_a_ca_that_may_not_sign_lists_has_none() -> None:
    from tests.trust.pki import usage

    ca = new_root("No Lists", key_usage=usage(key_cert_sign=True))
    assert said(ca.person(), ca, crls=[ca.crl()]) == ("unknown", "revocation.crl_issuer")


@pytest.mark.parametrize("damage", [b"", b"\x30\x00", b"not a list"])
def test_damaged_lists_are_skipped(damage: bytes, ca: Entity) -> None:
    assert said(ca.person(), ca, crls=[damage, ca.crl()])[0] == "good"


def test_ten_thousand_entries_are_searched_in_a_moment(ca: Entity) -> None:
    import time

    for number in range(10_000):
        ca.revoked.append(
            x509.RevokedCertificateBuilder()
            .serial_number(number + 1)
            .revocation_date(NOW - 50 * DAY)
            .build()
        )
    bob, crl = ca.person(), ca.crl()
    start = time.perf_counter()
    assert said(bob, ca, crls=[crl])[0] == "good"
    assert time.perf_counter() - start < 0.5


# --------------------------------------------------------------------------- responders


def test_a_responders_good_is_good(ca: Entity) -> None:
    bob = ca.person()
    assert said(bob, ca, responses=[ca.ocsp(bob)]) == ("good", "revocation.good")


def test_a_responders_revoked_is_revoked_from_its_date(ca: Entity) -> None:
    mallory = ca.person()
    response = ca.ocsp(mallory, ocsp.OCSPCertStatus.REVOKED, revoked_at=NOW - 5 * DAY)
    assert said(mallory, ca, responses=[response])[0] == "revoked"
    assert said(mallory, ca, responses=[response], at=NOW - 6 * DAY) == (
        "good",
        "revocation.later",
    )


def test_a_responders_unknown_is_not_good(ca: Entity) -> None:
    bob = ca.person()
    response = ca.ocsp(bob, ocsp.OCSPCertStatus.UNKNOWN)
    assert said(bob, ca, responses=[response]) == ("unknown", "revocation.ocsp_unknown")


def test_an_answer_about_somebody_else_is_no_answer(ca: Entity) -> None:
    assert said(ca.person(), ca, responses=[ca.ocsp(ca.person())])[0] == "unknown"


def test_an_old_answer_replayed_is_stale(ca: Entity) -> None:
    bob = ca.person()
    old = ca.ocsp(bob, at=NOW - 30 * DAY, until=NOW - 20 * DAY)
    assert said(bob, ca, responses=[old]) == ("unknown", "revocation.ocsp_stale")


def test_a_delegate_needs_the_issuers_word(ca: Entity) -> None:
    bob = ca.person()
    delegate = ca.issue(
        "OCSP",
        extended=[OCSP_SIGNING],
        not_after=NOW + 1000 * DAY,
        extensions=[(x509.OCSPNoCheck(), False)],
    )
    assert said(bob, ca, responses=[ca.ocsp(bob, responder=delegate)])[0] == "good"

    colleague = ca.person("mallory@example.test")  # issued by the same CA, but not to answer
    stranger = new_root("Mallory").issue(
        "OCSP",
        extended=[OCSP_SIGNING],
        not_after=NOW + 1000 * DAY,
        extensions=[(x509.OCSPNoCheck(), False)],
    )
    authorised_by_nobody = ca.issue(
        "OCSP",
        not_after=NOW + 1000 * DAY,
        extensions=[(x509.OCSPNoCheck(), False)],
    )
    namesake = new_root("Example CA").issue(
        "OCSP",
        extended=[OCSP_SIGNING],
        not_after=NOW + 1000 * DAY,
        extensions=[(x509.OCSPNoCheck(), False)],
    )
    for impostor in (colleague, stranger, authorised_by_nobody, namesake):
        response = ca.ocsp(bob, responder=impostor)
        assert said(bob, ca, responses=[response]) == ("unknown", "revocation.ocsp_responder")


def test_a_delegate_without_nocheck_must_itself_be_good(ca: Entity) -> None:
    bob = ca.person()
    delegate = ca.issue("OCSP", extended=[OCSP_SIGNING], not_after=NOW + 1000 * DAY)
    response = ca.ocsp(bob, responder=delegate)
    assert said(bob, ca, responses=[response]) == ("unknown", "revocation.ocsp_responder")
    only_about_delegate = ca.crl(
        extensions=[
            (
                x509.IssuingDistributionPoint(
                    full_name=[x509.UniformResourceIdentifier(CRL_URL)],
                    relative_name=None,
                    only_contains_user_certs=False,
                    only_contains_ca_certs=False,
                    only_some_reasons=None,
                    indirect_crl=False,
                    only_contains_attribute_certs=False,
                ),
                True,
            )
        ]
    )
    listed = ca.issue("OCSP", extended=[OCSP_SIGNING], not_after=NOW + 1000 * DAY, crl_url=CRL_URL)
    answer = ca.ocsp(bob, responder=listed)
    assert said(bob, ca, crls=[only_about_delegate], responses=[answer])[0] == "good"
    assert said(bob, ca, crls=[only_about_delegate])[0] == "unknown"


def test_an_answer_after_expiry_says_nothing(ca: Entity) -> None:
    bob = ca.person(not_before=NOW - 50 * DAY, not_after=NOW - 10 * DAY)
    assert said(bob, ca, responses=[ca.ocsp(bob)], at=NOW - 20 * DAY) == (
        "unknown",
        "revocation.ocsp_after_expiry",
    )


def test_an_answer_with_a_critical_extension_is_not_understood(ca: Entity) -> None:
    bob = ca.person()
    for critical, state in ((True, "unknown"), (False, "good")):
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                bob.certificate,
                ca.certificate,
                hashes.SHA256(),
                ocsp.OCSPCertStatus.GOOD,
                NOW - DAY,
                NOW + DAY,
                None,
                None,
            )
            .responder_id(ocsp.OCSPResponderEncoding.NAME, ca.certificate)
            .add_extension(x509.OCSPNonce(b"x" * 32), critical)
        )
        response = builder.sign(ca.key, hashes.SHA256()).public_bytes(DER)
        assert said(bob, ca, responses=[response])[0] == state


def test_revoked_by_one_source_outweighs_good_from_another(ca: Entity) -> None:
    mallory = ca.person()
    good = ca.crl()
    revoked = ca.ocsp(mallory, ocsp.OCSPCertStatus.REVOKED, revoked_at=NOW - 5 * DAY)
    assert said(mallory, ca, crls=[good])[0] == "good"
    assert said(mallory, ca, crls=[good], responses=[revoked])[0] == "revoked"


@pytest.mark.parametrize("damage", [b"", b"\x30\x03\x0a\x01\x03", b"nonsense"])
def test_damaged_or_refusing_responses_say_nothing(damage: bytes, ca: Entity) -> None:
    assert said(ca.person(), ca, responses=[damage])[0] == "unknown"


# --------------------------------------------------------------------------- chains


def test_a_chain_is_good_when_all_of_it_is(tmp_path: File) -> None:
    root = new_root()
    issuing = new_intermediate(root)
    bob = issuing.person()
    path = find_path(
        Certificate(bob.der),
        Pool(anchors=[root.der], intermediates=[issuing.der]),
        at=NOW,
        purpose=Purpose.SIGN,
    )

    def state(*crls: bytes) -> str:
        return check_chain(path, Evidence(crls=crls), at=NOW, now=NOW).state

    assert state(root.crl(), issuing.crl()) == "good"
    assert state(issuing.crl()) == "unknown"
    assert state(root.crl()) == "unknown"
    root.revoke(issuing, NOW - 5 * DAY)
    assert state(root.crl(), issuing.crl()) == "revoked"
    accepted, _ = openssl_verify(
        tmp_path,
        bob.der,
        intermediates=[issuing.der],
        anchors=[root.der],
        crls=[root.crl(), issuing.crl()],
        arguments=["-crl_check_all"],
    )
    assert not accepted


def test_short_lived_certificates_need_no_evidence(ca: Entity) -> None:
    no_rev_avail = x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.56"), b"\x05\x00")
    bob = ca.person(subject=name("Bob"), extensions=[(no_rev_avail, False)])
    assert said(bob, ca) == ("good", "revocation.not_needed")
