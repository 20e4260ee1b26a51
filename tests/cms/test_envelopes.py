"""Envelopes: whoever is meant opens them, nobody else, and failure says nothing."""

from __future__ import annotations

import hmac
import secrets

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import RC2, TripleDES
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_agent.cms import der, oids
from crypto_agent.cms.certificate import issuer_and_serial, parts
from crypto_agent.cms.content_cipher import derive_key
from crypto_agent.cms.content_info import content_info
from crypto_agent.cms.enveloped import Decrypted, decrypt, encrypt, read
from crypto_agent.cms.errors import (
    CERTIFICATE,
    DAMAGED,
    DECRYPT_FAILED,
    NO_KEY,
    TOO_COMPLEX,
    UNSUPPORTED,
    CmsError,
)
from crypto_agent.cms.keys import OaepParameters
from crypto_agent.cms.tlv import Cursor
from tests.cms import forge
from tests.cms.people import Person, person

MAIL = b"Content-Type: text/plain\r\n\r\nThe safe's combination is 4711.\r\n"

RECEIVERS = {
    "rsa2048": "RSA-PKCS1-v1.5",
    "p256": "ECDH-P-256",
    "p384": "ECDH-P-384",
    "p521": "ECDH-P-521",
    "x25519": "X25519",
    "ml-kem-768": "ML-KEM-768",
    "ml-kem-1024": "ML-KEM-1024",
}


def bob(kind: str = "rsa2048") -> Person:
    return person(f"bob-{kind}", kind)


def mallory() -> Person:
    return person("mallory")


def refusal(message: bytes, *keys: Person) -> str:
    with pytest.raises(CmsError) as refused:
        decrypt(message, keys)
    return refused.value.code


# --------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("cipher", ["aes-256-cbc", "aes-256-gcm"])
@pytest.mark.parametrize("kind", list(RECEIVERS))
def test_bob_opens_what_was_encrypted_to_him(kind: str, cipher: str) -> None:
    message = encrypt(
        MAIL,
        [mallory().certificate, bob(kind).certificate],
        content_cipher=cipher,  # type: ignore[arg-type]
    )
    assert MAIL not in message
    assert decrypt(message, [person("carol"), bob(kind)]) == Decrypted(
        content=MAIL,
        content_type=oids.DATA,
        cipher=cipher.upper(),
        authenticated=cipher == "aes-256-gcm",
        key_transport=RECEIVERS[kind],
        weak=False,
        key_id=bob(kind).key_id,
        recipients=2,
    )


@pytest.mark.parametrize(
    "oaep",
    [
        OaepParameters("sha1", "sha1"),
        OaepParameters("sha256", "sha256"),
        OaepParameters("sha256", "sha1"),
        OaepParameters("sha512", "sha256", b"label"),
    ],
)
def test_oaep_may_mix_its_hashes(oaep: OaepParameters) -> None:
    message = encrypt(MAIL, [bob().certificate], content_cipher="aes-256-gcm", oaep=oaep)
    opened = decrypt(message, [bob()])
    assert opened.content == MAIL
    assert opened.key_transport == f"RSA-OAEP-{oaep.hash.upper()}"


def test_oaep_defaults_are_left_out_as_der_wants() -> None:
    message = encrypt(
        MAIL,
        [bob().certificate],
        content_cipher="aes-256-cbc",
        oaep=OaepParameters("sha1", "sha1"),
    )
    assert der.algorithm(oids.RSA_OAEP, der.sequence()) in message


@pytest.mark.parametrize("cipher", ["aes-256-cbc", "aes-256-gcm"])
def test_a_derived_key_depends_on_the_cipher_named(cipher: str) -> None:
    message = encrypt(
        MAIL,
        [bob().certificate],
        content_cipher=cipher,  # type: ignore[arg-type]
        derived_key=True,
    )
    assert decrypt(message, [bob()]).content == MAIL
    assert read(message).cipher.derived


