"""The mail of the demo: every state a message can be in, made by the openssl program.

The cast: Alice and Bob work at Acme and use Sealpost. Carol, Vera, Victor and the accounts office
write from outside with certificates of a commercial-style authority. Mallory tries to be Carol.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path

from launcher.foreign import (
    Correspondent,
    ForeignAuthority,
    encrypt_entity,
    sign_entity,
    smime,
    split_message,
)

BANK = "harbour-bank.example"


@dataclass(frozen=True)
class DemoMail:
    """Raw bytes, when they arrived, in which folder they lie, and their flags."""

    raw: bytes
    received: datetime
    folder: str = "INBOX"
    seen: bool = False
    flagged: bool = False


@dataclass(frozen=True)
class Cast:
    """Everybody who writes to Alice from outside."""

    carol: Correspondent
    vera: Correspondent
    victor: Correspondent
    office: Correspondent
    lapsed: Correspondent
    revoked: Correspondent
    mallory: Correspondent
    stranger: Correspondent
    trusted: ForeignAuthority
    unknown: ForeignAuthority


def make_cast(folder: Path, public: Path, base_url: str) -> Cast:
    """Create two outside authorities and their people; the CRL goes into ``public``.

    ``trusted`` is the one whose root the demo adds to the trust list, ``unknown`` is not.
    """
    trusted = ForeignAuthority(
        folder / "trusted",
        "Lighthouse Trust Services",
        crl_url=f"{base_url}/lighthouse.crl",
        root_crl_url=f"{base_url}/lighthouse-root.crl",
    ).create()
    unknown = ForeignAuthority(folder / "unknown", "Nobody Knows CA").create()
    bank = "Harbour Bank plc"
    cast = Cast(
        carol=trusted.issue(f"carol.jones@{BANK}", "Carol Jones", level="V4", organisation=bank),
        vera=trusted.issue("vera@post.example", "Vera", level="V1"),
        victor=trusted.issue("victor.hugo@letters.example", "Victor Hugo", level="V2"),
        office=trusted.issue(f"accounts@{BANK}", "Accounts", level="V3", organisation=bank),
        lapsed=trusted.issue(
            "otto@old-mill.example",
            "Otto Miller",
            level="V2",
            start="20240101000000Z",
            end="20250101000000Z",
        ),
        revoked=trusted.issue("rita@lost-laptop.example", "Rita Reyes", level="V2"),
        mallory=trusted.issue("mallory@evil.example", "Mallory", level="V1"),
        stranger=unknown.issue("sam@nowhere.example", "Sam Stranger", level="V2"),
        trusted=trusted,
        unknown=unknown,
    )
    public.mkdir(parents=True, exist_ok=True)
    crl = public / "lighthouse.crl"
    if not crl.exists():
        trusted.revoke(cast.revoked, at=datetime.now(UTC) - timedelta(days=10))
    crl.write_bytes(trusted.crl())
    (public / "lighthouse-root.crl").write_bytes(trusted.root_crl())
    return cast


def compose(
    sender: str, to: str, subject: str, text: str, *, date: datetime, html: str = ""
) -> EmailMessage:
    message = EmailMessage(policy=policy.SMTP)
    message["From"], message["To"], message["Subject"] = sender, to, subject
    message["Date"] = format_datetime(date)
    digest = zlib.crc32(f"{sender}{subject}{date}".encode())
    message["Message-ID"] = (
        f"<{digest:08x}.{int(date.timestamp())}@{sender.split('@')[-1].strip('>')}>"
    )
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    return message


def tiny_png(red: int, green: int, blue: int, size: int = 96) -> bytes:
    """A plain square, so that the demo has a real picture without shipping a file."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    rows = (b"\0" + bytes((red, green, blue)) * size) * size
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def tiny_pdf(line: str) -> bytes:
    """A one-page PDF with one line of text."""
    content = f"BT /F1 18 Tf 72 720 Td ({line}) Tj ET".encode("latin-1", "replace")
    font = b"<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources %s >>"
    bodies = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        page % font,
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
    ]
    document = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(bodies, 1):
        offsets.append(len(document))
        document += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(document)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return (
        document
        + b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(bodies) + 1, table)
        + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(bodies) + 1, start)
    )


