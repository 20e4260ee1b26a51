"""Drafts and list fields: readable by their owner alone, and never a way to open other mail."""

from __future__ import annotations

from typing import Any

import pytest

from crypto_agent.operations.drafts import open_draft, seal_draft
from crypto_agent.operations.fields import open_fields, seal_fields
from crypto_agent.protocol import ErrorCode, ProtocolError
from tests.operations.test_send import draft
from tests.operations.world import TEXT, World, head


def code_of(call: Any, *arguments: Any) -> ErrorCode:
    with pytest.raises(ProtocolError) as found:
        call(*arguments)
    return found.value.code


def full(world: World) -> dict[str, Any]:
    return draft(
        world,
        cc=[{"name": "", "address": "half typed"}],
        bcc=[world.carol.mailbox],
        html="<p>canary</p>",
        text="canary without an end\n\n> quoted",
        in_reply_to="<q@x.test>",
        references=["<q@x.test>"],
        headers={"X-Mode": "reply"},
        attachments=[
            {
                "name": "合同.pdf",
                "type": "application/pdf",
                "data": b"canary\x00\xff",
                "cid": "a@b",
                "inline": True,
            },
            {
                "name": "m.eml",
                "type": "message/rfc822",
                "data": b"Subject: \xff\n\nx",
                "cid": None,
                "inline": False,
            },
        ],
    )


def test_a_draft_comes_back_as_it_was(world: World) -> None:
    wanted = full(world)
    mail = seal_draft(world.alice.keyring, {"draft": wanted})["mail"]
    got = open_draft(world.alice.keyring, {"mail": mail})
    assert got["draft"] == wanted
    assert [use["operation"] for use in got["uses"]] == ["decrypt"]


@pytest.mark.parametrize("text", ["", "\n", "a", "a\n", "a\n\n", " a \n", "From x", "é" * 500])
def test_every_end_of_a_text_comes_back(world: World, text: str) -> None:
    wanted = draft(world, text=text, html=text)
    mail = seal_draft(world.alice.keyring, {"draft": wanted})["mail"]
    assert open_draft(world.alice.keyring, {"mail": mail})["draft"] == wanted


def test_what_lies_on_the_mail_server_tells_nothing(world: World) -> None:
    mail = seal_draft(world.alice.keyring, {"draft": full(world)})["mail"]
    assert mail.isascii()
    # Long enough that no base64 holds them by chance.
    for word in (b"canary without", b"carol@example", b"bob@example", b"<q@x.test>", b"X-Mode"):
        assert word.lower() not in mail.lower()
    assert world.open(mail)["headers"]["subject"] == "[...]"
    assert world.open(mail, by=world.bob)["bodies"] == []
    assert "canary" in world.open(mail, by=world.alice)["bodies"][0]["text"]


def test_somebody_elses_ciphertext_is_not_opened_as_a_draft(world: World) -> None:
    letter = head(from_=world.bob.header, subject="[...]") + world.encrypt(TEXT, world.alice)
    assert world.open(letter, by=world.alice)["bodies"]  # Alice may read it as a mail
    assert code_of(open_draft, world.alice.keyring, {"mail": letter}) is ErrorCode.FORGED


def test_a_ciphertext_beside_a_clear_draft_is_not_opened_either(world: World) -> None:
    stolen = world.encrypt(TEXT, world.alice).replace(b": attachment", b": inline")
    mail = (
        head(from_=world.alice.header, subject="s")
        + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        + TEXT
        + b"--b\r\n"
        + stolen
        + b"\r\n--b--\r\n"
    )
    assert code_of(open_draft, world.alice.keyring, {"mail": mail}) is ErrorCode.FORGED


def test_a_draft_in_clear_of_another_program_is_read(world: World) -> None:
    mail = head(from_=world.alice.header, to=world.bob.header, subject="Pier 4") + TEXT
    got = open_draft(world.alice.keyring, {"mail": mail})["draft"]
    assert (got["subject"], got["text"]) == ("Pier 4", "The pier is closed.\n")
    assert got["to"] == [world.bob.mailbox]


def test_drafts_of_others_and_without_keys_are_refused(world: World) -> None:
    mail = seal_draft(world.alice.keyring, {"draft": full(world)})["mail"]
    assert code_of(open_draft, world.bob.keyring, {"mail": mail}) is ErrorCode.NO_MATCHING_KEY
    assert code_of(open_draft, None, {"mail": mail}) is ErrorCode.NOT_UNLOCKED
    assert code_of(seal_draft, None, {"draft": full(world)}) is ErrorCode.NOT_UNLOCKED
    assert code_of(open_draft, world.alice.keyring, {"mail": "x"}) is ErrorCode.BAD_REQUEST
    assert code_of(seal_draft, world.alice.keyring, {"draft": []}) is ErrorCode.BAD_REQUEST


def test_fields_are_sealed_for_their_owner_alone(world: World) -> None:
    items = [b"Pier 4", b"", "码头".encode()]
    sealed = seal_fields(world.alice.keyring, {"items": items})["items"]
    assert all(item not in each for item, each in zip(items, sealed, strict=True) if item)
    assert open_fields(world.alice.keyring, {"items": sealed})["items"] == items
    assert code_of(open_fields, world.bob.keyring, {"items": sealed}) is ErrorCode.FORGED
    assert code_of(open_fields, None, {"items": sealed}) is ErrorCode.NOT_UNLOCKED
    assert code_of(seal_fields, world.alice.keyring, {"items": ["x"]}) is ErrorCode.BAD_REQUEST
    assert code_of(seal_fields, world.alice.keyring, {"items": [b""] * 2001}) is (
        ErrorCode.BAD_REQUEST
    )


def test_fields_and_drafts_are_not_interchangeable(world: World) -> None:
    sealed = world.alice.keyring.seal("draft", b"x")
    assert code_of(open_fields, world.alice.keyring, {"items": [sealed]}) is ErrorCode.FORGED
