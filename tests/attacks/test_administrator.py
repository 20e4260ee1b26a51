"""Somebody who may administer in Django admin, and wants to read Alice's mail."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin as django_admin
from django.core.exceptions import ValidationError
from django.db import models
from django.test import Client

from tests.accounts.cast import accept, add_person, browser
from tests.reading.conftest import Person
from webmail.accounts.models import MailAccount, NoLogin, User
from webmail.mailbox import imap
from webmail.mailbox.imap import MailServerError

pytestmark = pytest.mark.process

PASSWORD = "what the administrator knows"
PEOPLE = "/admin/accounts/user/"


@pytest.fixture
def administrator(db: None) -> Client:
    User.objects.create_superuser("root", PASSWORD)
    client = Client()
    answer = client.post("/admin/login/", {"username": "root", "password": PASSWORD})
    assert answer.status_code == 302
    return client


def change(administrator: Client, user: User, **changed: str) -> MailAccount:
    """Save the person's page with some fields of the mail account changed."""
    page = administrator.get(f"{PEOPLE}{user.pk}/change/")
    fields: dict[str, Any] = {"display_name": user.display_name, "is_active": "on"}
    for formset in page.context["inline_admin_formsets"]:
        management = formset.formset.management_form
        fields |= {f"{management.prefix}-{key}": value for key, value in management.initial.items()}
        for form in formset.formset.initial_forms:
            fields |= {form.add_prefix(name): form[name].value() for name in form.fields}
    fields |= {f"mail_account-0-{name}": value for name, value in changed.items()}
    fields = {name: value for name, value in fields.items() if value is not None}
    answer = administrator.post(f"{PEOPLE}{user.pk}/change/", fields)
    assert answer.status_code == 302, answer.context["errors"]
    return MailAccount.objects.get(user=user)


@pytest.mark.parametrize(
    "elsewhere",
    [{"imap_host": "imap.mallory.example"}, {"smtp_host": "smtp.mallory.example"},
     {"imap_port": "4143"}],
)  # fmt: skip
def test_the_password_of_the_mailbox_goes_to_no_server_it_was_not_given_for(
    administrator: Client, alice: Person, elsewhere: dict[str, str]
) -> None:
    kept = change(administrator, alice.user, imap_user=alice.address)
    assert kept.has_login, "the control: nothing that matters was changed"
    tls = {f"{name.partition('_')[0]}_tls": "implicit" for name in elsewhere}
    moved = change(administrator, alice.user, **elsewhere, **tls)
    assert not moved.has_login
    assert moved.imap_login() == (alice.address, "")
    given = change(
        administrator,
        alice.user,
        imap_host="imap.new.example",
        imap_tls="implicit",
        new_password="newer",
    )
    assert given.imap_login() == (alice.address, "newer")


@pytest.fixture
def master(settings: Any, alice: Person) -> MailAccount:
    """Alice's mailbox is opened by the mail server's master user."""
    account = alice.user.mail_account
    settings.IMAP_MASTER_USER, settings.IMAP_MASTER_PASSWORD = "vmail", "opens every mailbox"
    settings.IMAP_DEFAULT = f"none://127.0.0.1:{account.imap_port}"
    settings.SMTP_DEFAULT = f"none://127.0.0.1:{account.smtp_port}"
    account.login = MailAccount.Login.MASTER
    account.save()
    assert account.imap_login() == (f"{alice.address}*vmail", "opens every mailbox")
    assert account.smtp_login() == (f"{alice.address}*vmail", "opens every mailbox")
    return account


@pytest.mark.parametrize(
    "changed",
    [
        {"imap_host": "imap.mallory.example"},
        {"smtp_host": "smtp.mallory.example"},
        {"imap_port": 4143},
        {"imap_user": "ceo@acme.example"},
        {"smtp_user": "ceo@acme.example"},
    ],
)
def test_the_master_password_opens_ones_own_mailbox_on_the_organisations_server(
    master: MailAccount, administrator: Client, changed: dict[str, Any]
) -> None:
    for name, value in changed.items():
        setattr(master, name, value)
    with pytest.raises(ValidationError):
        master.check_master()
    with pytest.raises(NoLogin):
        master.imap_login()
    with pytest.raises(NoLogin):
        master.smtp_login()
    with pytest.raises(MailServerError, match="refused_login"):
        imap.connect(master)
    fields = {name: str(value) for name, value in changed.items()} | {
        "imap_tls": "implicit",
        "smtp_tls": "implicit",
    }
    with pytest.raises(AssertionError):
        change(administrator, master.user, **fields)
    assert MailAccount.objects.get().imap_login()[0].startswith(master.user.username)


def test_a_new_person_is_not_given_somebody_elses_mailbox(
    master: MailAccount, administrator: Client
) -> None:
    fields = {"display_name": "Mallory", "addresses": "m@acme.example", "use_master": "on"}
    page = administrator.post(f"{PEOPLE}add/", {**fields, "mail_user": master.user.username})
    assert page.status_code == 200
    assert not User.objects.filter(username="m@acme.example").exists()
    administrator.post(f"{PEOPLE}add/", fields)
    assert User.objects.get(username="m@acme.example").mail_account.imap_login()[1]


def test_a_password_set_past_the_vault_opens_no_mailbox(alice: Person) -> None:
    user = alice.user
    user.is_staff = True
    user.set_password(PASSWORD)
    user.save()
    thief = Client()
    answer = thief.post("/admin/login/", {"username": user.username, "password": PASSWORD})
    assert answer.status_code == 302, "Django's own sign-in takes it"
    for path in ("/settings/", f"/mail/{alice.inbox.pk}/", "/", "/compose/outbox/"):
        assert "sign-in" in thief.get(path)["Location"]
    assert "login" in thief.get("/admin/")["Location"]


def test_an_administrator_who_gets_a_mailbox_keeps_no_second_password(
    administrator: Client, alice: Person
) -> None:
    user = add_person("boss@acme.example", "Boss")
    user.set_password(PASSWORD)
    user.save()
    client = browser()
    accept(client, user, "five other words for boss")
    user.refresh_from_db()
    assert not user.has_usable_password()
    assert client.get("/settings/").status_code == 200


KEPT_OUT = {
    "accounts.browsersession", "accounts.throttle", "agent.keysession",
    "agent.vault", "agent.lease", "agent.keyuse", "agent.audithead", "compose.draft",
    "compose.draftattachment", "mailbox.message", "sessions.session",
}  # fmt: skip
"""Keys, sessions, mail and the chain of key uses: nothing of it is a page of the admin."""


def test_no_page_of_the_admin_shows_or_changes_keys_sessions_or_mail(
    administrator: Client, alice: Person
) -> None:
    shown = {model._meta.label_lower for model in django_admin.site._registry}
    assert "accounts.user" in shown
    ours = {model._meta.label_lower for model in apps.get_models()}
    sealed = {
        model._meta.label_lower
        for model in apps.get_models()
        if any(isinstance(field, models.BinaryField) for field in model._meta.fields)
    }
    assert shown & KEPT_OUT == set()
    assert ours >= KEPT_OUT
    for label in shown & sealed:
        model = apps.get_model(label)
        row = model.objects.first()
        if row is None:
            continue
        name = label.replace(".", "_")
        page = administrator.get(f"/admin/{name.replace('_', '/', 1)}/{row.pk}/change/")
        assert page.status_code == 200, label
        for field in model._meta.fields:
            if isinstance(field, models.BinaryField):
                assert field.name not in page.context["adminform"].form.fields
                assert f'field-{field.name}"' not in page.content.decode()