def test_key_derivation_gives_the_octets_of_the_standards_example() -> None:
    # RFC 9709 appendix A.1
    algorithm = bytes.fromhex("301b0609608648016503040106300e040c5c79058ba2f43447639d29e2")
    key = bytes.fromhex("c702e7d0a9e064b09ba55245fb733cf3")
    assert derive_key(key, algorithm).hex() == "2124ffb29fac4e0fbbc7d5d87492bff3"


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=5000),
    st.sampled_from(["aes-256-cbc", "aes-256-gcm"]),
    st.lists(st.integers(0, 5000), max_size=6),
)
def test_any_content_in_any_pieces_is_opened(content: bytes, cipher: str, cuts: list[int]) -> None:
    message = encrypt(
        content,
        [bob("p256").certificate],
        content_cipher=cipher,  # type: ignore[arg-type]
    )
    streamed = forge.to_indefinite(
        message,
        forge.ENVELOPED_LEVELS,
        {forge.ENVELOPED_CONTENT: [min(cut, len(content)) for cut in cuts]},
    )
    assert decrypt(streamed, [bob("p256")]).content == content
    with pytest.raises(CmsError):
        decrypt(streamed[:-3], [bob("p256")])


def test_a_thousand_recipients_are_served_and_one_more_is_refused() -> None:
    template = parts(bob("p256").certificate)
    many = [_renumbered(template.encoded, number) for number in range(1001)]
    message = encrypt(MAIL, [*many[:999], bob().certificate], content_cipher="aes-256-cbc")
    opened = decrypt(message, [bob()])
    assert (opened.content, opened.recipients) == (MAIL, 1000)
    with pytest.raises(CmsError) as refused:
        encrypt(MAIL, many, content_cipher="aes-256-cbc")
    assert refused.value.code == TOO_COMPLEX


def _renumbered(certificate: bytes, number: int) -> bytes:
    serial = der.integer(parts(certificate).serial)
    position = certificate.index(serial)
    return (
        certificate[: position + 2]
        + (number + 1).to_bytes(len(serial) - 2, "big")
        + certificate[position + len(serial) :]
    )


def test_the_same_certificate_twice_is_one_entry_and_nobody_is_no_recipient() -> None:
    twice = encrypt(MAIL, [bob().certificate] * 2, content_cipher="aes-256-cbc")
    assert read(twice).recipients == 1
    with pytest.raises(CmsError):
        encrypt(MAIL, [], content_cipher="aes-256-cbc")


@pytest.mark.parametrize("kind", ["rsa1024", "ed25519"])
def test_keys_that_are_weak_or_cannot_receive_are_refused(kind: str) -> None:
    with pytest.raises(CmsError) as refused:
        encrypt(MAIL, [person(f"dave-{kind}", kind).certificate], content_cipher="aes-256-cbc")
    assert refused.value.code == CERTIFICATE
    with pytest.raises(CmsError):
        encrypt(MAIL, [b"\x30\x00"], content_cipher="aes-256-cbc")


# --------------------------------------------------------------------------- foreign forms


def envelope(
    entry: bytes | list[bytes],
    algorithm: bytes,
    encrypted: bytes,
    *,
    tag: bytes | None = None,
    attributes: bytes = b"",
    before: bytes = b"",
) -> bytes:
    """An envelope of the given pieces; with ``tag`` an AuthEnvelopedData."""
    entries = entry if isinstance(entry, list) else [entry]
    body = [
        der.integer(0),
        before,
        der.tlv(der.SET, *entries),
        der.sequence(der.oid(oids.DATA), algorithm, der.tlv(der.CONTEXT, encrypted)),
    ]
    if tag is None:
        return content_info(oids.ENVELOPED_DATA, [der.sequence(*body)])
    body += [attributes, der.octet_string(tag)]
    return content_info(oids.AUTH_ENVELOPED_DATA, [der.sequence(*body)])


def transported(
    key: bytes, reader: Person | None = None, *, by_key_identifier: bool = False
) -> bytes:
    reader = reader or bob()
    certificate = parts(reader.certificate)
    rid = issuer_and_serial(certificate)
    if by_key_identifier:
        rid = der.tlv(der.CONTEXT, certificate.key_identifier or b"")
    encrypted = reader.private.public_key().encrypt(key, padding.PKCS1v15())
    return der.sequence(
        der.integer(2 if by_key_identifier else 0),
        rid,
        der.algorithm(oids.RSA, der.NULL_VALUE),
        der.octet_string(encrypted),
    )


