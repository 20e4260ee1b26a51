from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.accounts.cast import add_person
from webmail.accounts.models import MailAccount, NoLogin
from webmail.lib import sealing
from webmail.lib.sealing import SealBroken

OLD, NEW = bytes(range(32)), bytes(range(32, 64))


@pytest.fixture(autouse=True)
def ring(settings: Any) -> None:
    settings.SERVER_KEY_RING = [OLD]


def test_what_is_sealed_opens_in_its_own_place_only() -> None:
    sealed = sealing.seal(b"secret of the mail server", b"row 1")
    assert b"secret" not in sealed
    assert sealing.unseal(sealed, b"row 1") == b"secret of the mail server"
    with pytest.raises(SealBroken):
        sealing.unseal(sealed, b"row 2")


@pytest.mark.parametrize("position", [0, 1, 8, 9, 20, 21, -1])
def test_no_octet_of_a_sealed_value_can_be_changed(position: int) -> None:
    sealed = bytearray(sealing.seal(b"secret", b"row"))
    sealed[position] ^= 1
    with pytest.raises(SealBroken):
        sealing.unseal(bytes(sealed), b"row")


def test_short_values_are_refused() -> None:
    with pytest.raises(SealBroken):
        sealing.unseal(b"\x01", b"row")


def test_an_older_key_of_the_ring_still_opens(settings: Any) -> None:
    sealed = sealing.seal(b"secret", b"row")
    settings.SERVER_KEY_RING = [NEW, OLD]
    assert sealing.unseal(sealed, b"row") == b"secret"
    assert not sealing.is_current(sealed)
    assert sealing.is_current(sealing.seal(b"secret", b"row"))
    settings.SERVER_KEY_RING = [NEW]
    with pytest.raises(SealBroken):
        sealing.unseal(sealed, b"row")


@pytest.mark.django_db
def test_rotation_seals_every_credential_under_the_new_key(settings: Any) -> None:
    account = add_person("alice@acme.example", "Alice").mail_account
    account.set_password(b"mailbox password")
    account.save()
    settings.SERVER_KEY_RING = [NEW, OLD]
    said = io.StringIO()
    call_command("reseal_credentials", stdout=said)
    assert said.getvalue() == "1 sealed anew.\n"
    settings.SERVER_KEY_RING = [NEW]
    assert MailAccount.objects.get().imap_login() == ("alice@acme.example", "mailbox password")


@pytest.mark.django_db
def test_rotation_tells_of_credentials_that_no_key_opens(settings: Any) -> None:
    account = add_person("alice@acme.example", "Alice").mail_account
    account.set_password(b"mailbox password")
    account.save()
    settings.SERVER_KEY_RING = [NEW]
    with pytest.raises(CommandError, match="1 open with no key"):
        call_command("reseal_credentials", stdout=io.StringIO())


@pytest.mark.django_db
def test_a_credential_moved_to_another_persons_row_does_not_open() -> None:
    alice = add_person("alice@acme.example", "Alice").mail_account
    mallory = add_person("mallory@acme.example", "Mallory").mail_account
    alice.set_password(b"mailbox password")
    mallory.credential = alice.credential
    with pytest.raises(NoLogin, match="another place"):
        mallory.imap_login()


@pytest.mark.django_db
def test_the_master_user_signs_in_for_everybody(settings: Any) -> None:
    settings.IMAP_MASTER_USER, settings.IMAP_MASTER_PASSWORD = "sealpost", "of the master"
    settings.IMAP_DEFAULT = "implicit://mail.acme.example:993"
    account = add_person("alice@acme.example", "Alice").mail_account
    account.imap_host, account.imap_port = "mail.acme.example", 993
    account.smtp_host, account.login = "", MailAccount.Login.MASTER
    assert account.has_login
    assert account.imap_login() == ("alice@acme.example*sealpost", "of the master")
