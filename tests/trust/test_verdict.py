"""The verdict: every state is reached, and green only when nothing is in doubt."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path as File
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

import crypto_agent.trust
from crypto_agent.cms import facts as cms
from crypto_agent.cms.facts import failed, passed, unknown
from crypto_agent.cms.verify import SignedMessage, Signer
from crypto_agent.protocol import FACT_CODES, pack, unpack
from crypto_agent.trust.verdict import TrustMaterial, judge, judge_certificate
from tests.trust.conftest import Pki
from tests.trust.pki import (
    DAY,
    EMAIL,
    NOW,
    Entity,
    ms,
    name,
    new_intermediate,
    new_key,
    new_root,
    rsa_key,
    usage,
)
from tests.trust.stamps import openssl_token, today

BOB = "bob@example.test"


def signer(entity: Entity | None, **changes: Any) -> Signer:
    """What the CMS engine finds about a good signature by ``entity``."""
    signature = b"signature value"
    good = Signer(
        index=0,
        certificate=None if entity is None else entity.der,
        digest=passed(cms.DIGEST_OK),
        signature=passed(cms.SIGNATURE_OK),
        digest_algorithm="sha256",
        signature_algorithm="ecdsa",
        key="ECDSA P-256",
        signing_time=ms(NOW),
        capabilities=None,
        encryption_key=None,
        imprint=hashlib.sha256(signature).digest(),
        tokens=(),
        signature_value=signature,
    )
    return replace(good, **changes)


def message(*signers: Signer, bag: Sequence[Entity] = (), **more: Any) -> SignedMessage:
    return SignedMessage(
        content_type="1.2.840.113549.1.7.1",
        content=None,
        certificates=tuple(one.der for one in bag),
        crls=more.get("crls", ()),
        ocsp=more.get("ocsp", ()),
        signers=signers,
    )


class World:
    """A root we trust, an issuing CA, and current lists of both."""

    def __init__(self, pki: Pki) -> None:
        self.pki = pki
        self.lists = (pki.root.crl(), pki.issuing.crl())

    def judge(
        self,
        *signers: Signer,
        sender: Sequence[str] = (BOB,),
        root: bool = True,
        crls: Sequence[bytes] | None = None,
        anchors: Sequence[Entity] | None = None,
        bag: Sequence[Entity] | None = None,
        pins: dict[str, frozenset[str]] | None = None,
        now: dt.datetime = NOW,
        received: dt.datetime | None = NOW,
    ) -> dict[str, Any]:
        verdict = judge(
            message(*signers, bag=[self.pki.issuing] if bag is None else bag),
            from_addresses=sender,
            root=root,
            trust=TrustMaterial(
                anchors=tuple(one.der for one in (anchors or [self.pki.root])),
                crls=tuple(self.lists if crls is None else crls),
                pins=pins or {},
            ),
            now=ms(now),
            received=None if received is None else ms(received),
        )
        for fact in (*verdict["facts"].values(), verdict["time"]["fact"]):
            assert fact["code"] in FACT_CODES, fact
        assert unpack(pack(verdict)) == verdict  # plain values only
        return verdict


@pytest.fixture(scope="session")
def world(pki: Pki) -> World:
    return World(pki)


def code(verdict: dict[str, Any], fact: str) -> str:
    return str(verdict["facts"][fact]["code"])


# --------------------------------------------------------------------------- verified


def test_a_good_signature_of_a_trusted_sender_is_verified(world: World) -> None:
    verdict = world.judge(signer(world.pki.bob))
    assert verdict["state"] == "verified"
    assert {fact["result"] for fact in verdict["facts"].values()} == {"passed"}
    assert verdict["revocation"] == "good"
    assert verdict["signer"]["addresses"] == [BOB]
    assert verdict["signer"]["chain"] == [world.pki.issuing.der, world.pki.root.der]
    assert verdict["time"]["proven"] is None


def test_the_table_of_states(world: World, pki: Pki) -> None:
    """Each row takes one thing away from a verified mail, and says what becomes of it."""
    bob, stranger = pki.bob, new_root("Stranger")
    unknown_issuer = stranger.person()
    old = pki.issuing.person(not_after=NOW - DAY)
    broken = b"\x30\x03\x02\x01\x00"
    good = signer(bob)
    rows: list[tuple[str, str, str, dict[str, Any]]] = [
        # state, fact, its code, and what differs
        ("failed", "digest", cms.DIGEST_MISMATCH,
         {"s": replace(good, digest=failed(cms.DIGEST_MISMATCH))}),
        ("failed", "digest", cms.DIGEST_TWO_CONTENTS,
         {"s": replace(good, digest=failed(cms.DIGEST_TWO_CONTENTS))}),
        ("unverified", "digest", cms.DIGEST_UNKNOWN,
         {"s": replace(good, digest=unknown(cms.DIGEST_UNKNOWN))}),
        ("failed", "signature", cms.SIGNATURE_INVALID,
         {"s": replace(good, signature=failed(cms.SIGNATURE_INVALID))}),
        ("unverified", "signature", cms.SIGNATURE_UNKNOWN,
         {"s": replace(good, signature=unknown(cms.SIGNATURE_UNKNOWN))}),
        ("unverified", "signature", "signature.time_in_future",
         {"s": replace(good, signing_time=ms(NOW + DAY))}),
        ("unverified", "chain", "certificate.missing", {"s": signer(None)}),
        ("failed", "chain", "certificate.damaged", {"s": replace(good, certificate=broken)}),
        ("unverified", "chain", "chain.issuer_unknown", {"s": signer(unknown_issuer)}),
        ("unverified", "chain", "chain.self_signed", {"s": signer(self_signed())}),
        ("failed", "chain", "chain.expired", {"s": signer(old)}),
        ("failed", "chain", "chain.not_yet_valid",
         {"s": signer(pki.issuing.person(not_before=NOW + DAY))}),
        ("failed", "chain", "chain.weak_key",
         {"s": signer(pki.issuing.person(key=rsa_key(1024)))}),
        ("failed", "chain", "chain.wrong_usage",
         {"s": signer(pki.issuing.person(extended=[ExtendedKeyUsageOID.SERVER_AUTH]))}),
        ("unverified", "chain", "revocation.no_source", {"s": good, "crls": []}),
        ("unverified", "chain", "revocation.crl_stale",
         {"s": good, "crls": [pki.root.crl(), pki.issuing.crl(at=NOW - 30 * DAY)]}),
        ("failed", "address", "address.mismatch", {"s": good, "sender": ["alice@example.test"]}),
        ("failed", "address", "address.no_from", {"s": good, "sender": []}),
        ("failed", "address", "address.several_from",
         {"s": good, "sender": [BOB, "alice@example.test"]}),
        ("unverified", "address", "address.none_in_certificate",
         {"s": signer(pki.issuing.person(alternative=[]))}),
        ("unverified", "address", "address.subject_only",
         {"s": signer(pki.issuing.person(alternative=[], subject=name("Bob", email=BOB)))}),
        ("unsigned", "root", "root.partial", {"s": good, "root": False}),
    ]  # fmt: skip
    for state, fact, expected, options in rows:
        verdict = world.judge(options.pop("s"), **options)
        assert (verdict["state"], code(verdict, fact)) == (state, expected)


def self_signed() -> Entity:
    key = new_key()
    issuer = Entity(key, None)  # type: ignore[arg-type]
    return issuer.issue("Bob", key=key, self_signed=True, alternative=[x509.RFC822Name(BOB)])


def test_nobody_signed_is_unsigned(world: World) -> None:
    assert world.judge()["state"] == "unsigned"
    verdict = judge(
        None, from_addresses=[BOB], root=True, trust=TrustMaterial(), now=ms(NOW), received=None
    )
    assert (verdict["state"], verdict["signer"]) == ("unsigned", None)


def test_no_single_doubt_leaves_the_green(world: World) -> None:
    """Whatever one of the five facts turns into, verified is gone; with all five it is back."""
    good = signer(world.pki.bob)
    assert world.judge(good)["state"] == "verified"
    for field in ("digest", "signature"):
        for doubt in (failed(cms.DIGEST_MISMATCH), unknown(cms.DIGEST_UNKNOWN)):
            assert world.judge(replace(good, **{field: doubt}))["state"] != "verified"
    assert world.judge(good, sender=["x@example.test"])["state"] != "verified"
    assert world.judge(good, root=False)["state"] != "verified"
    assert world.judge(good, crls=[])["state"] != "verified"
    assert world.judge(good, anchors=[new_root("Other")])["state"] != "verified"


# --------------------------------------------------------------------------- revocation and time


def test_revoked_before_arrival_fails_and_after_it_stays_good(pki: Pki) -> None:
    issuing = new_intermediate(pki.root, "Revoking CA")
    bob = issuing.person()
    issuing.revoke(bob, NOW - 5 * DAY, x509.ReasonFlags.cessation_of_operation)
    crls = [pki.root.crl(), issuing.crl()]
    world = World(pki)

    def state(received: dt.datetime | None) -> tuple[str, str, str]:
        facts = signer(bob, signing_time=ms(NOW - 50 * DAY))
        verdict = world.judge(facts, bag=[issuing], crls=crls, received=received)
        return verdict["state"], code(verdict, "chain"), verdict["revocation"]

    assert state(NOW - 4 * DAY) == ("failed", "revocation.revoked", "revoked")
    assert state(NOW - 6 * DAY) == ("verified", "chain.trusted_then", "good")
    # the signer's own claim of an early time is worth nothing
    assert state(None) == ("failed", "revocation.revoked", "revoked")


def test_expired_since_arrival_stays_good_and_says_so(world: World, pki: Pki) -> None:
    old = pki.issuing.person(not_before=NOW - 50 * DAY, not_after=NOW - 10 * DAY)
    facts = signer(old, signing_time=ms(NOW - 20 * DAY))
    lists = [pki.root.crl(), pki.issuing.crl(at=NOW - 21 * DAY)]
    verdict = world.judge(facts, received=NOW - 20 * DAY, crls=lists)
    assert (verdict["state"], code(verdict, "chain")) == ("verified", "chain.trusted_then")
    assert world.judge(facts, received=None, crls=lists)["state"] == "failed"


def test_a_mail_server_ahead_of_time_cannot_make_a_certificate_valid(
    world: World, pki: Pki
) -> None:
    early = pki.issuing.person(not_before=NOW + DAY)
    verdict = world.judge(signer(early), received=NOW + 2 * DAY)
    assert (verdict["state"], code(verdict, "chain")) == ("failed", "chain.not_yet_valid")


def test_a_name_with_a_hidden_end_fails(world: World, pki: Pki) -> None:
    trick = pki.issuing.person(subject=name("Bob\0Mallory"))
    verdict = world.judge(signer(trick))
    assert (verdict["state"], code(verdict, "chain")) == ("failed", "certificate.name_injection")
    assert verdict["signer"] is None
    assert not usable(world, trick, purpose="sign")["usable"]


def test_a_revoked_certificate_of_a_stranger_is_revoked_all_the_same(
    world: World, pki: Pki
) -> None:
    stranger = new_root("Stranger")
    mallory = stranger.person()
    stranger.revoke(mallory, NOW - 5 * DAY)
    verdict = world.judge(signer(mallory), bag=[stranger], crls=[stranger.crl()])
    assert (verdict["state"], code(verdict, "chain")) == ("failed", "revocation.revoked")


def stamped(
    folder: File, pki: Pki, *, tsa: Entity, bob: Entity, imprint: bytes | None = None
) -> Signer:
    facts = signer(bob, signing_time=ms(today() - dt.timedelta(minutes=1)))
    token = openssl_token(folder, tsa, [pki.root], imprint or facts.imprint)
    return replace(facts, tokens=(token,))


def new_tsa(issuer: Entity, **options: Any) -> Entity:
    options.setdefault("extended", [ExtendedKeyUsageOID.TIME_STAMPING])
    return issuer.issue(
        "Example TSA",
        extended_critical=True,
        not_after=today() + 1000 * DAY,
        key=rsa_key(2048),
        **options,
    )


def test_a_time_stamp_proves_the_time_against_later_expiry_and_revocation(
    world: World, pki: Pki, tmp_path: File
) -> None:
    issuing = new_intermediate(pki.root, "Stamped CA")
    bob = issuing.person(not_after=today() + 10 * DAY)
    facts = stamped(tmp_path, pki, tsa=new_tsa(pki.root), bob=bob)
    later = today() + 5 * DAY
    issuing.revoke(bob, later - DAY)
    lists = [pki.root.crl(at=later), issuing.crl(at=later)]

    with_stamp = world.judge(facts, bag=[issuing], crls=lists, now=later, received=None)
    assert with_stamp["time"]["fact"]["code"] == "time.proven"
    assert with_stamp["time"]["tsa"] == "Example TSA"
    assert abs(with_stamp["time"]["proven"] - ms(today())) < 60_000
    assert (with_stamp["state"], code(with_stamp, "chain")) == ("verified", "chain.trusted_then")

    without = replace(facts, tokens=())
    verdict = world.judge(without, bag=[issuing], crls=lists, now=later, received=None)
    assert verdict["state"] == "failed"


def test_a_stamp_that_proves_nothing_changes_nothing(pki: Pki, tmp_path: File) -> None:
    """Every bad token leaves the verdict at the time of arrival, and says what is wrong."""
    now = today() + dt.timedelta(minutes=2)
    issuing = new_intermediate(pki.root, "Stamped CA")
    bob = issuing.person(not_after=now + 10 * DAY)
    lists = [pki.root.crl(at=now), issuing.crl(at=now)]
    stranger = new_root("Stranger Root")
    revoked_root = new_root("Revoking Root")
    revoked_tsa = new_tsa(revoked_root)
    revoked_root.revoke(revoked_tsa, now - 5 * DAY)
    unlisted_root = new_root("Unlisted Root")
    cases = {
        "token.imprint": stamped(
            tmp_path, pki, tsa=new_tsa(pki.root), bob=bob, imprint=hashlib.sha256(b"x").digest()
        ),
        "time.untrusted": stamped(tmp_path, pki, tsa=new_tsa(stranger), bob=bob),
        "time.revoked": stamped(tmp_path, pki, tsa=revoked_tsa, bob=bob),
        "time.revocation_unknown": stamped(tmp_path, pki, tsa=new_tsa(unlisted_root), bob=bob),
        "token.damaged": replace(signer(bob, signing_time=ms(now)), tokens=(b"\x30\x00",)),
    }
    for expected, facts in cases.items():
        verdict = World(pki).judge(
            facts,
            bag=[issuing],
            anchors=[pki.root, revoked_root, unlisted_root],
            crls=[*lists, revoked_root.crl(at=now)],
            now=now,
            received=now,
        )
        assert verdict["time"]["fact"]["code"] == expected
        assert verdict["time"]["proven"] is None, expected
        assert verdict["state"] == "verified", expected


def test_a_stamp_from_the_future_is_not_believed(pki: Pki, tmp_path: File) -> None:
    bob = pki.issuing.person()
    facts = stamped(tmp_path, pki, tsa=new_tsa(pki.root), bob=bob)
    verdict = World(pki).judge(facts, now=NOW, received=NOW)
    assert verdict["time"]["fact"]["code"] == "time.future"
    assert verdict["time"]["proven"] is None


# --------------------------------------------------------------------------- several signers


def test_the_signer_who_is_from_is_shown(world: World, pki: Pki) -> None:
    alice = signer(pki.issuing.person("alice@example.test"), index=0)
    bob = signer(pki.bob, index=1)
    for order in ((alice, bob), (bob, alice)):
        verdict = world.judge(*order)
        assert verdict["state"] == "verified"
        assert verdict["signer"]["addresses"] == [BOB]


@pytest.mark.parametrize("field", ["digest", "signature"])
def test_a_bad_second_signature_takes_the_green_away(field: str, world: World, pki: Pki) -> None:
    mallory = signer(pki.issuing.person("mallory@example.test"), index=1)
    mallory = replace(mallory, **{field: failed(cms.SIGNATURE_INVALID)})
    for order in ((signer(pki.bob), mallory), (mallory, signer(pki.bob))):
        verdict = world.judge(*order)
        assert verdict["state"] == "unverified"
        assert code(verdict, "signature") == "signature.other_signer_bad"


def test_seventeen_signers_are_too_many(world: World, pki: Pki) -> None:
    verdict = world.judge(*[signer(pki.bob)] * 17)
    assert (verdict["state"], code(verdict, "chain")) == ("unverified", "chain.too_complex")
    assert world.judge(*[signer(pki.bob)] * 16)["state"] == "verified"


def test_sixty_five_certificates_in_the_bag_are_too_many(world: World, pki: Pki) -> None:
    others = [new_root(f"Other {number}") for number in range(64)]
    few, many = [pki.issuing, *others[:63]], [pki.issuing, *others]
    assert world.judge(signer(pki.bob), bag=few)["state"] == "verified"
    verdict = world.judge(signer(pki.bob), bag=many)
    assert (verdict["state"], code(verdict, "chain")) == ("unverified", "chain.too_complex")


# --------------------------------------------------------------------------- pins


def test_a_certificate_that_the_user_accepted_is_good_for_this_address_only(
    world: World, pki: Pki
) -> None:
    own = self_signed()
    fingerprint = hashlib.sha256(own.der).hexdigest()
    pinned = {BOB: frozenset({fingerprint})}
    verdict = world.judge(signer(own), pins=pinned)
    assert (verdict["state"], code(verdict, "chain")) == ("verified", "chain.pinned")
    for pins in (
        {"alice@example.test": frozenset({fingerprint})},
        {BOB: frozenset({"00" * 32})},
        {},
    ):
        assert world.judge(signer(own), pins=pins)["state"] == "unverified"


def test_accepting_does_not_heal_a_defect(world: World, pki: Pki) -> None:
    for defect in (
        {"not_after": NOW - DAY},
        {"key": rsa_key(1024)},
        {"key_usage": usage(key_encipherment=True)},
    ):
        own = new_root("Stranger").person(**defect)
        pins = {BOB: frozenset({hashlib.sha256(own.der).hexdigest()})}
        assert world.judge(signer(own), pins=pins)["state"] == "failed"


def test_accepting_does_not_override_a_trusted_cas_limits(world: World, pki: Pki) -> None:
    """The path exists and forbids the name: that is no lack of trust, that is a violation."""
    constraint = x509.NameConstraints([x509.RFC822Name("bank.test")], None)
    issuing = new_intermediate(pki.root, "Bank CA", extensions=[(constraint, True)])
    own = issuing.person()
    pins = {BOB: frozenset({hashlib.sha256(own.der).hexdigest()})}
    verdict = world.judge(signer(own), bag=[issuing], pins=pins)
    assert (verdict["state"], code(verdict, "chain")) == ("failed", "chain.name_constraint")


def test_an_accepted_certificate_that_its_issuer_revoked_is_revoked(world: World, pki: Pki) -> None:
    stranger = new_root("Stranger")
    own = stranger.person()
    pins = {BOB: frozenset({hashlib.sha256(own.der).hexdigest()})}
    assert world.judge(signer(own), bag=[stranger], crls=[], pins=pins)["state"] == "verified"
    stranger.revoke(own, NOW - 5 * DAY)
    verdict = world.judge(signer(own), bag=[stranger], crls=[stranger.crl()], pins=pins)
    assert verdict["state"] == "failed"


# --------------------------------------------------------------------------- certificates alone


def usable(world: World, entity: Entity, **options: Any) -> dict[str, Any]:
    options.setdefault("address", BOB)
    crls = options.pop("crls", world.lists)
    pins = options.pop("pins", {})
    verdict = judge_certificate(
        entity.der,
        chain=[world.pki.issuing.der],
        trust=TrustMaterial(anchors=(world.pki.root.der,), crls=tuple(crls), pins=pins),
        purpose=options.pop("purpose", "encrypt"),
        now=ms(NOW),
        **options,
    )
    assert unpack(pack(verdict)) == verdict
    return verdict


def test_a_certificate_is_usable_for_its_purpose_and_address(world: World, pki: Pki) -> None:
    encryption = pki.issuing.person(
        key=rsa_key(2048), key_usage=usage(key_encipherment=True), extended=[EMAIL]
    )
    assert usable(world, encryption)["usable"]
    assert usable(world, encryption, address=None)["usable"]
    assert not usable(world, encryption, purpose="sign")["usable"]
    assert not usable(world, encryption, address="alice@example.test")["usable"]
    unknown_status = usable(world, encryption, crls=[])
    assert (unknown_status["usable"], unknown_status["revocation"]) == (True, "unknown")


def test_strangers_expired_and_revoked_certificates_are_not_usable(world: World, pki: Pki) -> None:
    fits = {"key": rsa_key(2048), "key_usage": usage(key_encipherment=True)}
    stranger = new_root("Stranger").person(**fits)
    expired = pki.issuing.person(not_after=NOW - DAY, **fits)
    issuing = new_intermediate(pki.root, "Example Issuing", key=pki.issuing.key)
    revoked = issuing.person(**fits)
    issuing.revoke(revoked, NOW - DAY)
    assert not usable(world, stranger)["usable"]
    pins = {BOB: frozenset({hashlib.sha256(stranger.der).hexdigest()})}
    assert usable(world, stranger, pins=pins)["usable"]
    assert not usable(world, expired)["usable"]
    crls = [pki.root.crl(), issuing.crl()]
    assert usable(world, revoked)["usable"]
    assert not usable(world, revoked, crls=crls)["usable"]


@pytest.mark.parametrize("garbage", [b"", b"\x30\x00", b"certificate"])
def test_garbage_is_not_usable_and_no_crash(garbage: bytes, world: World) -> None:
    verdict = judge_certificate(
        garbage, chain=[], trust=TrustMaterial(), address=BOB, purpose="encrypt", now=ms(NOW)
    )
    assert not verdict["usable"]


# --------------------------------------------------------------------------- codes


def test_every_code_of_the_engine_and_of_trust_is_listed_at_the_border() -> None:
    assert cms.CODES <= FACT_CODES
    folder = File(crypto_agent.trust.__file__).parent
    source = "\n".join(path.read_text() for path in folder.glob("*.py"))
    pattern = r'"((?:chain|address|root|time|certificate|signature)\.[a-z_]+)"'
    assert set(re.findall(pattern, source)) <= FACT_CODES
