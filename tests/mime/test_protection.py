"""Header protection (RFC 9788): what counts where, and what each header is worth."""

from __future__ import annotations

import pytest

from crypto_agent.mime import protection
from crypto_agent.mime.headers import Headers
from crypto_agent.mime.protection import HeaderView
from crypto_agent.mime.scanner import scan

OUTSIDE = Headers(
    b"From: Bob <bob@example.test>\r\nTo: alice@example.test\r\nSubject: [...]\r\nX-Other: y\r\n"
)
INSIDE = (
    b"From: Bob <bob@example.test>\r\nTo: alice@example.test\r\nSubject: Pier 4\r\n"
    b"HP-Outer: From: Bob\r\n <bob@example.test>\r\nHP-Outer: Subject: [...]\r\n"
    b'Content-Type: text/plain; hp="cipher"\r\n\r\nx'
)


def view(inside: bytes, *, encrypted: bool = True, enveloped: bool = True) -> HeaderView:
    return protection.read(scan(inside), OUTSIDE, enveloped=enveloped, encrypted=encrypted)


def test_the_protected_subject_is_shown_and_its_states_are_told() -> None:
    found = view(INSIDE)
    assert found.first("subject") == b"Pier 4"
    assert found.states(signed=True) == {
        "from": "signed-only",  # HP-Outer says that it stood outside too, folded another way
        "to": "signed-and-encrypted",
        "subject": "signed-and-encrypted",
    }
    assert found.states(signed=False)["subject"] == "encrypted-only"
    assert found.states(signed=False)["from"] == "unprotected"


def test_hp_cipher_on_a_mail_that_is_not_encrypted_is_not_taken_for_encryption() -> None:
    found = view(INSIDE, encrypted=False)
    assert set(found.states(signed=True).values()) == {"signed-only"}
    assert set(found.states(signed=False).values()) == {"unprotected"}


def test_hp_clear_within_encryption_says_that_headers_were_sent_in_clear() -> None:
    found = view(INSIDE.replace(b'"cipher"', b'"clear"'))
    assert found.states(signed=True)["subject"] == "signed-only"


def test_hp_without_any_cryptographic_layer_is_ignored() -> None:
    found = view(INSIDE, enveloped=False, encrypted=False)
    assert found.first("subject") == b"[...]"
    assert set(found.states(signed=True).values()) == {"unprotected"}


def test_hp_and_hp_outer_below_the_root_of_the_payload_are_ignored() -> None:
    found = view(
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + INSIDE + b"\r\n--b--\r\n"
    )
    assert not found.protected
    assert found.first("subject") == b"[...]"


def test_hp_outer_in_the_outer_headers_is_ignored() -> None:
    outside = Headers(b"From: bob@example.test\r\nHP-Outer: Subject: Pier 4\r\nSubject: [...]\r\n")
    found = protection.read(scan(INSIDE), outside, enveloped=True, encrypted=True)
    assert found.states(signed=True)["subject"] == "signed-and-encrypted"


def test_a_header_that_only_stands_outside_is_not_shown_beside_protected_ones() -> None:
    outside = Headers(b"From: bob@example.test\r\nCc: mallory@evil.test\r\nSubject: [...]\r\n")
    found = protection.read(scan(INSIDE), outside, enveloped=True, encrypted=True)
    assert found.all("cc") == []


@pytest.mark.parametrize(
    ("outer", "differs"),
    [
        (b"From: Bob <bob@example.test>", False),
        (b"From: Somebody <BOB@example.TEST>", False),
        (b"From: Bob <mallory@evil.test>", True),
        (b"From: bob@example.test, mallory@evil.test", True),
        (b"Subject: none", True),
    ],
)
def test_the_actual_outer_from_is_compared(outer: bytes, differs: bool) -> None:
    found = protection.read(scan(INSIDE), Headers(outer), enveloped=True, encrypted=True)
    assert found.from_differs() is differs


def test_the_older_scheme_protects_only_what_it_repeats() -> None:
    found = view(b'Subject: Pier 4\r\nContent-Type: text/plain; protected-headers="v1"\r\n\r\nx')
    assert found.first("subject") == b"Pier 4"
    assert found.first("to") == b"alice@example.test"
    assert found.states(signed=True) == {
        "from": "unprotected",
        "to": "unprotected",
        "subject": "signed-and-encrypted",
    }


def test_a_wrapped_mail_counts_as_the_mail_itself_only_when_it_says_so() -> None:
    inner = b"From: bob@example.test\r\nSubject: Pier 4\r\n\r\nx"
    not_forwarded = b"Content-Type: message/rfc822; forwarded=no\r\n\r\n" + inner
    assert view(not_forwarded).first("subject") == b"Pier 4"
    forwarded = b"Content-Type: message/rfc822\r\n\r\n" + inner
    assert view(forwarded).first("subject") == b"[...]"
    other_sender = not_forwarded.replace(b"bob@", b"carol@")
    assert not view(other_sender).protected


@pytest.mark.parametrize(
    ("kind", "text", "left"),
    [
        ("text/plain", "Subject: Pier 4\n\nHello\n\nBob\n", "Hello\n\nBob\n"),
        ("text/plain", "Subject: Pier 4\n", ""),
        (
            "text/html",
            '<p>a</p><div class="header-protection-legacy-display"><div>x</div></div><div>b</div>',
            "<p>a</p><div>b</div>",
        ),
        ("text/html", "<div>b</div>", "<div>b</div>"),
        ("text/html", '<div class="header-protection-legacy-display"><pre>never closed', None),
    ],
)
def test_the_legacy_display_is_removed(kind: str, text: str, left: str | None) -> None:
    assert protection.without_legacy_display(text, kind) == (text if left is None else left)


def test_what_is_written_for_encrypted_mail_hides_the_subject_and_repeats_the_outside() -> None:
    written = protection.baseline(
        [("From", "a@x.test"), ("Subject", "Pier 4"), ("Keywords", "secret"), ("Date", "d")],
        encrypt=True,
    )
    assert written.hp == "cipher"
    assert written.outside == (("From", "a@x.test"), ("Subject", "[...]"), ("Date", "d"))
    assert written.inside[-3:] == (
        ("HP-Outer", "From: a@x.test"),
        ("HP-Outer", "Subject: [...]"),
        ("HP-Outer", "Date: d"),
    )
    assert written.legacy == (("Subject", "Pier 4"), ("Keywords", "secret"))


def test_what_is_written_for_signed_mail_hides_nothing() -> None:
    headers = [("From", "a@x.test"), ("Subject", "Pier 4")]
    written = protection.baseline(headers, encrypt=False)
    assert (written.hp, list(written.outside), list(written.inside)) == ("clear", headers, headers)
    assert written.legacy == ()
