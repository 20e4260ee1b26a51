"""From ``hold`` to the copies that leave: judged by the openssl program and by Python's reader."""

from __future__ import annotations

import email
import email.policy
import re
import time
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from crypto_agent.cms import capabilities, timestamp
from crypto_agent.operations.context import HOLD, RELEASE
from crypto_agent.operations.hold import hold
from crypto_agent.operations.release import release_seal, release_sign
from crypto_agent.protocol import ErrorCode, ProtocolError, pack, unpack
from tests.cms.people import Person
from tests.operations.world import LIFE, NOW_MS, Member, World
from tests.trust.pki import usage

MESSAGE_ID = "<0192.pier@example.test>"
LATER = NOW_MS + 7_777


def draft(world: World, **more: Any) -> dict[str, Any]:
    return {
        "subject": "关于四号码头的合同",
        "from": world.alice.mailbox,
        "to": [world.bob.mailbox],
        "cc": [],
        "bcc": [],
        "text": "Dear Bob,\nthe pier is closed.\n",
        "html": None,
        "attachments": [],
        "in_reply_to": "",
        "references": [],
        "headers": {},
        **more,
    }


def recipient(member: Member, kind: str = "to", **more: Any) -> dict[str, Any]:
    return {
        "address": member.address,
        "kind": kind,
        "certificates": [member.encrypting.der],
        "capabilities": None,
        **more,
    }


def held(world: World, *recipients: dict[str, Any], encrypt: bool = True, **more: Any) -> bytes:
    payload = {
        "draft": draft(world),
        "recipients": list(recipients) or [recipient(world.bob)],
        "encrypt": encrypt,
        "from": world.alice.mailbox,
        "message_id": MESSAGE_ID,
        **more,
    }
    blob: bytes = hold(world.alice.keyring, payload)["held"]
    return blob


def release(world: World, blob: bytes, *, token: bytes | None = None) -> dict[str, Any]:
    made = release_sign(world.alice.keyring, {"held": blob, "date": LATER})
    return release_seal(world.alice.keyring, {"state": made["state"], "token": token})


# --------------------------------------------------------------------------- what leaves


@pytest.mark.parametrize("encrypt", [True, False])
def test_a_reader_learns_how_to_encrypt_the_answer(world: World, encrypt: bool) -> None:
    """Two certificates are in use, so the mail carries the other one and says what it is for."""
    (copy,) = release(world, held(world, encrypt=encrypt))["copies"]
    read = world.open(copy["mail"], by=world.bob)
    assert read["verdict"]["state"] == "verified"
    assert read["verdict"]["signer"]["der"] == world.alice.signing.der
    assert read["verdict"]["signer"]["encryption_certificate"] == world.alice.encrypting.der


def test_openssl_opens_and_verifies_an_encrypted_mail(world: World) -> None:
    result = release(world, held(world))
    (copy,) = result["copies"]
    assert (copy["recipients"], copy["kind"]) == ([world.bob.address], "main")
    assert (result["encrypted"], result["timestamped"]) == (True, False)
    outside = email.message_from_bytes(copy["mail"], policy=email.policy.default)
    assert outside["Subject"] == "[...]"
    assert outside["Message-ID"] == MESSAGE_ID
    payload = world.verify(world.bob.decrypt(copy["mail"]))
    inside = email.message_from_bytes(payload, policy=email.policy.default)
    assert inside["Subject"] == "关于四号码头的合同"
    assert inside["Content-Type"].params["hp"] == "cipher"
    assert inside.get_all("HP-Outer")[0] == f"From: {world.alice.header}"
    assert "the pier is closed." in inside.get_content()


def test_openssl_verifies_a_mail_that_is_only_signed(world: World) -> None:
    result = release(world, held(world, encrypt=False))
    (copy,) = result["copies"]
    assert not result["encrypted"]
    message = email.message_from_bytes(copy["mail"], policy=email.policy.default)
    assert message.get_content_type() == "multipart/signed"
    assert message["Content-Type"].params["micalg"] == "sha-256"
    assert message["Subject"] == "关于四号码头的合同"
    payload = world.verify(copy["mail"])
    inside = email.message_from_bytes(payload, policy=email.policy.default)
    assert inside["Content-Type"].params["hp"] == "clear"
    assert inside["HP-Outer"] is None
    assert inside.get_content() == "Dear Bob,\r\nthe pier is closed.\r\n"


