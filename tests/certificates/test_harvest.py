"""Learning certificates from real signed mail, judged by the real verifier."""

from __future__ import annotations

import time
from email.message import EmailMessage
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.db import connection
from django.test.utils import CaptureQueriesContext

from launcher.foreign import Correspondent, ForeignAuthority, smime
from tests.accounts.cast import BOB
from webmail.accounts.models import User
from webmail.agent import door
from webmail.certificates import harvest, history, judging, match, material, pins
from webmail.certificates.facts import fingerprint
from webmail.certificates.models import Certificate, Pin, RevocationList, TrustedRoot
from webmail.certificates.models import Correspondent as Row

pytestmark = [pytest.mark.process, pytest.mark.django_db]

DAVE = "dave@partner.example"


@pytest.fixture(scope="session")
def dave(outside: ForeignAuthority) -> Correspondent:
    return outside.issue(DAVE, "Dave Dole", level="V2")


@pytest.fixture(scope="session")
def daves_next(outside: ForeignAuthority) -> Correspondent:
    """Another key and certificate for the same address."""
    return outside.issue(DAVE, "Dave Dole", level="V2", label="dave-next")


@pytest.fixture(autouse=True)
def trusted(node: object, outside: ForeignAuthority) -> None:
    material.forget()
    judging.forget()
    trust(outside)


def der_of(path: Any) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


def trust(authority: ForeignAuthority) -> None:
    root = x509.load_pem_x509_certificate(authority.root_certificate.read_bytes())
    der = root.public_bytes(Encoding.DER)
    TrustedRoot.objects.get_or_create(
        sha256=fingerprint(der),
        defaults={
            "der": der,
            "subject": root.subject.rfc4514_string(),
            "not_before": root.not_valid_before_utc,
            "not_after": root.not_valid_after_utc,
        },
    )
    publish(authority)


def publish(authority: ForeignAuthority) -> None:
    """The authority's lists, as the worker would have fetched them."""
    for name, data in (("people", authority.crl()), ("root", authority.root_crl())):
        pem = b"-----BEGIN" in data
        crl = x509.load_pem_x509_crl(data) if pem else x509.load_der_x509_crl(data)
        RevocationList.objects.update_or_create(
            url=f"http://crl.partner.example/{name}",
            defaults={"der": crl.public_bytes(Encoding.DER), "kind": "crl"},
        )
    material.forget()
    judging.forget()


def letter(sender: str, *, number: int = 1) -> EmailMessage:
    message = EmailMessage()
    message["From"] = sender
    message["To"] = "alice@acme.example"
    message["Subject"] = "Hello"
    message["Message-ID"] = f"<{number}@partner.example>"
    message["Date"] = "Tue, 24 Nov 2026 10:00:00 +0000"
    message.set_content("Hello Alice.\n")
    return message


def opened(user: User, mail: bytes) -> dict[str, Any]:
    now = int(time.time() * 1000)
    return door.service(
        "verifier",
        "open",
        {
            "raw": mail,
            "now": now,
            "received": now,
            "trust": material.trust_material(user.pk),
            "want": "message",
        },
    )


def state(user: User, address: str = DAVE) -> match.RecipientState:
    return match.recipients_state(user.pk, [address])[0]


def test_a_verified_mail_brings_the_certificate_and_the_address_can_be_written_to(
    alice: User, dave: Correspondent
) -> None:
    assert state(alice)["state"] == "none"
    result = opened(alice, smime(letter(DAVE), signer=dave))
    assert result["verdict"]["state"] == "verified", result["verdict"]["facts"]
    found = harvest.consider(alice.pk, result)
    assert found.outcome == "new"
    now = state(alice)
    assert now["state"] == "certificate"
    assert now["certificates"] == [der_of(dave.certificate)]
    assert now["source"] == "harvested"
    assert (now["level"], now["name"]) == ("V2", "Dave Dole")


def test_another_user_learns_nothing_from_alices_mail(
    alice: User, bob: User, dave: Correspondent
) -> None:
    harvest.consider(alice.pk, opened(alice, smime(letter(DAVE), signer=dave)))
    assert state(bob)["state"] == "none"


def test_an_untrusted_chain_brings_nothing(alice: User, dave: Correspondent) -> None:
    TrustedRoot.objects.all().delete()
    material.forget()
    result = opened(alice, smime(letter(DAVE), signer=dave))
    assert harvest.consider(alice.pk, result).outcome == ""
    assert state(alice)["state"] == "none"


def test_an_unsigned_mail_brings_nothing(alice: User) -> None:
    result = opened(alice, letter(DAVE).as_bytes())
    assert harvest.consider(alice.pk, result).outcome == ""


def test_a_changed_mail_brings_nothing(alice: User, dave: Correspondent) -> None:
    mail = smime(letter(DAVE), signer=dave).replace(b"Hello Alice", b"Hello Malice")
    assert harvest.consider(alice.pk, opened(alice, mail)).outcome == ""
    assert state(alice)["state"] == "none"


def test_a_signer_who_is_not_the_sender_teaches_nothing(
    alice: User, outside: ForeignAuthority
) -> None:
    """Mallory signs with a good certificate of her own and writes as Dave."""
    mallory = outside.issue("mallory@partner.example", "Mallory")
    result = opened(alice, smime(letter(DAVE), signer=mallory))
    assert harvest.consider(alice.pk, result).outcome == ""
    assert not Pin.objects.exists()