def alice_mail(
    cast: Cast, alice: str, alice_certificate: Path, now: datetime
) -> Iterator[DemoMail]:
    """Alice's inbox, oldest first."""
    yield from _ordinary(alice, now)
    yield from _proven(cast, alice, now)
    yield from _unproven(cast, alice, now)
    yield from _encrypted(cast, alice, alice_certificate, now)


def _ordinary(alice: str, now: datetime) -> Iterator[DemoMail]:
    def at(days: float) -> datetime:
        return now - timedelta(days=days)

    chatter = [
        (
            41,
            "Facilities <facilities@acme.example>",
            "Fire drill on Thursday",
            "The alarm will sound at 10:30. Please leave by the nearest stairs.\n",
        ),
        (
            33,
            "Canteen <canteen@acme.example>",
            "Menu for next week",
            "Monday: lentil soup. Tuesday: pasta al forno. Wednesday: curry.\n",
        ),
        (
            27,
            "Igor <igor@letters.example>",
            "Photos from the workshop",
            "Hi Alice,\n\nthe photos are on their way. It was good to see everybody.\n\nIgor\n",
        ),
        (
            21,
            "Human Resources <hr@acme.example>",
            "Holiday plan: please enter your dates",
            "Please enter your holidays for next year by the end of the month.\n",
        ),
        (
            16,
            "Igor <igor@letters.example>",
            "Re: Photos from the workshop",
            "> Can you send the one with the harbour?\n\nOf course, attached to the next mail.\n",
        ),
        (
            12,
            "王小明 <wang@letters.example>",
            "会议安排",
            "您好,\n\n明天下午三点在三号会议室开会。\n\n王小明\n",
        ),
        (
            9,
            "Travel desk <travel@acme.example>",
            "Your ticket to Hamburg",
            "Train 73, coach 12, seat 61. Have a good trip.\n",
        ),
        (
            5,
            "Build server <build@acme.example>",
            "Build 4711 passed",
            "All 1,204 checks passed in 3 min 12 s.\n",
        ),
    ]
    for days, sender, subject, text in chatter:
        message = compose(sender, alice, subject, text, date=at(days))
        yield DemoMail(message.as_bytes(), at(days), seen=True, flagged=days == 9)

    newsletter = compose(
        "Daily Harbour <news@daily-harbour.example>",
        alice,
        "The harbour this week",
        "Cranes, tides and a new ferry. Read on at https://daily-harbour.example/week\n",
        date=at(3),
        html="""<html><head><style>.lead{color:#14507a;font-size:20px}</style></head><body>
<img src="https://tracker.daily-harbour.example/open.gif?to=alice" width="1" height="1">
<h1 class="lead">The harbour this week</h1>
<p>Cranes, tides and a <b>new ferry</b>.</p>
<img src="https://cdn.daily-harbour.example/ferry.jpg" alt="The new ferry" width="480">
<p><a href="https://daily-harbour.example/week">Read on</a></p></body></html>""",
    )
    newsletter["List-Unsubscribe"] = "<https://daily-harbour.example/unsubscribe?u=1>"
    yield DemoMail(newsletter.as_bytes(), at(3))

    photo = compose(
        "Igor <igor@letters.example>",
        alice,
        "The one with the harbour",
        "Here it is.\n",
        date=at(2.5),
        html='<p>Here it is:</p><p><img src="cid:harbour@letters" alt="Harbour"></p>',
    )
    photo.add_attachment(
        tiny_png(42, 120, 142),
        maintype="image",
        subtype="png",
        filename="harbour.png",
        cid="<harbour@letters>",
        disposition="inline",
    )
    photo.add_attachment(
        b"Left to right: Ana, Ben, Chi.\n",
        maintype="text",
        subtype="plain",
        filename="who is who.txt",
    )
    yield DemoMail(photo.as_bytes(), at(2.5))

    phishing = compose(
        f'"Harbour Bank <carol.jones@{BANK}>" <security@harb0ur-bank.example>',
        alice,
        "Urgent: confirm your account",
        "Your account will be closed today. Confirm here: http://harb0ur-bank.example/login\n",
        date=at(0.6),
        html=f"""<div style="border:1px solid #2a6;background:#e8fff0;padding:8px">
&#10003; Signed by Carol Jones &middot; carol.jones@{BANK} &middot; Harbour Bank plc</div>
<p>Your account will be <b>closed today</b>.
<a href="http://harb0ur-bank.example/login">https://{BANK}/secure</a></p>""",
    )
    yield DemoMail(phishing.as_bytes(), at(0.6))


