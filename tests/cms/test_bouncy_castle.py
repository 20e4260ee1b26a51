"""Bouncy Castle judges where openssl 3.0 cannot: Ed25519 with signed attributes, CCM, odd tags."""

from __future__ import annotations

import pytest

from crypto_agent.cms import keys
from crypto_agent.cms.compressed import decompress
from crypto_agent.cms.enveloped import decrypt, encrypt
from crypto_agent.cms.errors import CmsError
from crypto_agent.cms.keys import OaepParameters
from crypto_agent.cms.signed import finish, sign
from crypto_agent.cms.verify import verify
from tests.cms.foreign import BouncyCastle, Refused
from tests.cms.people import NOW_MS, person

pytestmark = pytest.mark.interop

MAIL = b"Content-Type: text/plain\r\n\r\n" + b"Regards from the castle.\r\n" * 100


@pytest.mark.parametrize(
    ("kind", "scheme"),
    [
        ("ed25519", keys.ED25519),
        ("p521", keys.ECDSA_SHA512),
        ("rsa2048", keys.RSA_PKCS1V15_SHA256),
        ("rsa2048", keys.RSA_PSS_SHA256),
    ],
)
def test_bouncy_castle_verifies_our_signatures(
    bouncy: BouncyCastle, kind: str, scheme: str
) -> None:
    alice = person(f"alice-{kind}", kind)
    for detached in (True, False):
        draft = sign(MAIL, alice, detached=detached, signing_time=NOW_MS, scheme=scheme)
        message = finish(draft, None)
        assert bouncy.verify(message, MAIL if detached else None) == MAIL
    with pytest.raises(Refused):
        bouncy.verify(message.replace(b"castle", b"Castle", 1))


@pytest.mark.parametrize(
    ("kind", "family", "algorithm"),
    [
        ("rsa2048", "RSA", "SHA256withRSA"),
        ("rsa2048", "RSA", "SHA256withRSAandMGF1"),
        ("rsa2048", "RSA", "SHA3-256withRSA"),
        ("p256", "EC", "SHA256withECDSA"),
        ("p384", "EC", "SHA3-384withECDSA"),
        ("ed25519", "Ed25519", "Ed25519"),
    ],
)
def test_we_verify_what_bouncy_castle_signs(
    bouncy: BouncyCastle, kind: str, family: str, algorithm: str
) -> None:
    alice = person(f"alice-{kind}", kind)
    for opaque in (True, False):
        message = bouncy.sign(MAIL, alice, family, algorithm, opaque=opaque)
        (signer,) = verify(message, None if opaque else MAIL).signers
        assert signer.digest.passed
        assert signer.signature.passed


@pytest.mark.parametrize(
    ("kind", "cipher", "transport", "words"),
    [
        ("rsa2048", "AES128_CBC", "rsa", "RSA-PKCS1-v1.5"),
        ("rsa2048", "AES256_CBC", "oaep", "RSA-OAEP-SHA256"),
        ("rsa2048", "AES128_GCM", "rsa", "RSA-PKCS1-v1.5"),
        ("rsa2048", "AES256_GCM", "oaep", "RSA-OAEP-SHA256"),
        ("rsa2048", "AES256_CCM", "rsa", "RSA-PKCS1-v1.5"),
        ("p256", "AES256_CBC", "ecdh-sha256", "ECDH-P-256"),
        ("p384", "AES256_GCM", "ecdh-sha384", "ECDH-P-384"),
    ],
)
def test_we_open_what_bouncy_castle_encrypts(
    bouncy: BouncyCastle, kind: str, cipher: str, transport: str, words: str
) -> None:
    bob = person(f"bob-{kind}", kind)
    message = bouncy.encrypt(MAIL, bob, cipher, transport)
    opened = decrypt(message, [bob])
    assert opened.content == MAIL
    assert opened.key_transport == words
    assert opened.authenticated == cipher.endswith(("GCM", "CCM"))
    changed = bytearray(message)
    changed[-30] ^= 1
    with pytest.raises(CmsError):
        content = decrypt(bytes(changed), [bob]).content
        raise CmsError("changed") if content != MAIL else AssertionError("unnoticed")


@pytest.mark.parametrize(
    ("kind", "family", "cipher", "oaep"),
    [
        ("rsa2048", "RSA", "aes-256-cbc", None),
        ("rsa2048", "RSA", "aes-256-gcm", None),
        ("rsa2048", "RSA", "aes-256-gcm", OaepParameters("sha256", "sha256")),
        ("p256", "EC", "aes-256-cbc", None),
        ("p521", "EC", "aes-256-cbc", None),
    ],
)
def test_bouncy_castle_opens_our_envelopes(
    bouncy: BouncyCastle, kind: str, family: str, cipher: str, oaep: OaepParameters | None
) -> None:
    bob = person(f"bob-{kind}", kind)
    message = encrypt(
        MAIL,
        [bob.certificate],
        content_cipher=cipher,  # type: ignore[arg-type]
        oaep=oaep,
    )
    assert bouncy.decrypt(message, bob, family, cipher[-3:]) == MAIL


def test_we_read_what_bouncy_castle_compresses(bouncy: BouncyCastle) -> None:
    assert decompress(bouncy.compress(MAIL)).content == MAIL
