"""From the link to the inbox: all of it, or none."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from django.db import connection
from django.test import Client
from django.utils import timezone

from launcher.dovecot import Dovecot
from tests.accounts.cast import (
    ALICE,
    ALICES_PASSWORD,
    RECOVERY_CODE,
    add_person,
    browser,
    link_of,
    post,
)
from tests.support.agent_node import AgentNode
from tests.support.servers import PASSWORD as MAIL_PASSWORD
from webmail.accounts import invitations
from webmail.accounts.models import Invitation, MailAccount, User
from webmail.agent import door
from webmail.agent.models import KeySession, Vault
from webmail.authority.models import IssuedCertificate
from webmail.certificates.models import OwnCertificate
from webmail.lib import failpoints
from webmail.onboarding import activate

pytestmark = [pytest.mark.django_db, pytest.mark.process]

CHOSEN = {"password": ALICES_PASSWORD, "password_again": ALICES_PASSWORD}
STEPS = ["before_vault", "after_vault", "after_issue", "after_install"]


def nothing_is_left(user: User) -> None:
    user.refresh_from_db()
    assert user.activated_at is None
    assert not Vault.objects.filter(user=user).exists()
    assert not KeySession.objects.filter(user=user).exists()
    assert not OwnCertificate.objects.filter(user=user).exists()
    assert not IssuedCertificate.objects.filter(
        user=user, status=IssuedCertificate.Status.VALID
    ).exists()


# --------------------------------------------------------------------------- the good way


def test_an_invited_person_gets_keys_certificates_and_a_recovery_code(node: AgentNode) -> None:
    user = add_person(ALICE, "Alice Adams")
    link, client = link_of(user), browser()
    page = client.get(link)
    assert page.status_code == 200
    assert page.context["addresses"] == [ALICE]
    answer = post(client, link, CHOSEN)
    assert answer.status_code == 200
    assert RECOVERY_CODE.search(answer.content.decode())
    assert "no-store" in answer["Cache-Control"]
    user.refresh_from_db()
    assert user.activated_at is not None
    assert door.is_unlocked(user.hex)
    rows = OwnCertificate.objects.filter(user=user).select_related("certificate")
    assert {row.purpose for row in rows} == {"sign", "encrypt"}
    keys = set()
    for row in rows:
        certificate = x509.load_der_x509_certificate(bytes(row.certificate.der))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert names.value.get_values_for_type(x509.RFC822Name) == [ALICE]
        keys.add(certificate.public_key().public_numbers())  # type: ignore[union-attr]
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("told", "kept"), [("Asia/Shanghai", "Asia/Shanghai"), ("Mars/Olympus", "UTC"), ("", "UTC")]
)
def test_the_browser_tells_its_time_zone(node: AgentNode, told: str, kept: str) -> None:
    user = add_person(ALICE, "Alice Adams")
    assert post(browser(), link_of(user), {**CHOSEN, "time_zone": told}).status_code == 200
    user.refresh_from_db()
    assert user.time_zone == kept


def test_rsa_keys_are_made_by_default(node: AgentNode, settings: Any) -> None:
    settings.KEY_ALGORITHM = "rsa-3072"
    user = add_person(ALICE, "Alice Adams")
    assert post(browser(), link_of(user), CHOSEN).status_code == 200
    assert set(user.own_certificates.values_list("certificate__key", flat=True)) == {"RSA 3072"}


def test_looking_at_the_invitation_does_not_use_it_up(node: AgentNode) -> None:
    link = link_of(add_person(ALICE, "Alice"))
    for _ in range(3):
        assert browser().get(link).status_code == 200


def test_the_link_names_the_host_of_the_settings_only(node: AgentNode, settings: Any) -> None:
    settings.ORIGIN = "https://mail.acme.example"
    url = invitations.invite(add_person(ALICE, "Alice"))
    assert url.startswith("https://mail.acme.example/welcome/")
    assert len(url.rstrip("/").rpartition("/")[2]) >= 43  # 256 bits


def test_the_database_does_not_hold_the_token(node: AgentNode) -> None:
    link = link_of(add_person(ALICE, "Alice"))
    token = link.strip("/").rpartition("/")[2]
    stored = str(list(Invitation.objects.values()))
    assert token not in stored
    assert token.encode().hex() not in stored


# --------------------------------------------------------------------------- links that are over


def test_a_used_invitation_says_so(node: AgentNode) -> None:
    link = link_of(add_person(ALICE, "Alice"))
    post(browser(), link, CHOSEN)
    for answer in (browser().get(link), post(browser(), link, CHOSEN)):
        assert answer.status_code == 410
        assert answer.context["sentence"] == "This invitation was used already."
        assert "Sign in" in answer.context["hint"]


def test_an_expired_invitation_says_so(node: AgentNode) -> None:
    user = add_person(ALICE, "Alice")
    link = link_of(user)
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    answer = post(browser(), link, CHOSEN)
    assert answer.status_code == 410
    assert "expired" in answer.context["sentence"]
    nothing_is_left(user)


def test_a_newer_invitation_ends_the_earlier_one(node: AgentNode) -> None:
    user = add_person(ALICE, "Alice")
    first, second = link_of(user), link_of(user)
    assert browser().get(first).status_code == 410
    assert browser().get(second).status_code == 200


def test_a_disabled_person_cannot_accept(node: AgentNode) -> None:
    user = add_person(ALICE, "Alice")
    link = link_of(user)
    User.objects.update(is_active=False)
    assert post(browser(), link, CHOSEN).status_code == 410
    nothing_is_left(user)


@pytest.mark.parametrize("token", ["x", "A" * 43, "ä" * 20, "a" * 5000])
def test_an_unknown_link_says_so(node: AgentNode, token: str) -> None:
    answer = browser().get(f"/welcome/{token}/")
    assert answer.status_code == 410
    assert "not known" in answer.context["sentence"]


# --------------------------------------------------------------------------- passwords


@pytest.mark.parametrize(
    ("password", "again"), [("short", "short"), (ALICES_PASSWORD, "another one altogether")]
)
def test_a_refused_password_leaves_the_invitation_open(
    node: AgentNode, password: str, again: str
) -> None:
    user = add_person(ALICE, "Alice")
    link = link_of(user)
    answer = post(browser(), link, {"password": password, "password_again": again})
    assert answer.status_code == 422
    assert answer.context["error"]["hint"]
    nothing_is_left(user)
    assert post(browser(), link, CHOSEN).status_code == 200


# --------------------------------------------------------------------------- failing half-way


@pytest.mark.parametrize("step", STEPS)
def test_after_a_failure_nothing_half_made_remains_and_the_link_works_again(
    node: AgentNode, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = add_person(ALICE, "Alice")
    link = link_of(user)
    monkeypatch.setitem(failpoints._armed, f"onboarding.{step}", ("raise", 0.0))
    client = browser()
    client.raise_request_exception = False
    assert post(client, link, CHOSEN).status_code == 500
    nothing_is_left(user)
    monkeypatch.undo()
    assert post(client, link, CHOSEN).status_code == 200


@pytest.mark.parametrize("step", STEPS)
def test_after_a_crash_the_next_attempt_sweeps_what_was_left(
    node: AgentNode, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies: nothing of it cleans up. Two minutes later the link works."""
    user = add_person(ALICE, "Alice")
    link = link_of(user)
    monkeypatch.setitem(failpoints._armed, f"onboarding.{step}", ("raise", 0.0))
    monkeypatch.setattr(activate, "_undo", lambda *_: None)
    client = browser()
    client.raise_request_exception = False
    post(client, link, CHOSEN)
    monkeypatch.undo()
    answer = post(browser(), link, CHOSEN)
    assert answer.status_code == 409
    assert "another window" in answer.context["sentence"]
    assert post(browser(), "/sign-in/", {"address": ALICE, **CHOSEN}).status_code == 422
    Invitation.objects.update(claimed_at=timezone.now() - timedelta(minutes=3))
    assert post(browser(), link, CHOSEN).status_code == 200
    assert IssuedCertificate.objects.filter(user=user, status="valid").count() == 2