def gcm(key: bytes, *, tag_size: int | None, nonce: bytes = bytes(12), aad: bytes = b"") -> bytes:
    """An AES-256-GCM AuthEnvelopedData; ``tag_size`` None leaves aes-ICVlen out (12 octets)."""
    size = 12 if tag_size is None else tag_size
    attributes = b""
    if aad:
        attributes = b"\xa1" + aad[1:]
    sealed = AESGCM(key).encrypt(nonce, MAIL, aad or None)
    body, full = sealed[: len(MAIL)], sealed[len(MAIL) :]
    length = b"" if tag_size is None else der.integer(tag_size)
    algorithm = der.algorithm(oids.AES_256_GCM, der.sequence(der.octet_string(nonce), length))
    return envelope(transported(key), algorithm, body, tag=full[:size], attributes=attributes)


KEY = secrets.token_bytes(32)


def test_an_absent_tag_length_means_twelve_octets() -> None:
    for tag_size in (None, 12, 13, 16):
        opened = decrypt(gcm(KEY, tag_size=tag_size), [bob()])
        assert (opened.content, opened.authenticated) == (MAIL, True)


@pytest.mark.parametrize("tag_size", [0, 1, 4, 8, 11])
def test_short_tags_are_refused_before_the_key_is_used(tag_size: int) -> None:
    assert refusal(gcm(KEY, tag_size=tag_size), bob()) == UNSUPPORTED


def test_a_tag_shorter_than_announced_is_damage() -> None:
    message = gcm(KEY, tag_size=16)
    tag = message[-18:]
    shorter = message[:-18] + der.octet_string(tag[2:14])
    assert refusal(_relength(shorter), bob()) == DAMAGED
    assert decrypt(_relength(message), [bob()]).content == MAIL


def _relength(message: bytes) -> bytes:
    """Correct the lengths of the three outer levels after something at the end was cut."""
    cursor = Cursor(message + bytes(16))
    cursor.enter()
    name = cursor.raw()
    cursor.enter(0xA0)
    cursor.enter()
    return der.sequence(name, der.explicit(0, der.sequence(message[cursor.position :])))


def test_nonces_of_other_lengths_are_read() -> None:
    for size in (8, 16, 32):
        assert decrypt(gcm(KEY, tag_size=16, nonce=bytes(size)), [bob()]).content == MAIL


def test_authenticated_attributes_are_covered_by_the_tag() -> None:
    attributes = der.set_of([der.attribute(oids.CONTENT_TYPE, der.oid(oids.DATA))])
    message = gcm(KEY, tag_size=16, aad=attributes)
    assert decrypt(message, [bob()]).content == MAIL
    changed = message.replace(
        b"\xa1" + attributes[1:], b"\xa1" + attributes[1:-1] + bytes((attributes[-1] ^ 1,))
    )
    assert refusal(changed, bob()) == DECRYPT_FAILED


def test_ccm_and_chacha20_are_read() -> None:
    nonce = bytes(12)
    for size in (12, 16):
        sealed = AESCCM(KEY, tag_length=size).encrypt(nonce, MAIL, None)
        parameters = der.sequence(der.octet_string(nonce), der.integer(size))
        message = envelope(
            transported(KEY),
            der.algorithm(oids.AES_256_CCM, parameters),
            sealed[:-size],
            tag=sealed[-size:],
        )
        opened = decrypt(message, [bob()])
        assert (opened.content, opened.cipher, opened.authenticated) == (MAIL, "AES-256-CCM", True)
    sealed = ChaCha20Poly1305(KEY).encrypt(nonce, MAIL, None)
    message = envelope(
        transported(KEY),
        der.algorithm(oids.CHACHA20_POLY1305, der.octet_string(nonce)),
        sealed[:-16],
        tag=sealed[-16:],
    )
    assert decrypt(message, [bob()]).cipher == "ChaCha20-Poly1305"
    broken = bytearray(message)
    broken[-1] ^= 1
    assert refusal(bytes(broken), bob()) == DECRYPT_FAILED