def test_date_and_signing_time_are_the_moment_of_release(world: World) -> None:
    (copy,) = release(world, held(world, encrypt=False))["copies"]
    opened = world.open(copy["mail"])
    assert opened["verdict"]["state"] == "verified"
    assert opened["headers"]["date"] == LATER - LATER % 1000
    assert opened["verdict"]["time"]["claimed"] == opened["headers"]["date"]


def test_ours_opens_what_ours_sends_with_every_header_accounted_for(world: World) -> None:
    blob = held(
        world,
        draft=draft(world, in_reply_to="<q@x.test>", references=["<p@x.test>", "<q@x.test>"]),
    )
    (copy,) = release(world, blob)["copies"]
    opened = world.open(copy["mail"], by=world.bob)
    assert opened["verdict"]["state"] == "verified"
    assert opened["headers"]["subject"] == "关于四号码头的合同"
    assert opened["headers"]["references"] == ["<p@x.test>", "<q@x.test>"]
    told = opened["headers"]["protected"]
    assert told.pop("subject") == "signed-and-encrypted"
    assert set(told.values()) == {"signed-only"}
    assert opened["bodies"][0]["text"] == "Dear Bob,\nthe pier is closed.\n"
    assert opened["notices"] == []


def test_the_mail_is_safe_for_smtp(world: World) -> None:
    blob = held(world, draft=draft(world, text="\n.\nFrom here\n" + "x" * 3000, html="<p>ü</p>"))
    for encrypt in (True, False):
        blob = held(world, encrypt=encrypt, draft=draft(world, text="\n.\nFrom ü\n" + "x" * 3000))
        for each in release(world, blob)["copies"]:
            mail = each["mail"]
            assert mail.isascii()
            assert mail.count(b"\n") == mail.count(b"\r\n") == mail.count(b"\r")
            assert max(map(len, mail.split(b"\r\n"))) <= 990
            assert not re.search(rb"^(From |\.)", mail, re.MULTILINE)


# --------------------------------------------------------------------------- Bcc


def test_each_hidden_recipient_gets_an_envelope_of_their_own(world: World) -> None:
    people = draft(world, cc=[world.mallory.mailbox], bcc=[world.carol.mailbox])
    blob = held(
        world,
        recipient(world.bob),
        recipient(world.mallory, "cc"),
        recipient(world.carol, "bcc"),
        draft=people,
    )
    result = release(world, blob)
    main, hidden = result["copies"]
    assert (main["recipients"], main["kind"]) == (
        [world.bob.address, world.mallory.address],
        "main",
    )
    assert (hidden["recipients"], hidden["kind"]) == ([world.carol.address], "bcc")
    for member, mail, may in [
        (world.bob, main["mail"], True),
        (world.mallory, main["mail"], True),
        (world.carol, main["mail"], False),
        (world.carol, hidden["mail"], True),
        (world.bob, hidden["mail"], False),
        (world.alice, main["mail"], True),
        (world.alice, hidden["mail"], True),
    ]:
        opened = world.open(mail, by=member)
        assert bool(opened["bodies"]) is may, (member.name, may)
    seen = world.open(main["mail"], by=world.bob)
    assert seen["verdict"]["layers"][0]["recipients"] == 3  # Bob, Mallory and Alice herself
    for mail, key in ((main["mail"], world.bob), (hidden["mail"], world.carol)):
        assert b"carol@example" not in mail.lower()
        assert b"carol@example" not in world.verify(key.decrypt(mail)).lower()
        assert world.open(mail, by=key)["headers"]["bcc"] == []


def test_our_own_copy_remembers_the_hidden_recipients_inside_the_encryption(
    world: World,
) -> None:
    people = draft(world, bcc=[world.carol.mailbox])
    for encrypt in (True, False):
        blob = held(
            world,
            recipient(world.bob),
            recipient(world.carol, "bcc"),
            draft=people,
            encrypt=encrypt,
        )
        result = release(world, blob)
        sent = result["sent"]
        assert b"carol@example" not in sent.lower()
        assert world.open(sent)["outer"]["subject"] == "[...]"
        opened = world.open(sent, by=world.alice)
        assert opened["headers"]["bcc"] == [world.carol.mailbox]
        assert opened["headers"]["subject"] == "关于四号码头的合同"
        assert opened["verdict"]["state"] == "verified"
        assert opened["verdict"]["encryption"]["algorithm"] == "AES-256-GCM"
        assert world.open(sent, by=world.bob)["bodies"] == []


# --------------------------------------------------------------------------- ciphers


