"""Provisioning in Django admin."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.accounts.cast import ALICE, ALICES_PASSWORD, BOB, add_person, post
from tests.support.agent_node import AgentNode
from webmail.accounts.capped_paginator import COUNT_LIMIT
from webmail.accounts.models import Address, Invitation, MailAccount, User
from webmail.agent import door
from webmail.agent.models import Vault

pytestmark = pytest.mark.django_db

PEOPLE = "/admin/accounts/user/"
ADMIN_PASSWORD = "what the admin knows"
LINK = re.compile(r"http://localhost:8000(/welcome/[A-Za-z0-9_-]{43}/)")


@pytest.fixture
def admin(settings: Any) -> Client:
    """A browser of an administrator without a mailbox, signed in by Django's own page."""
    settings.IMAP_DEFAULT = "none://127.0.0.1:1143"
    settings.SMTP_DEFAULT = "none://127.0.0.1:1025"
    User.objects.create_superuser("root", ADMIN_PASSWORD)
    client = Client()
    answer = client.post("/admin/login/", {"username": "root", "password": ADMIN_PASSWORD})
    assert answer.status_code == 302
    return client


def add(admin: Client, **fields: str) -> Any:
    return admin.post(
        PEOPLE + "add/",
        {"display_name": "Alice Adams", "addresses": f"{ALICE}\nadams@Acme.example", **fields},
    )


def test_one_form_adds_a_person_and_shows_the_link_once(admin: Client) -> None:
    answer = add(admin)
    assert answer.status_code == 200, answer.content.decode()
    assert answer.templates[0].name == "admin/accounts/invitations.html"
    assert "no-store" in answer["Cache-Control"]
    link = LINK.search(answer.content.decode())
    assert link is not None
    user = User.objects.get(username=ALICE)
    assert [row.address for row in user.addresses.all()] == [ALICE, "adams@acme.example"]
    assert not user.has_usable_password()
    account = user.mail_account
    assert (account.imap_host, account.imap_port, account.imap_user) == ("127.0.0.1", 1143, ALICE)
    assert account.smtp_port == 1025
    assert Client().get(link[1]).status_code == 200
    assert Invitation.objects.get().invited_by == User.objects.get(username="root")


def test_the_desk_begins_with_people_and_calls_things_by_what_they_do(admin: Client) -> None:
    names = [str(app["name"]) for app in admin.get("/admin/").context["app_list"]]
    assert names[0] == "People"
    assert "Axes" not in names


def test_typed_servers_win_over_discovered_ones(admin: Client) -> None:
    add(admin, imap="imap.other.example", smtp="starttls://smtp.other.example:2587",
        mail_user="adams", mail_password="of the mailbox")  # fmt: skip
    account = MailAccount.objects.get()
    assert (account.imap_host, account.imap_port, account.imap_tls) == (
        "imap.other.example", 993, "implicit",
    )  # fmt: skip
    assert (account.smtp_host, account.smtp_port, account.smtp_tls) == (
        "smtp.other.example", 2587, "starttls",
    )  # fmt: skip
    assert account.imap_login() == ("adams", "of the mailbox")
    assert b"of the mailbox" not in bytes(account.credential or b"")


@pytest.mark.parametrize(
    "wrong",
    [
        {"addresses": ""},
        {"addresses": "no address"},
        {"addresses": "root"},
        {"imap": "ftp://imap.acme.example"},
        {"imap": "none://imap.acme.example"},
        {"use_master": "on"},
    ],
)
def test_what_cannot_be_is_told_on_the_form_and_makes_nobody(
    admin: Client, wrong: dict[str, str]
) -> None:
    answer = add(admin, **wrong)
    assert answer.status_code == 200
    assert answer.context["adminform"].form.errors
    assert User.objects.count() == 1
    assert not MailAccount.objects.exists()


def test_an_address_belongs_to_one_person(admin: Client) -> None:
    add_person("adams@acme.example", "Another")
    answer = add(admin)
    assert "belongs to somebody already" in answer.content.decode()
    assert not User.objects.filter(username=ALICE).exists()