def cbc(primitive, key: bytes, vector: bytes) -> bytes:  # type: ignore[no-untyped-def]
    block = len(vector)
    fill = block - len(MAIL) % block
    work = Cipher(primitive(key), modes.CBC(vector)).encryptor()
    return work.update(MAIL + bytes((fill,)) * fill) + work.finalize()


def test_ciphers_of_old_mail_are_read_and_called_weak() -> None:
    vector = bytes(range(8))
    key = KEY[:24]
    message = envelope(
        transported(key),
        der.algorithm(oids.DES_EDE3_CBC, der.octet_string(vector)),
        cbc(TripleDES, key, vector),
    )
    opened = decrypt(message, [bob()])
    assert (opened.content, opened.cipher, opened.weak) == (MAIL, "3DES-CBC", True)
    key = KEY[:16]
    parameters = der.sequence(der.integer(58), der.octet_string(vector))
    message = envelope(
        transported(key), der.algorithm(oids.RC2_CBC, parameters), cbc(RC2, key, vector)
    )
    opened = decrypt(message, [bob()])
    assert (opened.content, opened.weak) == (MAIL, True)
    # 40 bits: not even for reading
    parameters = der.sequence(der.integer(160), der.octet_string(vector))
    message = envelope(transported(key[:5]), der.algorithm(oids.RC2_CBC, parameters), b"x" * 16)
    assert refusal(message, bob()) == UNSUPPORTED
    with pytest.raises(CmsError):
        encrypt(MAIL, [bob().certificate], content_cipher="3des-cbc")  # type: ignore[arg-type]


def test_a_short_rsa_key_still_opens_old_mail_and_it_is_called_weak() -> None:
    old = person("bob-rsa1024", "rsa1024")
    vector = bytes(16)
    message = envelope(
        transported(KEY, old),
        der.algorithm(oids.AES_256_CBC, der.octet_string(vector)),
        cbc(algorithms.AES, KEY, vector),
    )
    assert decrypt(message, [old]).weak


def test_bob_is_found_by_key_identifier_and_by_every_certificate_he_ever_had() -> None:
    vector = bytes(16)
    message = envelope(
        [transported(KEY, mallory()), transported(KEY, by_key_identifier=True)],
        der.algorithm(oids.AES_256_CBC, der.octet_string(vector)),
        cbc(algorithms.AES, KEY, vector),
    )
    old_keys = [person(f"bob-old-{number}", "p256") for number in range(3)]
    assert decrypt(message, [*old_keys, bob()]).content == MAIL
    assert refusal(message, *old_keys) == NO_KEY


def agreement(
    kind: str, *, wrap_sent: bytes, wrap_hashed: bytes, material: bytes | None, salt: bytes | None
) -> bytes:
    """An X25519 entry written from RFC 8418 with nothing but hmac: a second reading of the text."""
    reader = bob(kind)
    certificate = parts(reader.certificate)
    ephemeral = X25519PrivateKey.generate()
    secret = ephemeral.exchange(reader.private.public_key())
    party = b"" if material is None else der.explicit(0, der.octet_string(material))
    info = der.sequence(
        wrap_hashed, party, der.explicit(2, der.octet_string((256).to_bytes(4, "big")))
    )
    extracted = hmac.digest(salt or bytes(32), secret, "sha256")
    wrapping = hmac.digest(extracted, info + b"\x01", "sha256")
    entry = der.tlv(
        0xA1,
        der.integer(3),
        der.explicit(
            0,
            der.tlv(
                0xA1,
                der.algorithm(oids.X25519),
                der.bit_string(ephemeral.public_key().public_bytes_raw()),
            ),
        ),
        b"" if material is None else der.explicit(1, der.octet_string(material)),
        der.algorithm("1.2.840.113549.1.9.16.3.19", wrap_sent),
        der.sequence(
            der.sequence(
                der.tlv(0xA0, der.octet_string(certificate.key_identifier or b"")),
                der.octet_string(aes_key_wrap(wrapping, KEY)),
            )
        ),
    )
    vector = bytes(16)
    return envelope(
        entry,
        der.algorithm(oids.AES_256_CBC, der.octet_string(vector)),
        cbc(algorithms.AES, KEY, vector),
    )