@pytest.mark.parametrize(
    ("announced", "cipher"),
    [
        ((None, None), "AES-256-CBC"),
        ((capabilities.OWN, None), "AES-256-CBC"),
        ((capabilities.OWN, b"garbage"), "AES-256-CBC"),
        ((capabilities.OWN, capabilities.OWN), "AES-256-GCM"),
    ],
)
def test_gcm_goes_only_to_those_who_all_announced_it(
    world: World, announced: tuple[bytes | None, bytes | None], cipher: str
) -> None:
    blob = held(
        world,
        recipient(world.bob, capabilities=announced[0]),
        recipient(world.carol, "cc", capabilities=announced[1]),
        draft=draft(world, cc=[world.carol.mailbox]),
    )
    (copy,) = release(world, blob)["copies"]
    for member in (world.bob, world.carol):
        encryption = world.open(copy["mail"], by=member)["verdict"]["encryption"]
        assert encryption["algorithm"] == cipher


# --------------------------------------------------------------------------- timestamps


@pytest.fixture(scope="module")
def stamper(world: World) -> Person:
    tsa = world.issuing.issue(
        "Example TSA",
        key_usage=usage(digital_signature=True),
        extended=[ExtendedKeyUsageOID.TIME_STAMPING],
        extended_critical=True,
        **LIFE,
    )
    return Person("tsa", tsa.key, tsa.der, (world.issuing.der,))


def stamp(stamper: Person, imprint: bytes) -> bytes:
    answer = timestamp.respond(
        timestamp.request(imprint, 7), stamper, now=LATER, serial=1, policy="1.2.3.4"
    )
    return timestamp.read_response(answer, imprint=imprint, nonce=7)


def test_a_timestamp_over_the_signature_proves_the_time(world: World, stamper: Person) -> None:
    made = release_sign(world.alice.keyring, {"held": held(world), "date": LATER})
    token = stamp(stamper, made["imprint"])
    result = release_seal(world.alice.keyring, {"state": made["state"], "token": token})
    assert result["timestamped"]
    opened = world.open(result["copies"][0]["mail"], by=world.bob, now=LATER + 60_000)
    assert opened["verdict"]["time"]["fact"]["code"] == "time.proven"
    assert opened["verdict"]["time"]["proven"] == LATER
    world.verify(world.bob.decrypt(result["copies"][0]["mail"]))


@pytest.mark.parametrize("wrong", ["other imprint", "garbage"])
def test_a_token_about_something_else_is_left_out_and_the_mail_goes(
    world: World, stamper: Person, wrong: str
) -> None:
    made = release_sign(world.alice.keyring, {"held": held(world), "date": LATER})
    token = stamp(stamper, bytes(32)) if wrong == "other imprint" else b"0\x03abc"
    result = release_seal(world.alice.keyring, {"state": made["state"], "token": token})
    assert not result["timestamped"]
    opened = world.open(result["copies"][0]["mail"], by=world.bob)
    assert opened["verdict"]["state"] == "verified"
    assert opened["verdict"]["time"]["fact"]["code"] == "time.none"


# --------------------------------------------------------------------------- what was promised


def refused(call: Any, *arguments: Any, **named: Any) -> ErrorCode:
    with pytest.raises(ProtocolError) as found:
        call(*arguments, **named)
    return found.value.code


def test_a_recipient_without_certificate_is_refused_and_never_sent_in_clear(world: World) -> None:
    bare = recipient(world.bob, certificates=[])
    assert refused(held, world, bare) is ErrorCode.CERTIFICATE_REFUSED
    broken = recipient(world.bob, certificates=[b"garbage"])
    assert refused(held, world, broken) is ErrorCode.CERTIFICATE_REFUSED
    hidden = [recipient(world.bob), recipient(world.carol, "bcc", certificates=[])]
    people = draft(world, bcc=[world.carol.mailbox])
    assert refused(held, world, *hidden, draft=people) is ErrorCode.CERTIFICATE_REFUSED
    assert held(world, bare, encrypt=False)


def test_a_held_mail_whose_certificate_went_missing_is_refused_at_release(world: World) -> None:
    fields = unpack(world.alice.keyring.unseal(HOLD, held(world)))
    fields[2][0]["certificates"] = []
    blob = world.alice.keyring.seal(HOLD, pack(fields))
    assert refused(release, world, blob) is ErrorCode.CERTIFICATE_REFUSED


def test_whether_to_encrypt_must_be_said(world: World) -> None:
    for unclear in (None, 0, "yes"):
        assert refused(held, world, encrypt=unclear) is ErrorCode.BAD_REQUEST