def test_a_pinned_certificate_is_never_replaced_by_itself(
    alice: User, dave: Correspondent, daves_next: Correspondent
) -> None:
    harvest.consider(alice.pk, opened(alice, smime(letter(DAVE), signer=dave)))
    result = opened(alice, smime(letter(DAVE, number=2), signer=daves_next))
    assert harvest.consider(alice.pk, result).outcome == "change"
    now = state(alice)
    assert now["certificates"] == [der_of(dave.certificate)]
    assert now["pending"] == fingerprint(der_of(daves_next.certificate))
    assert "Another certificate" in now["sentence"]
    # The word is for the certificate that was shown, and for no other.
    assert not pins.accept_pending(alice.pk, DAVE, "0" * 64)
    assert pins.accept_pending(alice.pk, DAVE, now["pending"])
    now = state(alice)
    assert now["certificates"] == [der_of(daves_next.certificate)]
    assert now["pending"] == ""


def test_the_user_may_keep_the_certificate_used_so_far(
    alice: User, dave: Correspondent, daves_next: Correspondent
) -> None:
    for number, who in enumerate((dave, daves_next)):
        harvest.consider(alice.pk, opened(alice, smime(letter(DAVE, number=number), signer=who)))
    assert pins.keep_current(alice.pk, DAVE)
    assert state(alice)["certificates"] == [der_of(dave.certificate)]
    assert state(alice)["pending"] == ""


def test_a_mail_teaches_nothing_about_a_colleague(
    alice: User, bob: User, outside: ForeignAuthority
) -> None:
    """A public authority was tricked into a certificate for Bob's address: ours counts."""
    tricked = outside.issue(BOB, "Bob")
    before = state(alice, BOB)
    assert before["source"] == "own"
    result = opened(alice, smime(letter(BOB), signer=tricked))
    assert result["verdict"]["state"] == "verified"
    assert harvest.consider(alice.pk, result).outcome == ""
    assert state(alice, BOB) == before


def test_what_was_not_learned_at_first_is_learned_when_the_mail_is_opened_again(
    alice: User, dave: Correspondent
) -> None:
    """The verifier was away the first time: the mail is counted, its certificate is not known."""
    result = opened(alice, smime(letter(DAVE), signer=dave))
    assert harvest.consider(alice.pk, result).outcome == "new"
    Pin.objects.all().delete()
    assert harvest.consider(alice.pk, result).outcome == "new"
    assert state(alice)["state"] == "certificate"
    Certificate.objects.update(capabilities=b"", capabilities_at=None)
    harvest.consider(alice.pk, result)
    assert Certificate.objects.get(sha256=fingerprint(der_of(dave.certificate))).capabilities


def test_a_mail_that_was_learned_is_not_learned_again(alice: User, dave: Correspondent) -> None:
    result = opened(alice, smime(letter(DAVE), signer=dave))
    assert harvest.consider(alice.pk, result).outcome == "new"
    judging.forget()
    with CaptureQueriesContext(connection) as asked:
        found = harvest.consider(alice.pk, result)
    assert (found.outcome, found.sha256) == ("known", fingerprint(der_of(dave.certificate)))
    assert len(asked) <= 3, asked.captured_queries
    assert all(query["sql"].startswith("SELECT") for query in asked.captured_queries)


def test_a_root_that_is_distrusted_later_stops_what_it_vouched_for(
    alice: User, dave: Correspondent
) -> None:
    harvest.consider(alice.pk, opened(alice, smime(letter(DAVE), signer=dave)))
    TrustedRoot.objects.update(enabled=False)
    material.forget()
    judging.forget()
    now = state(alice)
    assert now["state"] == "problem"
    assert now["certificates"] == []
    assert "trusted" in now["sentence"]


def test_what_the_user_accepted_is_used_without_any_root(alice: User, dave: Correspondent) -> None:
    TrustedRoot.objects.all().delete()
    material.forget()
    from webmail.certificates import store

    kept = store.keep(der_of(dave.certificate), Certificate.Source.HARVESTED)
    pins.accept(alice.pk, DAVE, kept)
    assert state(alice)["state"] == "certificate"
    assert material.trust_material(alice.pk)["pins"] == {DAVE: [kept.sha256]}


def test_a_revoked_certificate_is_not_used_any_more(alice: User, outside: ForeignAuthority) -> None:
    heidi = outside.issue("heidi@partner.example", "Heidi")
    harvest.consider(alice.pk, opened(alice, smime(letter(heidi.address), signer=heidi)))
    assert state(alice, heidi.address)["state"] == "certificate"
    outside.revoke(heidi)
    publish(outside)
    now = state(alice, heidi.address)
    assert (now["state"], now["certificates"]) == ("problem", [])
    assert "revoked" in now["sentence"]


def test_an_expired_certificate_is_a_problem_and_not_used(alice: User, dave: Correspondent) -> None:
    harvest.consider(alice.pk, opened(alice, smime(letter(DAVE), signer=dave)))
    Certificate.objects.update(not_after="2026-01-01T00:00:00Z")
    now = state(alice)
    assert (now["state"], now["certificates"]) == ("problem", [])
    assert "expired" in now["sentence"]


def test_each_mail_counts_once_for_continuity(alice: User, dave: Correspondent) -> None:
    result = opened(alice, smime(letter(DAVE), signer=dave))
    for _ in range(3):
        harvest.consider(alice.pk, result)
    known = history.of(alice.pk, "Dave@Partner.Example")
    assert (known.signed, known.unsigned) == (1, 0)
    assert known.last_signer == fingerprint(der_of(dave.certificate))
    for number in range(2, 5):
        harvest.consider(alice.pk, opened(alice, smime(letter(DAVE, number=number), signer=dave)))
    assert history.of(alice.pk, DAVE).usually_signs
    harvest.consider(alice.pk, opened(alice, letter(DAVE, number=9).as_bytes()))
    assert history.of(alice.pk, DAVE).unsigned == 1
    assert Row.objects.count() == 1