ABSENT = der.algorithm(oids.AES_256_WRAP)
NULL = der.algorithm(oids.AES_256_WRAP, der.NULL_VALUE)


@pytest.mark.parametrize("sent", [ABSENT, NULL])
@pytest.mark.parametrize("hashed", [ABSENT, NULL])
@pytest.mark.parametrize("material", [None, b"some material"])
def test_every_peers_reading_of_the_shared_info_is_understood(
    sent: bytes, hashed: bytes, material: bytes | None
) -> None:
    for salt in {material, None}:
        message = agreement(
            "x25519", wrap_sent=sent, wrap_hashed=hashed, material=material, salt=salt
        )
        opened = decrypt(message, [bob("x25519")])
        assert (opened.content, opened.key_transport) == (MAIL, "X25519")
    with pytest.raises(CmsError):
        decrypt(
            agreement(
                "x25519", wrap_sent=sent, wrap_hashed=hashed, material=material, salt=b"other"
            ),
            [bob("x25519")],
        )


# --------------------------------------------------------------------------- failures are alike


def test_nobody_else_can_open_it_and_that_is_told_apart() -> None:
    message = encrypt(MAIL, [bob().certificate], content_cipher="aes-256-gcm")
    assert refusal(message, mallory(), person("carol")) == NO_KEY
    assert refusal(message) == NO_KEY


def test_every_failure_after_the_key_was_used_looks_the_same() -> None:
    """Bleichenbacher's question must have no answer: bad padding, wrong length, wrong key and a
    changed content end in one code, raised without a cause."""
    vector = bytes(16)
    algorithm = der.algorithm(oids.AES_256_CBC, der.octet_string(vector))
    body = cbc(algorithms.AES, KEY, vector)
    good = transported(KEY)
    modulus = bob().private.public_key().public_numbers().n
    entries = {
        "not padded": _with_ciphertext(good, secrets.randbelow(modulus).to_bytes(256, "big")),
        "too large": _with_ciphertext(good, b"\xff" * 256),
        "short": _with_ciphertext(good, b"\x01" * 100),
        "empty": _with_ciphertext(good, b""),
        "zero": _with_ciphertext(good, bytes(256)),
        "wrong length": transported(KEY[:16]),
        "other key": transported(bytes(32)),
    }
    assert decrypt(envelope(good, algorithm, body), [bob()]).content == MAIL
    for name, entry in entries.items():
        for authenticated in (False, True):
            if authenticated:
                sealed = AESGCM(KEY).encrypt(bytes(12), MAIL, None)
                message = envelope(
                    entry,
                    der.algorithm(
                        oids.AES_256_GCM,
                        der.sequence(der.octet_string(bytes(12)), der.integer(16)),
                    ),
                    sealed[:-16],
                    tag=sealed[-16:],
                )
            else:
                message = envelope(entry, algorithm, body)
            with pytest.raises(CmsError) as refused:
                # a random key passes CBC's padding once in 256 times: then again
                for _ in range(20):
                    assert decrypt(message, [bob()]).content != MAIL, name
            assert refused.value.code == DECRYPT_FAILED
            assert refused.value.__cause__ is None
            assert refused.value.__suppress_context__


def _with_ciphertext(entry: bytes, ciphertext: bytes) -> bytes:
    cursor = Cursor(entry)
    cursor.enter()
    kept = [cursor.raw() for _ in range(3)]
    return der.sequence(*kept, der.octet_string(ciphertext))


