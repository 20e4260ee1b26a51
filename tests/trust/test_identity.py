"""Identity: addresses, names and levels, and the tricks that are played with them."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from crypto_agent.trust.addresses import (
    AddressError,
    Match,
    canonical_address,
    holds_control,
    match_addresses,
)
from crypto_agent.trust.certificate import Certificate, PathError
from crypto_agent.trust.identity import addresses_of, check_names, describe, match_address
from crypto_agent.trust.levels import OWN_POLICIES, level_of, level_of_policy
from crypto_agent.trust.path import Pool, Purpose, find_path
from tests.trust.conftest import Pki
from tests.trust.pki import NOW, name, new_intermediate, smtp_utf8

# --------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("one", "other", "match"),
    [
        ("bob@example.test", "bob@example.test", Match.EXACT),
        ("bob@example.test", "bob@EXAMPLE.Test", Match.EXACT),
        ("bob@example.test", "Bob@example.test", Match.LOCAL_CASE),
        ("bob@bücher.example", "bob@xn--bcher-kva.example", Match.EXACT),
        ("søren@example.test", "søren@example.test", Match.EXACT),
        ("søren@example.test", "SØREN@example.test", Match.NONE),
        ("bob@example.test", "bob@example.test.evil.test", Match.NONE),
        ("bob@example.test", "bob@examp1e.test", Match.NONE),
        ("bob@example.test", "bоb@example.test", Match.NONE),
        ("bob@example.test", "bob", Match.NONE),
        ("", "", Match.NONE),
        ("bob@example.test\0", "bob@example.test", Match.NONE),
    ],
)
def test_addresses_are_compared_as_mail_compares_them(one: str, other: str, match: Match) -> None:
    assert match_addresses(one, other) is match
    assert match_addresses(other, one) is match


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "bob@",
        "@example.test",
        "bob@@example.test",
        "bob@example..test",
        ".bob@example.test",
        "bob @example.test",
        "bob@exam ple.test",
        "bob@-example.test",
        "bob@example.test\r\nBcc: mallory@example.test",
        "bob\0@example.test",
        '"bob mallory"@example.test',
        "b" * 65 + "@example.test",
        "bob@" + "e" * 64 + ".test",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        canonical_address(text)


@given(st.text(max_size=40))
def test_no_text_breaks_the_comparison(text: str) -> None:
    match_addresses(text, "bob@example.test")
    match_addresses(f"{text}@example.test", f"bob@{text}")
    if holds_control(text):
        with pytest.raises(AddressError):
            canonical_address(f"{text}@example.test")


def certificate(pki: Pki, **options: Any) -> Certificate:
    return Certificate(pki.issuing.person(**options).der)


def test_addresses_come_from_the_alternative_name(pki: Pki) -> None:
    found = certificate(
        pki,
        alternative=[x509.RFC822Name("Bob@EXAMPLE.test"), smtp_utf8("søren@example.test")],
    )
    assert addresses_of(found).vouched == ("Bob@example.test", "søren@example.test")


def test_an_address_only_in_the_subject_is_marked(pki: Pki) -> None:
    found = certificate(pki, alternative=[], subject=name("Bob", email="bob@example.test"))
    fact = match_address(found, "bob@example.test")
    assert (fact.result, fact.code) == ("unknown", "address.subject_only")


def test_the_alternative_name_outweighs_the_subject(pki: Pki) -> None:
    found = certificate(
        pki,
        alternative=[x509.RFC822Name("mallory@example.test")],
        subject=name("Bob", email="bob@example.test"),
    )
    assert match_address(found, "bob@example.test").result == "unknown"
    assert match_address(found, "mallory@example.test").result == "passed"


@pytest.mark.parametrize(
    ("address", "result", "code"),
    [
        ("bob@example.test", "passed", "address.match"),
        ("BOB@example.test", "passed", "address.match_case"),
        ("bob@EXAMPLE.TEST", "passed", "address.match"),
        ("alice@example.test", "failed", "address.mismatch"),
        ("bob@bücher.example", "failed", "address.mismatch"),
    ],
)
def test_the_match_says_how(address: str, result: str, code: str, pki: Pki) -> None:
    fact = match_address(certificate(pki), address)
    assert (fact.result, fact.code) == (result, code)


def test_an_international_domain_matches_in_both_spellings(pki: Pki) -> None:
    found = certificate(pki, address="bob@xn--bcher-kva.example")
    assert match_address(found, "bob@bücher.example").code == "address.match"
    assert match_address(found, "bob@xn--bcher-kva.example").code == "address.match"


def test_an_ascii_mailbox_in_the_international_form_does_not_count(pki: Pki) -> None:
    found = certificate(pki, alternative=[smtp_utf8("bob@example.test")])
    assert match_address(found, "bob@example.test").code == "address.none_in_certificate"


def unchecked(value: str) -> x509.RFC822Name:
    """What some versions of Python would not let one write, as Mallory does not use Python."""
    return x509.RFC822Name._init_without_validation(value)


@pytest.mark.parametrize("poison", ["\0", "\r", "\n", "\x1b"])
def test_control_characters_in_names_refuse_the_certificate(poison: str, pki: Pki) -> None:
    names = {
        "subject": {"subject": name(f"Bob{poison}Mallory")},
        "mailbox": {"alternative": [smtp_utf8(f"bob{poison}@example.test")]},
        "rfc822Name": {"alternative": [unchecked(f"bob@example.test{poison}.evil.test")]},
    }
    for where, options in names.items():
        with pytest.raises(PathError) as refused:
            check_names(certificate(pki, **options))
        assert refused.value.code in ("certificate.name_injection", "certificate.damaged"), where
    check_names(certificate(pki))


# --------------------------------------------------------------------------- levels


@pytest.mark.parametrize(
    ("oid", "level"),
    [
        ("2.23.140.1.5.1.1", "V1"),
        ("2.23.140.1.5.1.3", "V1"),
        ("2.23.140.1.5.4.2", "V2"),
        ("2.23.140.1.5.2.2", "V3"),
        ("2.23.140.1.5.3.3", "V4"),
        (OWN_POLICIES["V1"], "V1"),
        (OWN_POLICIES["V4"], "V4"),
        ("2.23.140.1.5.3.4", ""),
        ("2.23.140.1.5.5.1", ""),
        ("2.23.140.1.5.3", ""),
        ("2.23.140.1.2.3", ""),
        ("1.2.23.140.1.5.3.3", ""),
        ("12.23.140.1.5.3.3", ""),
        ("", ""),
    ],
)
def test_policies_have_levels(oid: str, level: str) -> None:
    assert level_of_policy(oid) == level


def test_an_unknown_policy_is_v1_and_several_count_as_the_lowest() -> None:
    assert level_of([]) == "V1"
    assert level_of(["1.3.6.1.4.1.32473.1"]) == "V1"
    assert level_of(["2.23.140.1.5.3.1", "2.23.140.1.5.4.1"]) == "V2"


def described(pki: Pki, *, ca_policies: list[str], policies: list[str], **subject: str) -> Any:
    issuing = new_intermediate(pki.root, "Policy CA", policies=ca_policies)
    common_name = subject.pop("common_name", "Bob Builder")
    leaf = Certificate(issuing.person(subject=name(common_name, **subject), policies=policies).der)
    pool = Pool(anchors=[pki.root.der], intermediates=[issuing.der])
    return describe(leaf, find_path(leaf, pool, at=NOW, purpose=Purpose.SIGN))


V = {1: "2.23.140.1.5.1.2", 2: "2.23.140.1.5.4.2", 3: "2.23.140.1.5.2.2", 4: "2.23.140.1.5.3.2"}
ANY = "2.5.29.32.0"


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_each_level_shows_what_was_checked(level: int, pki: Pki) -> None:
    subject = {"organisation": "Example AG", "country": "CH"}
    signer = described(pki, ca_policies=[ANY], policies=[V[level]], **subject)
    assert signer["level"] == f"V{level}"
    assert signer["name"] == ("Bob Builder" if level in (2, 4) else "")
    assert signer["organisation"] == ("Example AG" if level in (3, 4) else "")
    assert signer["addresses"] == ["bob@example.test"]


def test_a_mailbox_ca_cannot_make_its_customers_more_than_that(pki: Pki) -> None:
    subject = {"organisation": "Bank", "country": "CH"}
    raised = described(pki, ca_policies=[V[1]], policies=[V[4]], **subject)
    allowed = described(pki, ca_policies=[V[4]], policies=[V[4]], **subject)
    assert (raised["level"], allowed["level"]) == ("V1", "V4")


def test_any_policy_in_a_leaf_claims_nothing(pki: Pki) -> None:
    assert described(pki, ca_policies=[V[4]], policies=[ANY])["level"] == "V1"


def test_without_a_trusted_path_there_is_no_level(pki: Pki) -> None:
    leaf = Certificate(pki.issuing.person(policies=[V[4]]).der)
    assert describe(leaf, None)["level"] == ""


def test_given_name_and_surname_come_before_the_common_name(pki: Pki) -> None:
    signer = described(
        pki,
        ca_policies=[ANY],
        policies=[V[2]],
        common_name="bob@example.test",
        given="Robert",
        surname="Builder",
    )
    assert signer["name"] == "Robert Builder"


def test_direction_marks_in_names_do_not_reach_the_page(pki: Pki) -> None:
    signer = described(pki, ca_policies=[ANY], policies=[V[2]], common_name="Bob\u202egnp.exe")
    assert signer["name"] == "Bobgnp.exe"
