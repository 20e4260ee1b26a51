"""The outside world of demo and tests is what it says it is, in openssl's own judgement."""

from __future__ import annotations

from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest

from launcher.demo_mail import Cast, alice_mail, compose, make_cast
from launcher.foreign import ForeignAuthority, OpensslError, open_mail, openssl, smime

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def cast(tmp_path_factory: pytest.TempPathFactory) -> Cast:
    folder = tmp_path_factory.mktemp("cast")
    return make_cast(folder / "outside", folder / "public", "http://127.0.0.1:1")


def message(sender: str) -> EmailMessage:
    return compose(sender, "alice@acme.example", "Grüße 你好", "Text\n", date=NOW)


@pytest.mark.parametrize("cipher", ["aes-256-cbc", "aes-256-gcm"])
def test_openssl_opens_what_it_sealed(cast: Cast, cipher: str) -> None:
    raw = smime(
        message(cast.carol.mailbox()),
        signer=cast.carol,
        recipients=[cast.vera.certificate],
        cipher=cipher,
    )
    opened = open_mail(raw, cast.vera, [cast.trusted.root_certificate])
    assert (opened.encrypted, opened.signed) == (True, True)
    assert b"Text" in opened.entity
    assert b"Text" not in raw


def test_a_changed_byte_is_noticed_by_openssl(cast: Cast) -> None:
    raw = smime(message(cast.carol.mailbox()), signer=cast.carol)
    assert open_mail(raw, cast.vera, [cast.trusted.root_certificate]).signed
    with pytest.raises(OpensslError):
        open_mail(raw.replace(b"Text", b"Test"), cast.vera, [cast.trusted.root_certificate])


def test_the_unknown_authority_is_not_trusted_by_the_other_root(cast: Cast) -> None:
    raw = smime(message(cast.stranger.mailbox()), signer=cast.stranger)
    assert open_mail(raw, cast.vera, [cast.unknown.root_certificate]).signed
    with pytest.raises(OpensslError):
        open_mail(raw, cast.vera, [cast.trusted.root_certificate])


def test_only_rita_is_on_the_revocation_list(cast: Cast, tmp_path: Path) -> None:
    crl = openssl("crl", "-inform", "DER", "-noout", "-text", data=cast.trusted.crl()).decode()
    serial = openssl("x509", "-in", cast.revoked.certificate, "-noout", "-serial").decode()
    assert serial.strip().partition("=")[2] in crl
    assert crl.count("Serial Number:") == 1


def test_an_expired_certificate_is_really_expired(cast: Cast) -> None:
    openssl("x509", "-in", cast.carol.certificate, "-noout", "-checkend", "0")
    with pytest.raises(OpensslError):
        openssl("x509", "-in", cast.lapsed.certificate, "-noout", "-checkend", "0")


def test_alice_gets_a_few_dozen_mails_in_order_of_kind(cast: Cast) -> None:
    mails = list(alice_mail(cast, "Alice <alice@acme.example>", cast.vera.certificate, NOW))
    assert len(mails) >= 24
    assert all(mail.received <= NOW for mail in mails)
    assert sum(b"application/pkcs7-mime" in mail.raw for mail in mails) >= 5
    assert sum(b"multipart/signed" in mail.raw for mail in mails) >= 8


def test_elliptic_certificates_are_issued(tmp_path: Path) -> None:
    authority = ForeignAuthority(tmp_path, "Curves").create()
    person = authority.issue("ed@curves.example", "Ed", elliptic=True)
    raw = smime(message(person.mailbox()), signer=person, recipients=[person.certificate])
    assert open_mail(raw, person, [authority.root_certificate]).encrypted
