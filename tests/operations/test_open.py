"""``open``: mails made by the openssl program, read in a user's agent and in the verifier."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import pytest

from crypto_agent.cms import der, oids, signed
from crypto_agent.cms.content_info import content_info
from crypto_agent.operations.open import open_message, preferred_certificate
from crypto_agent.protocol import ErrorCode, ProtocolError, pack, unpack
from tests.operations.world import NOW_MS, TEXT, World, head, openssl

WORDS = "The pier is closed.\n"


def codes(result: dict[str, Any]) -> list[str]:
    return [notice["code"] for notice in result["notices"]]


def texts(result: dict[str, Any]) -> list[str]:
    return [body["text"] for body in result["bodies"]]


@pytest.fixture(scope="module")
def outer(world: World) -> bytes:
    return head(
        from_=world.bob.header,
        to=world.alice.header,
        subject="Pier 4",
        date="Mon, 01 Jun 2026 12:00:00 +0000",
        message_id="<1@example.test>",
    )


def test_a_plain_mail_is_unsigned_and_readable(world: World, outer: bytes) -> None:
    result = world.open(outer + TEXT)
    assert (result["verdict"]["state"], result["protection"]) == ("unsigned", "none")
    assert texts(result) == [WORDS]
    assert result["quote"] == {"text": WORDS, "html": None}
    assert result["headers"]["subject"] == "Pier 4"
    assert result["headers"]["from"] == [world.bob.mailbox]
    assert result["headers"]["date"] == 1_780_315_200_000
    assert result["headers"]["message_id"] == "<1@example.test>"
    assert (result["notices"], result["uses"]) == ([], [])


@pytest.mark.parametrize("opaque", [False, True], ids=["detached", "opaque"])
def test_a_signed_mail_is_verified_for_everybody_without_keys(
    world: World, outer: bytes, opaque: bool
) -> None:
    result = world.open(outer + world.bob.sign(TEXT, opaque=opaque))
    assert result["verdict"]["state"] == "verified"
    assert result["verdict"]["signer"]["addresses"] == [world.bob.address]
    assert result["protection"] == "signed"
    assert [body["protection"] for body in result["bodies"]] == ["signed-only"]
    assert texts(result) == [WORDS]
    assert result["attachments"] == []


def test_a_mail_changed_after_signing_fails(world: World, outer: bytes) -> None:
    raw = outer + world.bob.sign(TEXT).replace(b"closed", b"opened")
    result = world.open(raw)
    assert result["verdict"]["state"] == "failed"
    assert result["verdict"]["facts"]["digest"]["code"] == "digest.mismatch"
    assert result["bodies"][0]["protection"] == "unprotected"


def test_a_signed_mail_that_came_with_bare_lf_is_verified(world: World, outer: bytes) -> None:
    raw = (outer + world.bob.sign(TEXT)).replace(b"\r\n", b"\n")
    assert world.open(raw)["verdict"]["state"] == "verified"


def test_a_signature_over_bare_lf_itself_is_verified(world: World, outer: bytes) -> None:
    content = TEXT.replace(b"\r\n", b"\n")
    key = world.bob.keyring.signing_key()
    made = signed.finish(signed.sign(content, key, detached=True, signing_time=NOW_MS), None)
    raw = (
        outer + b"Content-Type: multipart/signed; boundary=b;\r\n"
        b" protocol=application/pkcs7-signature\r\n\r\n--b\n"
        + content
        + b"\n--b\nContent-Type: application/pkcs7-signature\nContent-Transfer-Encoding: base64\n\n"
        + base64.encodebytes(made)
        + b"\n--b--\n"
    )
    assert world.open(raw)["verdict"]["state"] == "verified"


def test_a_preamble_and_an_epilogue_are_neither_signed_nor_shown(
    world: World, outer: bytes
) -> None:
    raw = outer + world.bob.sign(TEXT).replace(b"This is an S/MIME", b"EVIL S/MIME") + b"EVIL\r\n"
    result = world.open(raw)
    assert result["verdict"]["state"] == "verified"
    assert texts(result) == [WORDS]


def test_an_encrypted_mail_says_that_it_is_locked_where_no_key_is(
    world: World, outer: bytes
) -> None:
    raw = outer + world.encrypt(TEXT, world.alice)
    result = world.open(raw)
    assert codes(result) == ["decrypt.locked"]
    assert (result["bodies"], result["attachments"]) == ([], [])
    assert result["verdict"]["encryption"]["encrypted"]
    assert result["headers"]["subject"] == "Pier 4"


def test_an_encrypted_mail_is_opened_with_the_right_key_and_the_use_is_told(
    world: World, outer: bytes
) -> None:
    raw = outer + world.encrypt(world.bob.sign(TEXT), world.alice)
    result = world.open(raw, by=world.alice)
    assert result["verdict"]["state"] == "verified"
    assert result["protection"] == "signed-encrypted"
    assert texts(result) == [WORDS]
    assert result["bodies"][0]["protection"] == "signed-and-encrypted"
    key = world.alice.keyring.decryption_keys()[0].key_id
    assert [(use["key"], use["operation"]) for use in result["uses"]] == [(key, "decrypt")]
    assert [layer["kind"] for layer in result["verdict"]["layers"]] == ["encrypted", "signed"]


def test_an_encrypted_mail_for_somebody_else_says_so(world: World, outer: bytes) -> None:
    result = world.open(outer + world.encrypt(TEXT, world.bob), by=world.alice)
    assert codes(result) == ["decrypt.no_key"]
    assert result["bodies"] == []


def test_a_damaged_ciphertext_fails_in_one_way(world: World, outer: bytes) -> None:
    for cipher in ("aes-256-cbc", "aes-256-gcm"):
        raw = bytearray(outer + world.encrypt(TEXT, world.alice, cipher=cipher))
        at = len(raw) - 60
        raw[at] = ord("A") if raw[at] != ord("A") else ord("B")
        result = world.open(bytes(raw), by=world.alice)
        # CBC cannot tell; what comes out is garbage, and never the letter.
        assert texts(result) != [WORDS]
        if cipher == "aes-256-gcm":
            assert codes(result) == ["decrypt.failed"]
            assert result["uses"][0]["operation"] == "decrypt"
            assert result["uses"][0]["outcome"] == "failed"


@pytest.mark.parametrize(
    ("cipher", "authenticated", "notice"),
    [
        ("aes-128-cbc", False, ["decrypt.unauthenticated"]),
        ("aes-256-cbc", False, ["decrypt.unauthenticated"]),
        ("des3", False, ["decrypt.unauthenticated"]),
        ("aes-256-gcm", True, []),
    ],
)
def test_cbc_without_a_signature_inside_never_loads_anything(
    world: World, outer: bytes, cipher: str, authenticated: bool, notice: list[str]
) -> None:
    result = world.open(outer + world.encrypt(TEXT, world.alice, cipher=cipher), by=world.alice)
    assert texts(result) == [WORDS]
    assert result["bodies"][0]["remote_allowed"] is authenticated
    assert codes(result) == notice
    assert result["verdict"]["encryption"]["authenticated"] is authenticated
    assert result["verdict"]["encryption"]["weak"] is (cipher == "des3")


def test_a_signature_inside_protects_cbc(world: World, outer: bytes) -> None:
    result = world.open(outer + world.encrypt(world.bob.sign(TEXT), world.alice), by=world.alice)
    assert result["bodies"][0]["remote_allowed"]
    assert codes(result) == []


def test_a_broken_signature_inside_does_not_protect_cbc(world: World, outer: bytes) -> None:
    inner = world.bob.sign(TEXT).replace(b"closed", b"opened")
    result = world.open(outer + world.encrypt(inner, world.alice), by=world.alice)
    assert not result["bodies"][0]["remote_allowed"]
    assert codes(result) == ["decrypt.unauthenticated"]


def test_ecdh_oaep_and_old_keys_are_read(world: World, outer: bytes) -> None:
    to_bob = outer + world.encrypt(TEXT, world.bob)
    assert texts(world.open(to_bob, by=world.bob)) == [WORDS]
    oaep = outer + world.encrypt(TEXT, world.alice, options=["-keyopt", "rsa_padding_mode:oaep"])
    assert texts(world.open(oaep, by=world.alice)) == [WORDS]


def test_triple_wrapping_shows_the_innermost_signer_and_names_the_carrier(
    world: World, outer: bytes
) -> None:
    wrapped = world.carol.sign(world.encrypt(world.bob.sign(TEXT), world.alice))
    result = world.open(outer + wrapped, by=world.alice)
    assert result["verdict"]["state"] == "verified"
    assert result["verdict"]["signer"]["addresses"] == [world.bob.address]
    assert [layer["kind"] for layer in result["verdict"]["layers"]] == [
        "signed",
        "encrypted",
        "signed",
    ]
    assert result["verdict"]["layers"][0]["addresses"] == [world.carol.address]
    assert codes(result) == ["signature.carried"]
    assert texts(result) == [WORDS]


def test_a_signature_over_a_ciphertext_does_not_vouch_for_the_text(
    world: World, outer: bytes
) -> None:
    raw = outer + world.bob.sign(world.encrypt(TEXT, world.alice, cipher="aes-256-gcm"))
    result = world.open(raw, by=world.alice)
    assert result["verdict"]["state"] == "unsigned"
    assert result["verdict"]["facts"]["root"]["result"] == "failed"
    assert "signature.outside_encryption" in codes(result)
    assert result["bodies"][0]["protection"] == "encrypted-only"


@pytest.mark.parametrize(
    ("instead", "why"),
    [
        (b"application/x-pkcs7-mime; smime-type=enveloped-data", "old type"),
        (b"application/pkcs7-mime; smime-type=signed-data", "wrong smime-type"),
        (b"application/pkcs7-mime", "no smime-type"),
        (b'application/octet-stream; name="smime.p7m"', "file name only"),
    ],
)
def test_what_a_container_calls_itself_does_not_matter(
    world: World, outer: bytes, instead: bytes, why: str
) -> None:
    body = world.encrypt(TEXT, world.alice).split(b"\r\n\r\n", 1)[1]
    fields = b"Content-Type: " + instead + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    assert texts(world.open(outer + fields + body, by=world.alice)) == [WORDS], why


def test_ten_layers_are_opened_and_eleven_are_too_complex(world: World, outer: bytes) -> None:
    entity = TEXT
    for _ in range(10):
        entity = world.bob.sign(entity)
    assert texts(world.open(outer + entity)) == [WORDS]
    result = world.open(outer + world.bob.sign(entity))
    assert codes(result) == ["message.too_complex"]
    assert result["bodies"] == []


def compressed(content: bytes) -> bytes:
    """A CompressedData message (RFC 3274), which openssl 3.0 of Debian does not make."""
    data = der.sequence(
        der.integer(0),
        der.algorithm(oids.ZLIB_COMPRESS),
        der.sequence(der.oid(oids.DATA), der.explicit(0, der.octet_string(zlib.compress(content)))),
    )
    made = content_info(oids.COMPRESSED_DATA, [data])
    return (
        b"Content-Type: application/pkcs7-mime; smime-type=compressed-data\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(made)
    )


def test_compressed_mail_is_read_and_a_bomb_is_refused(world: World, outer: bytes) -> None:
    result = world.open(outer + compressed(world.bob.sign(TEXT)))
    assert texts(result) == [WORDS]
    assert result["verdict"]["state"] == "verified"
    bomb = world.open(outer + compressed(TEXT + bytes(150 << 20)))
    assert codes(bomb) == ["message.too_complex"]


def test_certificates_only_are_said_to_be_that(world: World, outer: bytes) -> None:
    made = signed.certificates_only([world.bob.signing.der, world.issuing.der])
    raw = (
        outer + b"Content-Type: application/pkcs7-mime; smime-type=certs-only; name=c.p7c\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(made)
    )
    result = world.open(raw)
    assert codes(result) == ["certificates.only"]
    assert result["verdict"]["state"] == "unsigned"
    assert [each["name"] for each in result["attachments"]] == ["c.p7c"]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "message.damaged"),
        (b"Content-Type: multipart/mixed; boundary=never\r\n\r\nx", "message.damaged"),
        (b"Content-Type: application/pkcs7-mime\r\n\r\nnot cms", "message.damaged"),
        (b"X: " + b"a" * 300_000, "message.too_complex"),
        (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 300,
            "message.too_complex",
        ),
    ],
    ids=["empty", "no-boundary", "no-cms", "long-header", "many-parts"],
)
def test_what_cannot_be_read_says_so_and_raises_nothing(
    world: World, raw: bytes, code: str
) -> None:
    result = world.open(raw, by=world.alice)
    assert codes(result) == [code]
    assert result["bodies"] == []
    assert result["verdict"]["state"] == "unsigned"


def test_a_multipart_signed_whose_signature_is_garbage_counts_as_unsigned(
    world: World, outer: bytes
) -> None:
    raw = (
        outer + b"Content-Type: multipart/signed; boundary=b;\r\n"
        b" protocol=application/pkcs7-signature\r\n\r\n--b\r\n" + TEXT + b"\r\n--b\r\n"
        b"Content-Type: application/pkcs7-signature\r\n\r\ngarbage\r\n--b--\r\n"
    )
    result = world.open(raw)
    assert codes(result) == ["signature.unreadable"]
    assert result["verdict"]["state"] == "unsigned"
    assert texts(result) == [WORDS]


def test_an_unknown_issuer_an_expired_and_another_address_are_not_verified(
    world: World, outer: bytes
) -> None:
    stranger = world.member("Bob Builder", "bob@example.test", issuer=world.untrusted)
    result = world.open(outer + stranger.sign(TEXT))
    assert result["verdict"]["state"] == "unverified"
    assert result["verdict"]["facts"]["chain"]["code"] == "chain.issuer_unknown"
    late = world.open(outer + world.bob.sign(TEXT), now=NOW_MS + 200 * 86_400_000, received=None)
    assert late["verdict"]["state"] != "verified"
    mismatch = world.open(outer + world.mallory.sign(TEXT))
    assert mismatch["verdict"]["state"] == "failed"
    assert mismatch["verdict"]["facts"]["address"]["code"] == "address.mismatch"


# --------------------------------------------------------------------------- parts


def mixed(*parts: bytes, kind: bytes = b"mixed") -> bytes:
    return (
        b"Content-Type: multipart/"
        + kind
        + b"; boundary=mix\r\n\r\n"
        + b"".join(b"--mix\r\n" + part + b"\r\n" for part in parts)
        + b"--mix--\r\n"
    )


HTML = b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>closed</p>\r\n"
FILE = (
    b'Content-Type: application/pdf; name="pier 4.pdf"\r\nContent-Transfer-Encoding: base64\r\n'
    b"Content-Disposition: attachment\r\n\r\nJVBERg==\r\n"
)


def test_bodies_alternatives_and_attachments_are_told_apart(world: World, outer: bytes) -> None:
    image = (
        b"Content-Type: image/png\r\nContent-ID: <logo@x>\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\niVBORw==\r\n"
    )
    related = mixed(HTML, image, kind=b"related").replace(b"mix", b"rel")
    mail = mixed(mixed(TEXT, related, kind=b"alternative").replace(b"mix", b"alt"), FILE)
    result = world.open(outer + mail)
    plain, html = result["bodies"]
    assert (plain["type"], html["type"]) == ("text/plain", "text/html")
    assert plain["alternative"] == html["alternative"] == "1"
    logo, pdf = result["attachments"]
    assert (logo["cid"], logo["inline"]) == ("logo@x", True)
    assert (pdf["name"], pdf["size"], pdf["inline"]) == ("pier 4.pdf", 4, False)
    assert result["quote"] == {"text": WORDS, "html": "<p>closed</p>\n"}


def test_one_part_is_handed_out_by_its_id(world: World, outer: bytes) -> None:
    raw = outer + world.encrypt(world.bob.sign(mixed(TEXT, FILE)), world.alice)
    result = world.open(raw, by=world.alice)
    part = result["attachments"][0]["id"]
    got = world.open(raw, by=world.alice, want="part", part=part)
    assert (got["name"], got["type"], got["data"]) == ("pier 4.pdf", "application/pdf", b"%PDF")
    assert got["uses"][0]["operation"] == "decrypt"
    with pytest.raises(ProtocolError) as refused:
        world.open(raw, by=world.alice, want="part", part="9.9")
    assert refused.value.code is ErrorCode.BAD_REQUEST
    with pytest.raises(ProtocolError) as locked:
        world.open(raw, want="part", part=part)
    assert locked.value.code is ErrorCode.NOT_UNLOCKED
    with pytest.raises(ProtocolError) as other:
        world.open(raw, by=world.bob, want="part", part=part)
    assert other.value.code is ErrorCode.NO_MATCHING_KEY


def test_an_attachment_name_cannot_carry_a_line_break(world: World, outer: bytes) -> None:
    file = FILE.replace(b'"pier 4.pdf"', b'"=?utf-8?q?a=0D=0Ab?="')
    assert world.open(outer + mixed(TEXT, file))["attachments"][0]["name"] == "a  b"


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"raw": "text"},
        {"raw": b"", "now": "now"},
        {"raw": b"", "now": -1},
        {"raw": b"", "now": 0, "want": "everything"},
        {"raw": b"", "now": 0, "received": "x"},
        {"raw": b"", "now": 0, "trust": []},
    ],
)
def test_a_request_of_another_shape_is_refused(payload: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as refused:
        open_message(None, payload)
    assert refused.value.code is ErrorCode.BAD_REQUEST


def test_every_result_crosses_the_border(world: World, outer: bytes) -> None:
    wrapped = world.carol.sign(world.encrypt(world.bob.sign(TEXT), world.alice))
    for raw in (outer + TEXT, outer + wrapped, b"", outer + mixed(world.bob.sign(TEXT), TEXT)):
        result = world.open(raw, by=world.alice)
        assert unpack(pack(result)) == result


def test_the_certificate_that_a_signer_prefers_is_found(world: World, outer: bytes) -> None:
    bag = [world.issuing.der, world.bob.signing.der, world.bob.encrypting.der]
    wanted = world.bob.encrypting.certificate
    by_name = der.sequence(wanted.issuer.public_bytes(), der.integer(wanted.serial_number))
    assert preferred_certificate(b"\xa0" + by_name[1:], bag) == bag[2]
    assert preferred_certificate(None, bag) is None
    assert preferred_certificate(b"\xa0\x03abc", bag) is None
    result = world.open(outer + world.bob.sign(TEXT))
    assert world.bob.signing.der in result["signer"]["bag"]
    assert result["signer"]["capabilities"]


def test_old_mail_is_verified_at_the_time_it_was_received(world: World, outer: bytes) -> None:
    raw = outer + world.bob.sign(TEXT)
    much_later = NOW_MS + 150 * 86_400_000
    result = world.open(raw, now=much_later, received=NOW_MS)
    assert result["verdict"]["facts"]["chain"]["code"] != "chain.expired"
    result = world.open(raw, now=much_later, received=None)
    assert result["verdict"]["facts"]["chain"]["code"] == "chain.expired"


def test_openssl_itself_accepts_the_world_we_test_with(world: World) -> None:
    assert openssl("version").startswith(b"OpenSSL")
    assert world.verify(world.bob.sign(TEXT)) == TEXT
