"""What we write: Python's own reader gets back what the person wrote, and no value ends a line."""

from __future__ import annotations

import email
import email.policy
import time
from dataclasses import replace
from email.message import EmailMessage
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_agent.mime import build, headers, protection, writing
from crypto_agent.mime.build import Attachment, Draft
from crypto_agent.mime.headers import Headers
from crypto_agent.mime.scanner import scan
from crypto_agent.mime.writing import RefusedValueError

ALICE = ("Alice Adams", "alice@example.test")
BOB = ("Bob Builder", "bob@example.test")
PLAIN = Draft(
    subject="Pier 4", sender=ALICE, to=(BOB,), cc=(), bcc=(), text="Hello Bob\n", html=None
)


def written(draft: Draft, *, encrypt: bool = False) -> bytes:
    lines = build.headers_of(draft, date=1_790_000_000_000, message_id="<1@example.test>")
    return build.payload(draft, protection.baseline(lines, encrypt=encrypt))


def read(entity: bytes) -> EmailMessage:
    message = email.message_from_bytes(entity, policy=email.policy.default)
    assert not message.defects
    return cast(EmailMessage, message)


def test_a_plain_mail_is_readable_by_others_and_safe_for_smtp() -> None:
    entity = written(PLAIN)
    message = read(entity)
    assert message["Subject"] == "Pier 4"
    assert message["To"] == "Bob Builder <bob@example.test>"
    assert message["Content-Type"].params["hp"] == "clear"
    assert message.get_content() == "Hello Bob\r\n"
    assert_safe(entity)


def assert_safe(entity: bytes) -> None:
    """7-bit, CRLF only, short lines."""
    assert entity.isascii()
    assert entity.count(b"\n") == entity.count(b"\r\n") == entity.count(b"\r")
    assert b"\x00" not in entity
    assert max(map(len, entity.split(b"\r\n"))) <= 990


def test_text_html_image_and_file_stand_where_readers_look_for_them() -> None:
    draft = replace(
        PLAIN,
        html='<p>Hi <img src="cid:logo@x"></p>',
        attachments=(
            Attachment("logo.png", "image/png", b"\x89PNG", cid="logo@x", inline=True),
            Attachment("合同 final.pdf", "application/pdf", b"%PDF\x00\xff"),
        ),
    )
    message = read(written(draft, encrypt=True))
    kinds = [part.get_content_type() for part in message.walk()]
    assert kinds == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "application/pdf",
    ]
    file = next(message.iter_attachments())
    assert file.get_filename() == "合同 final.pdf"
    assert file.get_payload(decode=True) == b"%PDF\x00\xff"
    assert message["Content-Type"].params["hp"] == "cipher"


@pytest.mark.parametrize(
    "subject",
    [
        "Pier 4",
        "关于四号码头的合同，请尽快确认日期" * 4,
        "Grüße aus Zürich 😀",
        "=?utf-8?q?not_an_encoded_word?=",
        "word " * 60,
        "a" * 500,
        "",
        "two  blanks   kept",
        " leading and trailing ",
    ],
)
def test_subjects_survive(subject: str) -> None:
    draft = replace(PLAIN, subject=subject)
    entity = written(draft)
    assert_safe(entity)
    ours = headers.decode_text(scan(entity).headers.first("subject"))
    assert ours == subject.strip()
    if subject != "a" * 500:
        assert str(read(entity)["Subject"]).split() == subject.split()


INJECTIONS = [
    "x\r\nBcc: mallory@evil.test",
    "x\nBcc: mallory@evil.test",
    "x\rBcc: mallory@evil.test",
    "x\r\n\r\n<script>",
    "x\x00\x0b\x0c\x1c\x1d\x85\u2028Bcc: mallory@evil.test",
    "=?utf-8?q?x=0D=0ABcc:_mallory=40evil.test?=",
]


@pytest.mark.parametrize("value", INJECTIONS)
def test_no_value_that_a_person_chose_ends_a_header_line(value: str) -> None:
    draft = replace(
        PLAIN,
        subject=value,
        sender=(value, "alice@example.test"),
        to=((value, "bob@example.test"),),
        references=(value, "<a@b>"),
        in_reply_to=value,
        headers=(("X-Tag", value),),
        attachments=(Attachment(value, value, b"x"),),
    )
    entity = written(draft, encrypt=True)
    assert_safe(entity)
    root = scan(entity)
    assert not root.headers.has("bcc")
    assert {field.key for field in root.headers.fields} == {
        *("from", "date", "message-id", "subject", "to", "references", "x-tag", "hp-outer"),
        *("mime-version", "content-type"),
    }
    assert len(root.children) == 2
    for child in root.children:
        assert not child.headers.has("bcc")
    message = read(entity)
    assert message["Bcc"] is None


@pytest.mark.parametrize("value", INJECTIONS)
def test_addresses_and_identifiers_of_another_shape_are_refused(value: str) -> None:
    with pytest.raises(RefusedValueError):
        written(replace(PLAIN, to=(("Bob", value),)))
    with pytest.raises(RefusedValueError):
        build.headers_of(PLAIN, date=0, message_id=f"<a@x>{value}")
    with pytest.raises(RefusedValueError):
        written(replace(PLAIN, headers=((value, "x"),)))
    with pytest.raises(RefusedValueError):
        written(replace(PLAIN, attachments=(Attachment("a", "a/b", b"", cid=value),)))