def _proven(cast: Cast, alice: str, now: datetime) -> Iterator[DemoMail]:
    def signed(
        who: Correspondent, subject: str, text: str, days: float, opaque: bool = False
    ) -> DemoMail:
        date = now - timedelta(days=days)
        message = compose(who.mailbox(), alice, subject, text, date=date)
        return DemoMail(smime(message, signer=who, opaque=opaque, at=date), date)

    yield signed(
        cast.vera,
        "Hello from a private mailbox",
        "My certificate proves my address and nothing more.\n\nVera\n",
        8,
    )
    yield signed(
        cast.victor, "A letter from a person", "My certificate proves who I am.\n\nVictor Hugo\n", 7
    )
    date = now - timedelta(days=6)
    invoice = compose(
        cast.office.mailbox(),
        alice,
        "Invoice 2026-118",
        "Please find the invoice attached.\n\nHarbour Bank, accounts office\n",
        date=date,
    )
    invoice.add_attachment(
        tiny_pdf("Invoice 2026-118, EUR 1,180.00"),
        maintype="application",
        subtype="pdf",
        filename="invoice-2026-118.pdf",
    )
    yield DemoMail(smime(invoice, signer=cast.office, at=date), date)
    yield signed(
        cast.carol,
        "Minutes of our meeting",
        "Dear Alice,\n\nthe minutes are agreed. Thank you.\n\nCarol\n",
        4,
    )
    yield signed(
        cast.carol,
        "One more thing (signed in one piece)",
        "Some programs sign so that only S/MIME readers can open it.\n\nCarol\n",
        3.5,
        opaque=True,
    )


def _unproven(cast: Cast, alice: str, now: datetime) -> Iterator[DemoMail]:
    def at(days: float) -> datetime:
        return now - timedelta(days=days)

    unsigned = compose(
        cast.carol.mailbox(),
        alice,
        "New bank details",
        "Dear Alice,\n\nplease pay to our new account from now on.\n\nCarol\n",
        date=at(1.2),
    )
    yield DemoMail(unsigned.as_bytes(), at(1.2))

    for who, subject, text, days in [
        (
            cast.stranger,
            "Greetings from an unknown authority",
            "Nobody you trust vouches for my certificate.\n",
            2.2,
        ),
        (
            cast.lapsed,
            "My certificate has expired",
            "It ran out at the end of 2024, and I did not notice.\n",
            2.1,
        ),
        (cast.revoked, "My laptop was stolen", "My certificate was revoked after that.\n", 2.0),
    ]:
        message = compose(who.mailbox(), alice, subject, text, date=at(days))
        yield DemoMail(smime(message, signer=who, at=at(days)), at(days))

    mismatch = compose(
        cast.carol.mailbox(),
        alice,
        "Signed by somebody else",
        "The From says Carol, the certificate says Mallory.\n",
        date=at(1.9),
    )
    yield DemoMail(smime(mismatch, signer=cast.mallory, at=at(1.9)), at(1.9))

    tampered = compose(
        cast.carol.mailbox(),
        alice,
        "Please pay 100 EUR",
        "Dear Alice,\n\nplease pay 100 EUR.\n\nCarol\n",
        date=at(1.8),
    )
    raw = smime(tampered, signer=cast.carol, at=at(1.8))
    yield DemoMail(raw.replace(b"pay 100 EUR.", b"pay 900 EUR."), at(1.8))

    yield DemoMail(_mailing_list(cast, alice, at(1.7)), at(1.7))
    damaged = compose(
        "Old scanner <scan@acme.example>", alice, "Scan 0001", "see attachment\n", date=at(1.6)
    )
    broken = damaged.as_bytes().replace(
        b'Content-Type: text/plain; charset="utf-8"',
        b"Content-Type: multipart/mixed; boundary=never-closed",
    )
    yield DemoMail(broken, at(1.6))


