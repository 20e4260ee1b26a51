"""Verdicts in words: every code has a sentence, doubt never looks good, red is for failure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from crypto_agent import protocol
from webmail.certificates.history import History
from webmail.reading import badges
from webmail.reading.fact_words import FACT_WORDS

SIGNER = {
    "name": "Ana Ruiz",
    "organisation": "Bank plc",
    "country": "GB",
    "addresses": ["ana@bank.example"],
    "level": "V4",
    "fingerprint": "aa" * 32,
    "issuer": "Lighthouse Trust Services",
}
USUAL = History(signed=14, last_signer="aa" * 32)


def fact(result: str = "passed", code: str = "", **params: Any) -> dict[str, Any]:
    return {"result": result, "code": code, "params": params}


def verdict(state: str, **changes: Any) -> dict[str, Any]:
    return {
        "state": state,
        "facts": {
            "digest": fact(code="digest.ok"),
            "signature": fact(code="signature.ok"),
            "chain": fact(code="chain.trusted"),
            "address": fact(code="address.match", address="ana@bank.example"),
            "root": fact(code="root.whole"),
            **changes.pop("facts", {}),
        },
        "signer": SIGNER,
        "time": {},
        "encryption": {},
        "revocation": "good",
        **changes,
    }


def line(state: str, history: History = History(), **changes: Any) -> badges.Identity:  # noqa: B008
    return badges.identity(verdict(state, **changes), sender="ana@bank.example", history=history)


def test_every_fact_code_has_its_own_sentence() -> None:
    assert set(FACT_WORDS) >= protocol.FACT_CODES
    assert protocol.FACT_CODES, "a list to compare with"


def test_every_notice_the_agent_can_give_has_words() -> None:
    code = re.compile(r'"((?:decrypt|message|signature|certificates|headers)\.[a-z_]+)"')
    told: set[str] = set()
    for path in Path("crypto_agent/operations").glob("*.py"):
        told |= set(code.findall(path.read_text()))
    notices = {each for each in told if each in badges._NOTICE_WORDS}
    assert {"decrypt.failed", "decrypt.no_key", "decrypt.locked", "message.damaged"} <= notices
    spoken = re.compile(r'tell\(\s*"([a-z_.]+)"')
    for path in Path("crypto_agent/operations").glob("*.py"):
        for each in spoken.findall(path.read_text()):
            assert each in badges._NOTICE_WORDS, each


@pytest.mark.parametrize("code", sorted(FACT_WORDS))
def test_a_sentence_comes_out_with_and_without_parameters(code: str) -> None:
    names = re.findall(r"%\((\w+)\)s", str(FACT_WORDS[code]))
    bare = badges.fact_sentence(fact(code=code))
    assert "%(" not in bare
    full = badges.fact_sentence(fact(code=code, **{name: f"<{name}> 100%" for name in names}))
    assert all(f"<{name}> 100%" in full for name in names)


def test_times_in_parameters_are_written_as_dates() -> None:
    words = badges.fact_sentence(
        fact("failed", "chain.expired", certificate="Ana", not_after=1_700_000_000_000)
    )
    assert "2023" in words
    assert "1700000000000" not in words


def test_a_known_signer_is_named_with_organisation_level_and_continuity() -> None:
    found = line("verified", USUAL)
    assert (found.state, found.tone, found.glyph) == ("verified", "calm", "seal")
    assert found.headline == "Signed by Ana Ruiz"
    assert found.organisation == "Bank plc"
    assert "organisation and person checked: Bank plc (GB)" in found.level_words
    assert found.continuity == "as in 14 earlier messages"


def test_first_contact_is_a_state_of_its_own() -> None:
    found = line("verified")
    assert (found.state, found.tone, found.glyph) == ("first", "neutral", "seal-outline")
    assert found.continuity == "first message from this signer"


def test_another_certificate_than_usual_is_said() -> None:
    changed = History(signed=14, last_signer="bb" * 32)
    assert "not seen from this sender before" in line("verified", changed).continuity


def test_an_address_only_certificate_proves_no_name() -> None:
    signer = {**SIGNER, "level": "V1", "name": "The Queen", "organisation": "Palace"}
    found = line("verified", signer=signer)
    assert found.headline == "Signed by ana@bank.example"
    assert found.organisation == ""
    assert "Palace" not in found.level_words


@pytest.mark.parametrize("state", ["unsigned", "unverified", "failed"])
def test_nothing_but_verified_ever_looks_verified(state: str) -> None:
    for history in (History(), USUAL):
        found = line(state, history)
        assert found.glyph != "seal"
        assert found.tone != "calm"
        assert found.name == found.organisation == found.level == ""


def test_a_missing_signature_of_a_usual_signer_is_amber_and_cannot_be_hidden() -> None:
    found = line("unsigned", USUAL)
    assert (found.state, found.tone, found.may_collapse) == ("expected", "amber", False)
    assert "normally signs" in found.headline
    assert "links or payment" in found.explanation
    calm = line("unsigned", History(signed=2, unsigned=5))
    assert (calm.state, calm.tone, calm.may_collapse) == ("unsigned", "neutral", True)


FAILURES = {
    "digest": (fact("failed", "digest.mismatch"), "Signature does not match this message"),
    "signature": (fact("failed", "signature.invalid"), "Signature does not match this message"),
    "chain": (
        fact("failed", "revocation.revoked", certificate="Ana Ruiz", at=1_700_000_000_000),
        "The certificate of Ana Ruiz was withdrawn on",
    ),
    "address": (
        fact("failed", "address.mismatch", address="ana@bank.example", certificate=["m@evil.x"]),
        "Signed by someone else: the mail is from ana@bank.example",
    ),
}


@pytest.mark.parametrize("key", FAILURES)
def test_red_is_only_for_failure_and_says_which(key: str) -> None:
    broken, words = FAILURES[key]
    found = line("failed", facts={key: broken})
    assert (found.tone, found.may_collapse) == ("red", False)
    assert found.headline.startswith(words)


def test_doubt_is_told_with_its_reason_and_without_alarm() -> None:
    found = line("unverified", facts={"chain": fact("unknown", "chain.issuer_unknown", issuer="X")})
    assert found.tone == "neutral"
    assert "X" in found.explanation
    unknown = line("unverified", revocation="unknown")
    assert "withdrawn" in unknown.explanation


def test_certified_and_received_time_are_shown_together_only_when_they_differ() -> None:
    proven = 1_790_000_000_000
    near = badges.time_line(
        {"time": {"proven": proven, "tsa": "Stamp Office", "received": proven + 60_000}}
    )
    assert not near.differs
    assert "Stamp Office" in near.words
    far = badges.time_line(
        {"time": {"proven": proven, "tsa": "Stamp Office", "received": proven + 3_600_000}}
    )
    assert far.differs
    assert "received" in far.words
    assert "certified" not in badges.time_line({"time": {"received": proven}}).words.lower()


def test_the_lock_says_encrypted_and_never_safe() -> None:
    words = badges.protection(verdict("unsigned", encryption={"encrypted": True}))
    assert words == ["Sent encrypted to you"]
    weak = badges.protection(verdict("unsigned", encryption={"encrypted": True, "weak": True}))
    assert weak == ["Encrypted with an outdated method"]


def test_a_mail_that_stays_closed_is_not_called_unsigned() -> None:
    sealed = {"state": "unsigned", "facts": {}, "encryption": {"encrypted": True}}
    shut = badges.identity(sealed, sender="ana@bank.example", history=History(), shut=True)
    assert shut.state == "shut"
    assert "not known" in shut.headline
    assert badges.protection(sealed, shut=True) == ["Encrypted"]
    assert badges.protection(sealed) == ["Sent encrypted to you"]


def test_a_name_that_poses_as_another_address_is_told() -> None:
    told = badges.sender_notices([{"name": "ceo@bank.example", "address": "x@evil.example"}])
    assert [each.code for each in told] == ["sender.name_is_other_address"]
    assert "ceo@bank.example" in told[0].sentence
    assert not badges.sender_notices([{"name": "Ana@Bank.example", "address": "ana@bank.example"}])
    assert not badges.sender_notices([{"name": "Ana Ruiz", "address": "ana@bank.example"}])


def test_an_unknown_notice_still_says_something() -> None:
    assert "brand.new" in badges.notice("brand.new", {}).sentence