def test_blobs_of_others_and_of_another_step_are_refused(world: World) -> None:
    blob = held(world)
    state = release_sign(world.alice.keyring, {"held": blob, "date": LATER})["state"]
    ask_sign = {"held": blob, "date": LATER}
    assert refused(release_sign, world.bob.keyring, ask_sign) is ErrorCode.FORGED
    assert refused(release_seal, world.bob.keyring, {"state": state}) is ErrorCode.FORGED
    assert refused(release_seal, world.alice.keyring, {"state": blob}) is ErrorCode.FORGED
    changed = blob[:-1] + bytes([blob[-1] ^ 1])
    ask_sign = {"held": changed, "date": LATER}
    assert refused(release_sign, world.alice.keyring, ask_sign) is ErrorCode.FORGED
    assert refused(release_sign, None, ask_sign) is ErrorCode.NOT_UNLOCKED
    assert HOLD != RELEASE


def test_neither_subject_nor_text_stands_in_what_is_held(world: World) -> None:
    said = "a canary sings"
    blob = held(world, draft=draft(world, subject=said, text=said, html=said))
    state = release_sign(world.alice.keyring, {"held": blob, "date": LATER})["state"]
    assert said.encode() not in blob
    assert said.encode() not in state
    assert said.encode() in world.alice.keyring.unseal(HOLD, blob)


@pytest.mark.parametrize(
    "change",
    [
        {"message_id": "<x>\r\nBcc: mallory@evil.test"},
        {"message_id": ""},
        {"recipients": []},
        {"recipients": "bob@example.test"},
        {"from": {"name": "", "address": "bob@example.test"}},
        {"from": {"name": "", "address": "alice@example.test\r\nBcc: m@evil.test"}},
        {"draft": None},
    ],
)
def test_a_mail_that_cannot_be_written_is_refused_when_it_is_held(
    world: World, change: dict[str, Any]
) -> None:
    assert refused(held, world, **change) is ErrorCode.BAD_REQUEST


def test_recipients_and_draft_must_name_the_same_people(world: World) -> None:
    only_bob = [recipient(world.bob)]
    more = draft(world, cc=[world.carol.mailbox])
    assert refused(held, world, *only_bob, draft=more) is ErrorCode.BAD_REQUEST
    extra = [*only_bob, recipient(world.carol, "bcc")]
    assert refused(held, world, *extra) is ErrorCode.BAD_REQUEST
    wrong_kind = [recipient(world.bob, "bcc")]
    assert refused(held, world, *wrong_kind) is ErrorCode.BAD_REQUEST
    twice = [recipient(world.bob), recipient(world.bob)]
    assert refused(held, world, *twice) is ErrorCode.BAD_REQUEST


@pytest.mark.parametrize("value", ["x\r\nBcc: mallory@evil.test", "x\r\n\r\nbody", "x\nX: y"])
def test_no_value_of_a_draft_becomes_a_header_or_a_body(world: World, value: str) -> None:
    hostile = draft(
        world,
        subject=value,
        references=[value, "<a@b>"],
        in_reply_to=value,
        attachments=[{"name": value, "type": value, "data": b"x", "cid": None, "inline": False}],
        **{"from": {"name": value, "address": world.alice.address}},
        to=[{"name": value, "address": world.bob.address}],
    )
    sender = {"name": value, "address": world.alice.address}
    for encrypt in (True, False):
        blob = held(world, draft=hostile, encrypt=encrypt, **{"from": sender})
        (copy,) = release(world, blob)["copies"]
        message = email.message_from_bytes(copy["mail"], policy=email.policy.default)
        assert message["Bcc"] is None
        assert message["X"] is None
        opened = world.open(copy["mail"], by=world.bob)
        assert opened["verdict"]["state"] == "verified"
        assert opened["headers"]["bcc"] == []
        assert "\n" not in opened["headers"]["subject"] + opened["attachments"][0]["name"]
        assert len(opened["bodies"]) == 1


# --------------------------------------------------------------------------- size


def test_a_25_megabyte_attachment_takes_seconds_of_work(world: World) -> None:
    data = bytes(range(256)) * (100 * 1024)
    big = draft(
        world,
        attachments=[
            {"name": "big.bin", "type": "a/b", "data": data, "cid": None, "inline": False}
        ],
    )
    started = time.process_time()
    (copy,) = release(world, held(world, draft=big))["copies"]
    sent_after = time.process_time() - started
    started = time.process_time()
    part = world.open(copy["mail"], by=world.bob)["attachments"][0]
    opened_after = time.process_time() - started
    got = world.open(copy["mail"], by=world.bob, want="part", part=part["id"])["data"]
    assert got == data
    assert part["size"] == len(data)
    assert sent_after < 8
    assert opened_after < 4
