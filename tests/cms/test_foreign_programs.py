"""Foreign programs judge what we write, and we read what they write.

openssl 3.0 knows neither X25519 recipients nor Ed25519 with signed attributes; gpgsm 2.2 opens
neither GCM nor OAEP and encrypts to no EC key; NSS 3.87 has no AuthEnvelopedData, no ECDH
recipients and no OAEP. Bouncy Castle fills some of these gaps.
"""

from __future__ import annotations

import pytest

from crypto_agent.cms import facts, keys
from crypto_agent.cms.enveloped import decrypt, encrypt
from crypto_agent.cms.errors import CmsError
from crypto_agent.cms.keys import OaepParameters
from crypto_agent.cms.signed import finish, sign
from crypto_agent.cms.timestamp import read_response, request, respond
from crypto_agent.cms.verify import verify
from tests.cms.foreign import Gpgsm, Nss, Openssl, Refused
from tests.cms.people import NOW_MS, Person, person

pytestmark = pytest.mark.interop

MAIL = (
    b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + b"Gr\xc3\xbc\xc3\x9fe aus Bern.\r\n" * 200
)

SIGNERS = ["rsa2048", "p256", "p384", "p521"]


def ours(signer: Person, *, detached: bool, scheme: str | None = None) -> bytes:
    """A message of ours, with a timestamp as it leaves the house."""
    draft = sign(MAIL, signer, detached=detached, signing_time=NOW_MS, scheme=scheme)
    authority = person("tsa-rsa2048", "rsa2048", purpose="timestamp")
    answer = respond(
        request(draft.imprint, 1), authority, now=NOW_MS, serial=1, policy="1.3.6.1.4.1.99999.1"
    )
    return finish(draft, read_response(answer))


def tampered(message: bytes) -> bytes:
    """The content changed, if it is inside; else the signature."""
    if MAIL in message:
        return message.replace(b"Bern", b"Bonn", 1)
    changed = bytearray(message)
    position = message.rindex(b"\x04\x82\x01\x00") if b"\x04\x82\x01\x00" in message else -40
    changed[position + 20 if position > 0 else position] ^= 1
    return bytes(changed)


# --------------------------------------------------------------------------- signatures


@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize("kind", SIGNERS)
def test_openssl_verifies_our_signatures(openssl: Openssl, kind: str, detached: bool) -> None:
    message = ours(person(f"alice-{kind}", kind), detached=detached)
    assert openssl.verify(message, MAIL if detached else None) == MAIL
    with pytest.raises(Refused):
        openssl.verify(message, MAIL + b"x") if detached else openssl.verify(tampered(message))


def test_openssl_verifies_our_pss(openssl: Openssl) -> None:
    message = ours(person("alice-rsa2048", "rsa2048"), detached=True, scheme=keys.RSA_PSS_SHA256)
    assert openssl.verify(message, MAIL) == MAIL


def test_openssl_finds_our_signing_certificate_attribute_right(openssl: Openssl) -> None:
    message = ours(person("alice-rsa2048", "rsa2048"), detached=False)
    assert "id-smime-aa-signingCertificateV2" in openssl.structure(message)
    assert openssl.verify(message, cades=True) == MAIL


@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize("kind", ["rsa2048", "p256", "p384"])
def test_gpgsm_verifies_our_signatures(gpgsm: Gpgsm, kind: str, detached: bool) -> None:
    alice = person(f"alice-{kind}", kind)
    gpgsm.learn(alice)
    message = ours(alice, detached=detached)
    gpgsm.verify(message, MAIL if detached else None)
    with pytest.raises(Refused):
        if detached:
            gpgsm.verify(message, MAIL + b"x")
        else:
            gpgsm.verify(tampered(message))