def _mailing_list(cast: Cast, alice: str, date: datetime) -> bytes:
    """A list server put a signed message beside its own, unsigned footer."""
    inner = EmailMessage(policy=policy.SMTP)
    inner.set_content("I signed this, and the list added its footer.\n\nVictor\n")
    signed = sign_entity(inner.as_bytes(), cast.victor, at=date)
    boundary = b"list-boundary"
    outer = (
        f"From: {cast.victor.mailbox()}\r\nTo: friends@lists.example\r\n"
        f"Subject: [friends] Signed, with a footer\r\nDate: {format_datetime(date)}\r\n"
        f"Message-ID: <list.{int(date.timestamp())}@lists.example>\r\n"
        "List-Id: <friends.lists.example>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=list-boundary\r\n\r\n"
    ).encode()
    footer = (
        b"Content-Type: text/plain\r\n\r\n--\r\nfriends mailing list, not signed by anybody\r\n"
    )
    return b"".join(
        [
            outer,
            b"--",
            boundary,
            b"\r\n",
            signed,
            b"\r\n--",
            boundary,
            b"\r\n",
            footer,
            b"\r\n--",
            boundary,
            b"--\r\n",
        ]
    )


def _encrypted(cast: Cast, alice: str, certificate: Path, now: datetime) -> Iterator[DemoMail]:
    def at(hours: float) -> datetime:
        return now - timedelta(hours=hours)

    only = compose(
        "Unknown <tip@anonymous.example>",
        alice,
        "Encrypted, but by whom?",
        "Anybody can encrypt to you. It proves nothing about the writer.\n",
        date=at(20),
    )
    yield DemoMail(smime(only, recipients=[certificate]), at(20))

    authenticated = compose(
        cast.victor.mailbox(),
        alice,
        "Sealed the modern way",
        "Signed, then encrypted with AES-256-GCM.\n\nVictor\n",
        date=at(9),
    )
    yield DemoMail(
        smime(
            authenticated,
            signer=cast.victor,
            recipients=[certificate],
            cipher="aes-256-gcm",
            at=at(9),
        ),
        at(9),
    )

    wrapped = compose(
        cast.carol.mailbox(),
        alice,
        "Signed, encrypted, and signed again",
        "Three layers, one author.\n\nCarol\n",
        date=at(6),
    )
    yield DemoMail(_triple(wrapped, cast.carol, certificate, at(6)), at(6))

    lost = compose(
        cast.carol.mailbox(),
        alice,
        "Encrypted to somebody else",
        "You cannot read this.\n",
        date=at(5),
    )
    yield DemoMail(
        smime(lost, signer=cast.carol, recipients=[cast.carol.certificate], at=at(5)), at(5)
    )

    contract = compose(
        cast.carol.mailbox(),
        alice,
        "The contract for pier 4",
        "Dear Alice,\n\nthe contract is attached. Could you confirm the date, please?\n\n"
        "Kind regards\nCarol Jones\nHarbour Bank plc\n",
        date=at(0.4),
        html="<p>Dear Alice,</p><p>the <b>contract</b> is attached. Could you confirm the date, "
        "please?</p><p>Kind regards<br>Carol Jones<br>Harbour Bank plc</p>",
    )
    contract.add_attachment(
        tiny_pdf("Contract for pier 4"),
        maintype="application",
        subtype="pdf",
        filename="contract pier 4.pdf",
    )
    sealed = smime(
        contract, signer=cast.carol, recipients=[certificate], at=at(0.4), subject_hidden=True
    )
    yield DemoMail(sealed, at(0.4))


def _triple(message: EmailMessage, who: Correspondent, certificate: Path, at: datetime) -> bytes:
    """sign(encrypt(sign(m))), RFC 2634 section 1.1."""
    outer, entity = split_message(message)
    sealed = encrypt_entity(sign_entity(entity, who, at=at), [certificate])
    return outer + sign_entity(sealed, who, at=at)