@pytest.mark.parametrize(
    "name", ["From", "bcc", "Content-Type", "MIME-Version", "HP-Outer", "Resent-To", "Date"]
)
def test_a_draft_may_not_set_headers_that_are_ours(name: str) -> None:
    with pytest.raises(RefusedValueError):
        written(replace(PLAIN, headers=((name, "x"),)))


def test_bcc_is_never_written() -> None:
    entity = written(replace(PLAIN, bcc=(("Carol", "carol@example.test"),)), encrypt=True)
    assert b"carol" not in entity.lower()


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("short lines\n", "7bit"),
        ("From here on\n", "quoted-printable"),
        (".leading dot\n", "quoted-printable"),
        ("blank at the end \n", "quoted-printable"),
        ("grün\n", "quoted-printable"),
        ("码头四号的合同已经附上，请确认日期。\n", "base64"),
        ("x" * 2000 + "\n", "quoted-printable"),
    ],
)
def test_text_is_encoded_as_it_needs(text: str, encoding: str) -> None:
    entity = build.text_entity("text/plain", text, flowed=False)
    assert_safe(entity)
    part = scan(entity)
    assert (part.encoding, part.text()) == (encoding, text)
    assert read(entity).get_content() == text.replace("\n", "\r\n")


def test_long_lines_of_words_flow_and_come_back_whole() -> None:
    paragraph = "The minutes of the meeting are agreed and will be sent to all of you. " * 5
    text = f"{paragraph.strip()}\n\n> quoted line\n From the start\n-- \nAlice\n"
    part = scan(build.text_entity("text/plain", text))
    assert part.parameters["format"] == "flowed"
    assert all(len(line) <= 78 for line in part.text().split("\n"))
    assert unflowed(part.text()) == text


def unflowed(text: str) -> str:
    """RFC 3676 §4: the reader's side."""
    lines, current = [], ""
    for line in text.split("\n"):
        if line.startswith(" "):
            line = line[1:]
        current += line
        if line.endswith(" ") and line != "-- ":
            continue
        lines.append(current)
        current = ""
    return "\n".join(lines)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300), st.text(max_size=60), st.text(max_size=60))
def test_any_text_subject_and_name_survive(text: str, subject: str, name: str) -> None:
    draft = replace(
        PLAIN,
        text=text,
        subject=subject,
        to=((name, BOB[1]),),
        attachments=(Attachment(name, "application/pdf", text.encode("utf-8", "replace")),),
    )
    entity = written(draft, encrypt=True)
    assert_safe(entity)
    root = scan(entity)
    assert root.headers.text("subject") == headers.one_line(clean(subject))
    body, file = root.children
    plain = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    if "format" not in body.parameters:
        shown = protection.without_legacy_display(body.text(), "text/plain")
        assert shown in (clean(plain), clean(plain) + "\n")
    assert file.content() == text.encode("utf-8", "replace")
    assert file.name == headers.one_line(clean(name))[:200]


def clean(text: str) -> str:
    """Lone surrogates have no UTF-8 form."""
    return text.encode("utf-8", "replace").decode()


def test_a_forwarded_mail_stays_a_mail_when_it_can() -> None:
    mail = b"From: x@y.test\r\nSubject: s\r\n\r\nbody\r\n"
    kept = scan(build.attachment_entity(Attachment("m.eml", "message/rfc822", mail)))
    assert (kept.type, kept.encoding, kept.content()) == ("message/rfc822", "7bit", mail)


@pytest.mark.parametrize(
    "mail", [b"Subject: \xff\r\n\r\n", b"Subject: s\n\nbare lf\n", b"x" * 2000]
)
def test_a_forwarded_mail_that_smtp_would_change_travels_as_octets(mail: bytes) -> None:
    kept = scan(build.attachment_entity(Attachment("m.eml", "message/rfc822", mail)))
    assert (kept.type, kept.content()) == ("application/octet-stream", mail)


def test_many_recipients_are_folded() -> None:
    people = tuple((f"Person {n}", f"person{n}@example.test") for n in range(1000))
    entity = written(replace(PLAIN, to=people))
    assert_safe(entity)
    assert len(read(entity)["To"].addresses) == 1000
    assert max(map(len, entity.split(b"\r\n"))) <= 78


def test_a_draft_of_another_shape_is_refused() -> None:
    good = PLAIN.to_payload()
    assert Draft.from_payload(good) == PLAIN
    for broken in (
        None,
        [],
        {**good, "text": 3},
        {**good, "to": "bob"},
        {**good, "attachments": [{}]},
    ):
        with pytest.raises(RefusedValueError):
            Draft.from_payload(broken)
    with pytest.raises(RefusedValueError):
        Draft.from_payload({**good, "to": [{"name": "", "address": "a@b.c"}] * 1001})


def test_25_megabytes_are_written_in_a_second() -> None:
    started = time.perf_counter()
    entity = written(replace(PLAIN, attachments=(Attachment("big", "a/b", bytes(25 << 20)),)))
    assert time.perf_counter() - started < 2
    assert scan(entity).children[1].size == 25 << 20


def test_a_folded_value_has_no_line_of_blanks_only() -> None:
    value = writing.text("word" + " " * 200 + "word", taken=9)
    assert all(line.strip() for line in value.split("\r\n"))
    assert Headers(b"Subject: " + value.encode() + b"\r\n").text("subject")