@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize("kind", SIGNERS)
def test_nss_verifies_our_signatures(nss: Nss, kind: str, detached: bool) -> None:
    alice = person(f"alice-{kind}", kind)
    nss.learn(alice)
    message = ours(alice, detached=detached)
    assert nss.open(message, MAIL if detached else None) == MAIL
    if detached:
        with pytest.raises(Refused):
            nss.open(message, MAIL + b"x")


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-keyid"],
        ["-noattr"],
        ["-nosmimecap"],
        ["-md", "sha384"],
        ["-md", "sha512"],
        ["-cades"],
        ["-keyopt", "rsa_padding_mode:pss"],
        ["-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:max"],
    ],
)
@pytest.mark.parametrize("opaque", [True, False])
@pytest.mark.parametrize("kind", SIGNERS)
def test_we_verify_what_openssl_signs(
    openssl: Openssl, kind: str, opaque: bool, options: list[str]
) -> None:
    if "-keyopt" in options and kind != "rsa2048":
        pytest.skip("PSS is for RSA")
    alice = person(f"alice-{kind}", kind)
    # openssl cannot write PSS parameters into a stream
    streams = opaque and "-keyopt" not in options
    for streamed in ([], ["-stream", "-indef"]) if streams else ([],):
        more = [*options, *streamed, *(["-nodetach"] if opaque else [])]
        message = openssl.sign(MAIL, alice, *more)
        found = verify(message, None if opaque else MAIL)
        (signer,) = found.signers
        assert signer.digest.passed
        assert signer.signature.passed
        assert signer.certificate == alice.certificate
        assert found.content == (MAIL if opaque else None)
        if not opaque:
            (wrong,) = verify(message, MAIL + b"x").signers
            assert not wrong.digest.passed


def test_what_openssl_signs_with_sha1_is_called_weak(openssl: Openssl) -> None:
    message = openssl.sign(MAIL, person("alice-rsa2048", "rsa2048"), "-md", "sha1")
    (signer,) = verify(message, MAIL).signers
    assert signer.digest.code == facts.DIGEST_WEAK
    assert signer.signature.code == facts.SIGNATURE_WEAK_DIGEST


def test_we_verify_two_signers_of_openssl(openssl: Openssl) -> None:
    alice, bob = person("alice-p256", "p256"), person("bob")
    message = openssl.resign(openssl.sign(MAIL, alice, "-nodetach"), bob)
    found = verify(message)
    assert {signer.certificate for signer in found.signers} == {
        alice.certificate,
        bob.certificate,
    }
    assert all(signer.signature.passed and signer.digest.passed for signer in found.signers)


@pytest.mark.parametrize("options", [[], ["--detach-sign"]])
def test_we_verify_what_gpgsm_signs(gpgsm: Gpgsm, options: list[str]) -> None:
    message = gpgsm.sign(MAIL, person("bob"), *options)
    (signer,) = verify(message, MAIL if options else None).signers
    assert signer.digest.passed
    assert signer.signature.passed


@pytest.mark.parametrize("options", [[], ["-T"]])
@pytest.mark.parametrize("kind", SIGNERS)
def test_we_verify_what_nss_signs(nss: Nss, kind: str, options: list[str]) -> None:
    signer_person = person(f"nss-{kind}", kind)
    nss.hold(signer_person)
    message = nss.sign(MAIL, signer_person, *options)
    (signer,) = verify(message, MAIL if options else None).signers
    assert signer.digest.passed
    assert signer.signature.passed
    assert signer.certificate == signer_person.certificate


# --------------------------------------------------------------------------- envelopes


@pytest.mark.parametrize("cipher", ["aes-256-cbc", "aes-256-gcm"])
@pytest.mark.parametrize("kind", SIGNERS)
def test_openssl_opens_our_envelopes(openssl: Openssl, kind: str, cipher: str) -> None:
    bob = person(f"bob-{kind}", kind)
    certificates = [person("carol", "p256").certificate, bob.certificate]
    message = encrypt(MAIL, certificates, content_cipher=cipher)  # type: ignore[arg-type]
    assert openssl.decrypt(message, bob) == MAIL


@pytest.mark.parametrize(
    "oaep",
    [
        OaepParameters("sha1", "sha1"),
        OaepParameters("sha256", "sha256"),
        OaepParameters("sha512", "sha1", b"label"),
    ],
)
def test_openssl_opens_our_oaep(openssl: Openssl, oaep: OaepParameters) -> None:
    bob = person("bob")
    message = encrypt(MAIL, [bob.certificate], content_cipher="aes-256-gcm", oaep=oaep)
    assert openssl.decrypt(message, bob) == MAIL