def test_only_one_entry_is_ever_tried() -> None:
    """A second entry for the same key would answer whether the first one decrypted."""
    algorithm = der.algorithm(oids.AES_256_GCM, der.sequence(der.octet_string(bytes(12))))
    sealed = AESGCM(KEY).encrypt(bytes(12), MAIL, None)
    probe = _with_ciphertext(transported(KEY), bytes(255) + b"\x02")
    message = envelope(
        [probe, transported(KEY)], algorithm, sealed[:-16], tag=sealed[len(MAIL) :][:12]
    )
    assert refusal(message, bob()) == DECRYPT_FAILED


class CountingBob:
    """Bob's key, counting uses."""

    def __init__(self) -> None:
        self.uses = 0
        self.key_id = "00"
        self.certificate = bob().certificate

    def rsa_decrypt(self, encrypted: bytes, *, oaep: OaepParameters | None) -> bytes:
        self.uses += 1
        return bob().rsa_decrypt(encrypted, oaep=oaep)

    def agree(self, peer_spki: bytes) -> bytes:
        raise AssertionError("not an agreement")


def test_what_is_not_read_is_refused_before_the_key_is_used() -> None:
    nonce = der.octet_string(bytes(12))
    wrong = [
        # authenticated ciphers without a tag, and a tag for ciphers that have none
        envelope(transported(KEY), der.algorithm(oids.AES_256_GCM, der.sequence(nonce)), b"x"),
        envelope(
            transported(KEY),
            der.algorithm(oids.AES_256_CBC, der.octet_string(bytes(16))),
            bytes(16),
            tag=bytes(16),
        ),
        # OFB, which CVE-2026-34182 was about
        envelope(
            transported(KEY),
            der.algorithm("2.16.840.1.101.3.4.1.43", der.octet_string(bytes(16))),
            bytes(16),
            tag=bytes(16),
        ),
        # an initialisation vector of another length
        envelope(
            transported(KEY), der.algorithm(oids.AES_256_CBC, der.octet_string(bytes(8))), bytes(16)
        ),
        envelope(transported(KEY), der.algorithm(oids.AES_256_CBC), bytes(16)),
        envelope(transported(KEY), der.algorithm("1.2.3.4"), bytes(16)),
        envelope(transported(KEY), der.algorithm(oids.CEK_HKDF_SHA256), bytes(16)),
    ]
    key = CountingBob()
    for message in wrong:
        with pytest.raises(CmsError) as refused:
            decrypt(message, [key])
        assert refused.value.code in (UNSUPPORTED, DAMAGED)
    assert key.uses == 0
    decrypt(encrypt(MAIL, [key.certificate], content_cipher="aes-256-cbc"), [key])
    assert key.uses == 1  # positive control


def test_a_low_order_point_is_refused() -> None:
    """RFC 8418 §2: the all-zero shared secret MUST NOT be used."""
    message = agreement("x25519", wrap_sent=ABSENT, wrap_hashed=ABSENT, material=None, salt=None)
    position = message.index(der.algorithm(oids.X25519)) + len(der.algorithm(oids.X25519)) + 3
    zeroed = message[:position] + bytes(32) + message[position + 32 :]
    assert refusal(zeroed, bob("x25519")) == DECRYPT_FAILED


def test_a_point_that_is_not_on_the_curve_is_refused() -> None:
    message = encrypt(MAIL, [bob("p256").certificate], content_cipher="aes-256-gcm")
    position = message.index(b"\x03\x42\x00\x04") + 4
    for point in (bytes(64), b"\xff" * 64, message[position : position + 63] + b"\0"):
        assert (
            refusal(message[:position] + point + message[position + 64 :], bob("p256"))
            == DECRYPT_FAILED
        )


@pytest.mark.parametrize("kind", ["rsa2048", "p256"])
def test_no_octet_of_an_authenticated_envelope_changes_the_content(kind: str) -> None:
    message = encrypt(MAIL, [bob(kind).certificate], content_cipher="aes-256-gcm")
    for position in range(len(message)):
        for mask in (0x01, 0x20, 0x80):
            changed = bytearray(message)
            changed[position] ^= mask
            try:
                opened = decrypt(bytes(changed), [bob(kind)])
            except CmsError:
                continue
            assert opened.content == MAIL, position
            assert opened.authenticated