def test_without_a_key_service_the_invitation_stays_open(node: AgentNode) -> None:
    from webmail.agent.models import Lease, Node

    user = add_person(ALICE, "Alice")
    link = link_of(user)
    Lease.objects.all().delete()
    Node.objects.all().delete()
    answer = post(browser(), link, CHOSEN)
    assert answer.status_code == 503
    assert "still works" in answer.context["error"]["hint"]
    nothing_is_left(user)


def test_an_attempt_that_lost_its_claim_does_not_destroy_the_winners_work(
    node: AgentNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tab one is so slow that its claim lapses; tab two finishes; then tab one fails."""
    user = add_person(ALICE, "Alice")
    link = link_of(user)
    invitation = Invitation.objects.get()
    slow = invitations.claim(invitation)
    assert slow is not None
    Invitation.objects.update(claimed_at=timezone.now() - timedelta(minutes=3))
    assert post(browser(), link, CHOSEN).status_code == 200
    activate._undo(user, slow)
    assert not invitations.consume(slow)
    user.refresh_from_db()
    assert user.activated_at is not None
    assert Vault.objects.filter(user=user).exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_tabs_one_wins() -> None:
    user = add_person(ALICE, "Alice")
    link_of(user)
    won: list[object] = []

    def tab() -> None:
        try:
            won.append(invitations.claim(Invitation.objects.get()))
        finally:
            connection.close()

    tabs = [threading.Thread(target=tab) for _ in range(6)]
    for each in tabs:
        each.start()
    for each in tabs:
        each.join()
    assert len(won) == 6
    assert len([attempt for attempt in won if attempt is not None]) == 1


# --------------------------------------------------------------------------- the mailbox


@pytest.fixture
def with_mailbox(node: AgentNode, dovecot: Dovecot) -> tuple[Client, MailAccount]:
    """Alice has accepted; the administrator gave no password for her mailbox."""
    user = add_person(ALICE, "Alice Adams", dovecot)
    account = user.mail_account
    account.credential = None
    account.save()
    client = browser()
    post(client, link_of(user), CHOSEN)
    return client, account


def test_who_has_no_saved_mailbox_password_is_asked_once(
    with_mailbox: tuple[Client, MailAccount],
) -> None:
    client, account = with_mailbox
    page = client.get("/welcome/ready/")
    assert page.context["mail_form"]["needs_password"]
    answer = post(client, "/welcome/ready/", {"mail_password": MAIL_PASSWORD})
    assert answer.status_code == 303
    account.refresh_from_db()
    assert account.imap_login() == (ALICE, MAIL_PASSWORD)
    assert account.verified_at is not None
    page = client.get("/welcome/ready/")
    assert page.context["mail_form"] is None
    assert all(check["ok"] for check in page.context["checks"])


def test_a_wrong_mailbox_password_is_told_and_not_kept(
    with_mailbox: tuple[Client, MailAccount],
) -> None:
    client, account = with_mailbox
    answer = post(client, "/welcome/ready/", {"mail_password": "not the one"})
    assert answer.status_code == 422
    error = answer.context["mail_form"]["error"]
    assert "does not accept this password" in error["sentence"]
    assert "try again" in error["hint"]
    account.refresh_from_db()
    assert account.credential is None


def test_a_password_that_the_administrator_gave_is_tried(node: AgentNode, dovecot: Dovecot) -> None:
    user = add_person(ALICE, "Alice Adams", dovecot)
    client = browser()
    post(client, link_of(user), CHOSEN)
    page = client.get("/welcome/ready/")
    assert [check["ok"] for check in page.context["checks"]] == [True, True, True]
    assert {row["purpose"] for row in page.context["certificates"]} == {"sign", "encrypt"}


def test_a_mail_server_that_is_away_is_told(node: AgentNode) -> None:
    user = add_person(ALICE, "Alice Adams")
    account = user.mail_account
    account.set_password(b"whatever it is")
    account.save()
    client = browser()
    post(client, link_of(user), CHOSEN)
    page = client.get("/welcome/ready/")
    assert page.status_code == 200
    assert page.context["checks"][-1]["ok"] is False
    assert "cannot be reached" in page.context["checks"][-1]["detail"]