def test_gpgsm_opens_our_envelopes(gpgsm: Gpgsm) -> None:
    bob = person("bob")
    certificates = [person("carol").certificate, bob.certificate]
    assert gpgsm.decrypt(encrypt(MAIL, certificates, content_cipher="aes-256-cbc")) == MAIL
    with pytest.raises(Refused):
        gpgsm.decrypt(encrypt(MAIL, certificates[:1], content_cipher="aes-256-cbc"))


def test_nss_opens_our_envelopes(nss: Nss) -> None:
    bob = person("bob")
    certificates = [person("carol").certificate, bob.certificate]
    assert nss.open(encrypt(MAIL, certificates, content_cipher="aes-256-cbc")) == MAIL
    with pytest.raises(Refused):
        nss.open(encrypt(MAIL, certificates[:1], content_cipher="aes-256-cbc"))


CIPHERS = {
    "aes128": ("AES-128-CBC", False, False),
    "aes192": ("AES-192-CBC", False, False),
    "aes256": ("AES-256-CBC", False, False),
    "aes-128-gcm": ("AES-128-GCM", True, False),
    "aes-192-gcm": ("AES-192-GCM", True, False),
    "aes-256-gcm": ("AES-256-GCM", True, False),
    "des3": ("3DES-CBC", False, True),
    "rc2": ("RC2-128-CBC", False, True),
}


@pytest.mark.parametrize("options", [[], ["-keyid"], ["-stream", "-indef"]])
@pytest.mark.parametrize("cipher", list(CIPHERS))
@pytest.mark.parametrize("kind", SIGNERS)
def test_we_open_what_openssl_encrypts(
    openssl: Openssl, kind: str, cipher: str, options: list[str]
) -> None:
    bob = person(f"bob-{kind}", kind)
    message = openssl.encrypt(MAIL, [person("carol"), bob], cipher, *options)
    opened = decrypt(message, [person("dave", "p256"), bob])
    assert opened.content == MAIL
    assert (opened.cipher, opened.authenticated, opened.weak) == CIPHERS[cipher]
    with pytest.raises(CmsError):
        decrypt(message, [person("dave", "p256")])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("rsa2048", ["rsa_padding_mode:oaep"]),
        ("rsa2048", ["rsa_padding_mode:oaep", "rsa_oaep_md:sha256"]),
        ("rsa2048", ["rsa_padding_mode:oaep", "rsa_oaep_md:sha512", "rsa_mgf1_md:sha1"]),
        ("rsa2048", ["rsa_padding_mode:oaep", "rsa_oaep_label:0102"]),
        ("p256", ["ecdh_kdf_md:sha256"]),
        ("p384", ["ecdh_kdf_md:sha384"]),
        ("p521", ["ecdh_kdf_md:sha512"]),
        ("p256", ["ecdh_cofactor_mode:1"]),
        ("p384", ["ecdh_cofactor_mode:1", "ecdh_kdf_md:sha384"]),
    ],
)
def test_we_open_every_key_transport_of_openssl(
    openssl: Openssl, kind: str, options: list[str]
) -> None:
    bob = person(f"bob-{kind}", kind)
    values = [word for option in options for word in ("-keyopt", option)]
    assert decrypt(openssl.encrypt(MAIL, [bob], "aes256", *values), [bob]).content == MAIL


@pytest.mark.parametrize("cipher", ["AES", "AES192", "AES256", "3DES"])
def test_we_open_what_gpgsm_encrypts(gpgsm: Gpgsm, cipher: str) -> None:
    opened = decrypt(gpgsm.encrypt(MAIL, person("bob"), cipher), [person("bob")])
    assert opened.content == MAIL
    assert opened.weak == (cipher == "3DES")


def test_we_open_what_nss_encrypts(nss: Nss) -> None:
    assert decrypt(nss.encrypt(MAIL, person("bob")), [person("bob")]).content == MAIL


def test_a_signed_and_sealed_mail_passes_through_both_layers_of_openssl(openssl: Openssl) -> None:
    """What Sealpost sends: signed, stamped, then encrypted."""
    alice, bob = person("alice-p256", "p256"), person("bob")
    sealed = encrypt(ours(alice, detached=False), [bob.certificate], content_cipher="aes-256-gcm")
    assert openssl.verify(openssl.decrypt(sealed, bob)) == MAIL