def test_cbc_can_be_changed_and_therefore_never_counts_as_authenticated() -> None:
    """Why the caller must not load anything remote from such mail (EFAIL)."""
    message = bytearray(encrypt(MAIL, [bob().certificate], content_cipher="aes-256-cbc"))
    vector = read(bytes(message))
    algorithm = bytes(message).index(der.oid(oids.AES_256_CBC)) + 11 + 2
    message[algorithm] ^= ord("C") ^ ord("X")
    opened = decrypt(bytes(message), [bob()])
    assert opened.content == b"X" + MAIL[1:]
    assert not opened.authenticated
    assert not vector.cipher.authenticated


# --------------------------------------------------------------------------- hostile structures


def test_recipients_are_counted_before_any_work() -> None:
    algorithm = der.algorithm(oids.AES_256_CBC, der.octet_string(bytes(16)))
    entry = transported(KEY)
    assert refusal(envelope([entry] * 1001, algorithm, bytes(16)), bob()) == TOO_COMPLEX
    kari = encrypt(MAIL, [bob("p256").certificate], content_cipher="aes-256-cbc")
    cursor = Cursor(kari)
    for tag in (der.SEQUENCE, None, 0xA0, der.SEQUENCE, None, der.SET, 0xA1):
        if tag is None:
            cursor.skip()
        else:
            cursor.enter(tag)
    kept = [cursor.raw() for _ in range(3)]
    cursor.enter()
    one = cursor.raw()
    crowded = der.tlv(0xA1, *kept, der.sequence(*[one] * 1001))
    assert refusal(envelope(crowded, algorithm, bytes(16)), bob("p256")) == TOO_COMPLEX


def test_passwords_and_symmetric_keys_are_counted_and_passed_over() -> None:
    vector = bytes(16)
    others = [der.tlv(0xA2, der.integer(4)), der.tlv(0xA3, der.integer(0))]
    strange = der.tlv(0xA4, der.oid("1.2.3"), der.sequence())
    message = envelope(
        [*others, strange, transported(KEY)],
        der.algorithm(oids.AES_256_CBC, der.octet_string(vector)),
        cbc(algorithms.AES, KEY, vector),
        before=der.tlv(0xA0),
    )
    opened = decrypt(message, [bob()])
    assert (opened.content, opened.recipients) == (MAIL, 4)


def test_a_way_we_do_not_know_is_not_taken_for_somebody_elses() -> None:
    entry = transported(KEY)
    cursor = Cursor(entry)
    cursor.enter()
    version, rid, _, encrypted = (cursor.raw() for _ in range(4))
    odd = der.sequence(version, rid, der.algorithm("1.2.3.4"), encrypted)
    algorithm = der.algorithm(oids.AES_256_CBC, der.octet_string(bytes(16)))
    assert refusal(envelope(odd, algorithm, bytes(16)), bob()) == UNSUPPORTED
    assert refusal(envelope(odd, algorithm, bytes(16)), mallory()) == NO_KEY


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["aes-256-cbc", "aes-256-gcm"]),
    st.lists(
        st.tuples(st.integers(0, 600), st.integers(0, 3), st.binary(max_size=3)),
        min_size=1,
        max_size=4,
    ),
)
def test_mutilated_envelopes_raise_nothing_but_our_error(
    cipher: str, cuts: list[tuple[int, int, bytes]]
) -> None:
    message = bytearray(
        encrypt(
            MAIL,
            [bob("p256").certificate],
            content_cipher=cipher,  # type: ignore[arg-type]
        )
    )
    for position, length, other in cuts:
        message[position : position + length] = other
    try:
        opened = decrypt(bytes(message), [bob("p256")])
    except CmsError:
        return
    assert opened.content == MAIL or not opened.authenticated


def test_the_key_never_repeats() -> None:
    one, two = (encrypt(MAIL, [bob().certificate], content_cipher="aes-256-cbc") for _ in "12")
    assert read(one).chunks[0] != read(two).chunks[0]
    assert one[-32:] != two[-32:]