def test_a_new_link_ends_the_earlier_one(admin: Client) -> None:
    first = LINK.search(add(admin).content.decode())
    user = User.objects.get(username=ALICE)
    answer = admin.post(PEOPLE, {"action": "show_invitations", "_selected_action": [user.pk]})
    second = LINK.search(answer.content.decode())
    assert first is not None
    assert second is not None
    assert Client().get(first[1]).status_code == 410
    assert Client().get(second[1]).status_code == 200


def test_the_pages_of_admin_open(admin: Client) -> None:
    user = add_person(ALICE, "Alice")
    for path in ("/admin/", PEOPLE, PEOPLE + "add/", f"{PEOPLE}{user.pk}/change/"):
        answer = admin.get(path)
        assert answer.status_code == 200
        assert "default-src 'none'" in answer["Content-Security-Policy"]
        assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>\s*[^<\s]", answer.content.decode())


def test_a_changed_mail_server_and_password_are_kept(admin: Client) -> None:
    user = add_person(ALICE, "Alice")
    page = admin.get(f"{PEOPLE}{user.pk}/change/")
    fields: dict[str, Any] = {"display_name": "Alice", "is_active": "on"}
    for formset in page.context["inline_admin_formsets"]:
        management = formset.formset.management_form
        fields |= {
            f"{management.prefix}-{name}": value for name, value in management.initial.items()
        }
        for form in formset.formset.initial_forms:
            fields |= {form.add_prefix(name): form[name].value() for name in form.fields}
    fields |= {
        "mail_account-0-imap_host": "imap.new.example",
        "mail_account-0-imap_tls": "implicit",
        "mail_account-0-new_password": "newer",
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    answer = admin.post(f"{PEOPLE}{user.pk}/change/", fields)
    assert answer.status_code == 302, answer.context["errors"]
    account = MailAccount.objects.get()
    assert (account.imap_host, account.imap_login()[1]) == ("imap.new.example", "newer")


# --------------------------------------------------------------------------- many people


def test_a_list_of_many_people_is_not_counted_and_needs_few_queries(admin: Client) -> None:
    User.objects.bulk_create(
        User(username=f"person{number:06d}@acme.example", password="!") for number in range(6_000)
    )
    with CaptureQueriesContext(
        connection,
    ) as queries:
        answer = admin.get(PEOPLE)
    assert answer.status_code == 200
    assert answer.context["cl"].result_count == COUNT_LIMIT
    assert len(queries) < 15
    counts = [query["sql"] for query in queries if "COUNT(" in query["sql"]]
    assert counts
    assert all(f"LIMIT {COUNT_LIMIT}" in sql for sql in counts)


@pytest.mark.parametrize("words", ["alice@", "Adams", "adams@acme", "ALICE"])
def test_people_are_found_by_address_and_name(admin: Client, words: str) -> None:
    user = add_person(ALICE, "Alice Adams")
    Address.objects.create(user=user, address="adams@acme.example")
    add_person(BOB, "Bob Brown")
    found = admin.get(PEOPLE, {"q": words}).context["cl"].result_list
    assert [row.username for row in found] == [ALICE]


# --------------------------------------------------------------------------- power, and its limits


@pytest.mark.process
def test_disabling_locks_at_once_and_refuses_sign_in(
    admin: Client, alice: User, client_of_alice: Client
) -> None:
    assert door.is_unlocked(alice.hex)
    admin.post(PEOPLE, {"action": "disable", "_selected_action": [alice.pk]})
    assert not door.is_unlocked(alice.hex)
    assert client_of_alice.get("/settings/").status_code == 302
    fields = {"address": ALICE, "password": ALICES_PASSWORD}
    assert post(Client(), "/sign-in/", fields).status_code == 422
    admin.post(PEOPLE, {"action": "enable", "_selected_action": [alice.pk]})
    assert post(Client(), "/sign-in/", fields).status_code == 303


@pytest.mark.process
def test_locking_from_admin_leaves_the_person_signed_in(
    admin: Client, alice: User, client_of_alice: Client
) -> None:
    admin.post(PEOPLE, {"action": "lock_now", "_selected_action": [alice.pk]})
    page = client_of_alice.get("/settings/")
    assert page.status_code == 200
    assert page.context["lock_state"]["state"] == "locked"


@pytest.mark.process
def test_nobody_with_keys_can_be_deleted_or_invited_again(admin: Client, alice: User) -> None:
    path = reverse("admin:accounts_user_delete", args=[alice.pk])
    assert admin.post(path, {"post": "yes"}).status_code == 403
    admin.post(
        PEOPLE,
        {"action": "delete_selected", "_selected_action": [alice.pk], "post": "yes"},
    )
    admin.post(PEOPLE, {"action": "show_invitations", "_selected_action": [alice.pk]})
    assert Vault.objects.filter(user=alice).exists()
    assert not Invitation.objects.filter(user=alice, used_at=None).exists()


def test_who_has_not_accepted_yet_can_be_deleted(admin: Client) -> None:
    user = add_person(ALICE, "Alice")
    path = reverse("admin:accounts_user_delete", args=[user.pk])
    assert admin.post(path, {"post": "yes"}).status_code == 302
    assert not User.objects.filter(pk=user.pk).exists()


def test_an_administrator_cannot_disable_themselves(admin: Client) -> None:
    root = User.objects.get(username="root")
    answer = admin.post(PEOPLE, {"action": "disable", "_selected_action": [root.pk]})
    assert answer.status_code == 403
    root.refresh_from_db()
    assert root.is_active


@pytest.mark.process
def test_an_administrator_with_a_mailbox_must_be_unlocked(
    alice: User, client_of_alice: Client
) -> None:
    User.objects.filter(pk=alice.pk).update(is_staff=True, is_superuser=True)
    assert client_of_alice.get(PEOPLE).status_code == 200
    post(client_of_alice, "/lock/", {})
    answer = client_of_alice.get(PEOPLE, follow=True)
    assert answer.redirect_chain[-1][0].startswith("/unlock/?back_to=")
    answer = post(client_of_alice, "/unlock/", {"password": ALICES_PASSWORD, "back_to": PEOPLE})
    assert answer["Location"] == PEOPLE
    assert client_of_alice.get(PEOPLE).status_code == 200


@pytest.mark.process
def test_people_without_the_right_do_not_see_admin(client_of_alice: Client) -> None:
    assert client_of_alice.get(PEOPLE).status_code == 302


def test_guessing_an_administrators_password_is_stopped(admin: Client) -> None:
    stranger = Client()
    for _ in range(5):
        stranger.post("/admin/login/", {"username": "root", "password": "guess"})
    answer = stranger.post("/admin/login/", {"username": "root", "password": ADMIN_PASSWORD})
    assert answer.status_code == 403
    assert "Too many" in answer.content.decode()


# --------------------------------------------------------------------------- command line


def test_the_command_line_prints_the_link_alone(
    settings: Any, monkeypatch: pytest.MonkeyPatch, node: AgentNode
) -> None:
    settings.IMAP_DEFAULT = settings.SMTP_DEFAULT = "none://127.0.0.1:1143"
    monkeypatch.setenv("SEALPOST_IMAP_PASSWORD", "of the mailbox")
    said = io.StringIO()
    call_command("create_person", ALICE, "--name", "Alice Adams", stdout=said)
    assert LINK.fullmatch(said.getvalue().strip())
    account = MailAccount.objects.get()
    assert account.imap_login() == (ALICE, "of the mailbox")
    again = io.StringIO()
    call_command("create_person", ALICE, stdout=again)
    assert again.getvalue() != said.getvalue()
    assert User.objects.count() == 1


@pytest.mark.process
def test_the_command_line_invites_nobody_who_has_keys(alice: User) -> None:
    with pytest.raises(CommandError, match="accepted already"):
        call_command("create_person", ALICE)


def test_an_administrator_is_made_with_a_good_password_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "short")
    with pytest.raises(CommandError, match="short"):
        call_command("create_admin", "root")
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", ADMIN_PASSWORD)
    call_command("create_admin", "root", stdout=io.StringIO())
    assert User.objects.get(username="root").is_superuser
    with pytest.raises(CommandError, match="there already"):
        call_command("create_admin", "root")
    with pytest.raises(CommandError, match="without @"):
        call_command("create_admin", ALICE)
