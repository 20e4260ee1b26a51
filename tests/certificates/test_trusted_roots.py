"""The admin's form for roots: it takes exactly one real root, and says what is wrong otherwise."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.core.files.uploadedfile import SimpleUploadedFile

from launcher.foreign import ForeignAuthority
from webmail.certificates import facts, own, store
from webmail.certificates.admin import TrustedRootForm
from webmail.certificates.models import Certificate, TrustedRoot

pytestmark = pytest.mark.django_db


def form(pasted: str = "", uploaded: bytes | None = None) -> TrustedRootForm:
    files = {"uploaded": SimpleUploadedFile("root.crt", uploaded)} if uploaded else {}
    return TrustedRootForm({"pasted": pasted, "enabled": "on"}, files)


def test_a_root_is_taken_as_text_and_as_a_file(outside: ForeignAuthority) -> None:
    pem = outside.root_certificate.read_text()
    pasted = form(pasted=pem)
    assert pasted.is_valid(), pasted.errors
    saved = pasted.save()
    assert "Root" in saved.subject
    again = form(uploaded=facts.from_pem_or_der(pem.encode()))
    assert not again.is_valid()
    assert "already" in str(again.errors)
    TrustedRoot.objects.all().delete()
    assert form(uploaded=facts.from_pem_or_der(pem.encode())).is_valid()


def test_everything_else_is_refused_with_one_sentence(outside: ForeignAuthority) -> None:
    person = outside.issue("erin@partner.example", "Erin")
    pem = outside.root_certificate.read_text()
    cases = {
        "Paste one": form(),
        "not one certificate": form(pasted="hello"),
        "person or server": form(pasted=person.certificate.read_text()),
        "intermediate": form(pasted=outside.chain.read_text()),
    }
    for words, refused in cases.items():
        assert not refused.is_valid()
        assert words in str(refused.errors), words
    assert not form(pasted=pem + pem).is_valid()
    assert not form(pasted=pem, uploaded=pem.encode()).is_valid()
    assert not TrustedRoot.objects.exists()


def test_facts_of_a_certificate_are_read(outside: ForeignAuthority) -> None:
    person = outside.issue("frank@partner.example", "Frank Foe", level="V4", organisation="Foe Ltd")
    der = x509.load_pem_x509_certificate(person.certificate.read_bytes()).public_bytes(Encoding.DER)
    read = facts.read(der)
    assert (read.name, read.organisation, read.country) == ("Frank Foe", "Foe Ltd", "GB")
    assert (read.level, read.key) == ("V4", "RSA 2048")
    assert read.addresses == ("frank@partner.example",)
    assert read.can_sign
    assert read.can_encrypt
    assert not read.is_authority
    elliptic = outside.issue("grace@partner.example", "Grace", elliptic=True)
    other = facts.read(facts.from_pem_or_der(elliptic.certificate.read_bytes()))
    assert other.can_encrypt
    assert other.key == "EC secp256r1"


@pytest.mark.parametrize("data", [b"", b"0", b"\x30\x82\xff\xff", b"x" * 200_000])
def test_junk_is_no_certificate(data: bytes) -> None:
    with pytest.raises(facts.NotACertificate):
        facts.read(data)


def test_an_authority_is_nobodys_certificate(outside: ForeignAuthority) -> None:
    der = facts.from_pem_or_der(outside.chain.read_bytes())
    with pytest.raises(facts.NotACertificate):
        store.keep(der, Certificate.Source.HARVESTED)
    assert own.encryption_certificates_of("nobody@acme.example") == []
