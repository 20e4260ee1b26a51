"""Pages with made-up content: one entry per page and state, for looking at and for tests.

Identity, time and protection come from the real functions that put verdicts into words.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final

from django.utils.safestring import mark_safe

from webmail.accounts.forms import SettingsForm
from webmail.accounts.models import User
from webmail.mailbox.models import Kind, Message
from webmail.mailbox.search import OPERATORS
from webmail.reading import badges
from webmail.reading.list_rows import Row
from webmail.reading.open_message import Attachment, Body, Mailbox, OpenedMessage

NOW: Final = datetime.now(UTC).replace(hour=9, minute=48, second=0, microsecond=0)
DAY: Final = timedelta(days=1)
LONG: Final = "Rechtsschutzversicherungsgesellschaften-und-Nahrungsmittelunverträglichkeiten"

FOLDERS: Final = [
    {"id": 1, "name": "Inbox", "role": "inbox", "unread": 3, "total": 128},
    {"id": 2, "name": "Drafts", "role": "drafts", "unread": 0, "total": 2},
    {"id": 3, "name": "Sent", "role": "sent", "unread": 0, "total": 77},
    {"id": 4, "name": "Archive", "role": "archive", "unread": 0, "total": 4102},
    {"id": 5, "name": "Spam", "role": "junk", "unread": 12, "total": 12},
    {"id": 6, "name": "Trash", "role": "trash", "unread": 0, "total": 9},
    {"id": 7, "name": "Projects", "role": "", "unread": 0, "total": 31},
    {"id": 8, "name": "Lighthouse 2027", "role": "", "unread": 2, "total": 31, "depth": 1},
]


def base(*, locked: bool = False, active: int | None = 1) -> dict[str, Any]:
    """What the context processors give."""
    return {
        "user": User(username="alice@acme.example", display_name="Alice Adams", is_staff=True),
        "site": {"organisation": "Acme"},
        "lock_state": {"state": "locked"}
        if locked
        else {
            "state": "unlocked",
            "idle_left_s": 840,
            "absolute_left_s": 30_000,
            "locks_in_s": 840,
        },
        "folders": [
            {"url": f"/mail/{each['id']}/", "active": each["id"] == active, "depth": 0, **each}
            for each in FOLDERS
        ],
        "outbox_waiting": 1,
        "pending_undo": None,
    }


# --------------------------------------------------------------------------- the list


def row(number: int, sender: str, subject: str, snippet: str, **facts: Any) -> Row:
    plain: dict[str, Any] = {
        "id": number,
        "uid": number,
        "url": f"/mail/1/{number}/",
        "unread": False,
        "flagged": False,
        "answered": False,
        "selected": False,
        "sender": sender,
        "sender_proven": False,
        "address": "someone@example.org",
        "level_chip": "",
        "subject": subject,
        "sealed": False,
        "snippet": snippet,
        "when": NOW - number * timedelta(hours=7),
        "has_attachments": False,
        "encrypted": False,
        "timestamped": False,
        "thread_count": 1,
        "mark": {"state": "unsigned", "words": ""},
    }
    return Row(**{**plain, **facts})


def rows() -> list[Row]:
    verified = {"state": "verified", "words": "Signed by Ana Ruiz, checked"}
    return [
        row(
            1,
            "Ana Ruiz",
            "Contract for the lighthouse, final version",
            "Dear Alice, attached is the version both sides agreed on yesterday. Please sign",
            unread=True,
            sender_proven=True,
            level_chip="Organisation + person",
            has_attachments=True,
            encrypted=True,
            timestamped=True,
            mark=verified,
        ),
        row(
            2,
            "bob@acme.example",
            "Lunch on Thursday?",
            "The new place opened. 12:30?",
            unread=True,
            level_chip="Address",
            thread_count=4,
            mark={"state": "first", "words": "Signed by bob@acme.example, first message"},
        ),
        row(
            3,
            "Northern Bank",
            "Your account statement for November",
            "Please confirm the transfer below within 24 hours using the link",
            unread=True,
            mark={"state": "expected", "words": "Not signed, this sender normally signs"},
        ),
        row(
            4,
            "Carol Chen",
            "Draft minutes",
            "I changed two lines after signing",
            flagged=True,
            mark={"state": "failed", "words": "Signature does not match"},
        ),
        row(
            5,
            "Dana Diaz",
            "",
            "",
            sealed=True,
            encrypted=True,
            mark={"state": "locked", "words": "Encrypted, unlock to see who signed it"},
        ),
        row(6, "Weekly Newsletter", "17 things about harbours", "Number four will surprise you"),
        row(
            7,
            "陈卡萝",
            "关于灯塔项目的会议纪要",
            "您好，附件是昨天会议的纪要，请查收。",
            has_attachments=True,
        ),
        row(
            8,
            "مكتب الترجمة",
            "ترجمة العقد جاهزة",
            "السلام عليكم، تجدون الترجمة في المرفقات",
        ),
        row(9, f"{LONG} GmbH", f"Re: {LONG} {LONG}", LONG * 3, answered=True),
        row(10, "Erin", "", "No subject here", mark={"state": "pending", "words": "Checking"}),
        *(
            row(n, "Build server", f"Nightly build {n}", "All 4,211 checks ran")
            for n in range(11, 31)
        ),
    ]


def list_page(**changes: Any) -> dict[str, Any]:
    context: dict[str, Any] = {
        **base(),
        "folder": {
            "id": 1,
            "name": "Inbox",
            "role": "inbox",
            "unread": 3,
            "total": 128,
            "url": "/mail/1/",
            "synced_at": NOW,
            "problem": "",
            "loading": False,
        },
        "rows": rows(),
        "page": {
            "number": 1,
            "first": 1,
            "last": 30,
            "total": 128,
            "total_is_exact": True,
            "previous_url": "",
            "next_url": "/mail/1/?page=2",
        },
        "query": "",
        "search_note": "",
        "operators": list(OPERATORS),
        "list_url": "/mail/1/",
        "poll_url": "/mail/poll/?folder=1&seen=1",
        "opened": None,
        "error": None,
    }
    return {**context, **changes}


# --------------------------------------------------------------------------- the message

SIGNER: Final[dict[str, Any]] = {
    "name": "Ana Ruiz",
    "organisation": "Lighthouse Trust plc",
    "country": "GB",
    "addresses": ["ana.ruiz@lighthouse.example"],
    "level": "V4",
    "issuer": "D-Trust Organisation CA 2",
    "fingerprint": "ab" * 32,
}


def fact(result: str, code: str = "") -> dict[str, Any]:
    return {"result": result, "code": code, "params": {}}


def verdict(state: str, **changes: Any) -> dict[str, Any]:
    now_ms = int(NOW.timestamp() * 1000)
    passed = {key: fact("passed") for key in ("digest", "signature", "chain", "address", "root")}
    plain: dict[str, Any] = {
        "state": state,
        "facts": passed if state != "unsigned" else {},
        "signer": SIGNER if state != "unsigned" else None,
        "time": {"proven": now_ms, "tsa": "Acme Timestamp", "received": now_ms + 1000}
        if state == "verified"
        else {"proven": None, "received": now_ms, "claimed": now_ms},
        "encryption": {"encrypted": False},
        "revocation": "good",
        "layers": [],
    }
    return {**plain, **changes}


TEXT: Final = (
    "Dear Alice,<br><br>attached is the version both sides agreed on yesterday. The two changes "
    "are on page 4 and in annex B.<br><br>Please sign it by <b>Friday</b>."
    "<br><br>Best regards<br>"
    "Ana<blockquote>On Monday Alice Adams wrote:<br>Could you send the final version?</blockquote>"
)


def body(html: bool) -> Body:
    class Plain(Body):
        @property
        def html(self) -> str:
            return "" if self.is_html else mark_safe(TEXT)

    return Plain(
        id="1",
        type="text/html" if html else "text/plain",
        text="",
        url="/sample-body/",
        protection="signed-and-encrypted",
        root=True,
        remote_allowed=True,
        outside=False,
    )


def opened(
    state: str = "verified",
    *,
    known: bool = True,
    normally: bool = False,
    html: bool = False,
    encrypted: bool = True,
    **changes: Any,
) -> OpenedMessage:
    facts = verdict(state)
    if encrypted:
        facts["encryption"] = {"encrypted": True, "authenticated": True}
    if state == "failed":
        facts["facts"]["digest"] = fact("failed")
        facts["facts"]["chain"] = fact("unknown")
    if state == "unverified":
        facts["facts"]["chain"] = fact("unknown")
    sender = "ana.ruiz@lighthouse.example"
    past = badges.History(signed=14 if known or normally else 0, last_signer=SIGNER["fingerprint"])
    one = OpenedMessage(
        message=Message(
            folder_id=1, uid=1, kind=Kind.ENCRYPTED if encrypted else Kind.PLAIN, internal_date=NOW
        ),
        locked=False,
        subject="Contract for the lighthouse, final version",
        senders=[Mailbox("Ana Ruiz", sender)],
        to=[Mailbox("Alice Adams", "alice@acme.example"), Mailbox("", "bob@acme.example")],
        cc=[Mailbox("Carol Chen", "carol@elsewhere.example")],
        bcc=[],
        reply_to=[],
        date=NOW,
        received=NOW,
        identity=badges.identity(facts, sender=sender, history=past),
        time=badges.time_line(facts),
        protection=badges.protection(facts),
        facts=badges.facts(facts) if state != "unsigned" else [],
        notices=[],
        encryption=facts["encryption"],
        signer=facts["signer"],
        bodies=[body(html)],
        alternatives=[],
        attachments=[
            Attachment(
                id="2",
                name="Contract final.pdf",
                type="application/pdf",
                size=412_000,
                inline=False,
                protection="signed-and-encrypted",
                url="/mail/1/1/attachment/2/",
            )
        ],
        outer_subject="[...]" if encrypted else "",
        layers=[],
        header_protection={},
        unsubscribe="",
        result={},
    )
    return replace(one, **changes)


def message_page(one: OpenedMessage | None = None, **changes: Any) -> dict[str, Any]:
    here = "/mail/1/1/"
    listed = rows()
    listed[0] = replace(listed[0], selected=True, unread=False)
    context = {
        **list_page(rows=listed),
        "opened": one or opened(),
        "row": listed[0],
        "urls": {
            "self": here,
            "identity": f"{here}identity/",
            "source": f"{here}message.eml",
            "print": f"{here}print/",
            "reply": "/compose/?reply=1/1&mode=reply",
            "reply_all": "/compose/?reply=1/1&mode=reply_all",
            "forward": "/compose/?reply=1/1&mode=forward",
            "forward_attachment": "/compose/?reply=1/1&mode=forward_attachment",
            "remote": f"{here}?remote=1",
        },
        "newer_url": "",
        "older_url": "/mail/1/2/",
        "thread": [],
        "remote": {"blocked": 0, "shown": False, "allowed": True},
        "certificate": {
            **SIGNER,
            "level_words": "Organisation and person checked",
            "serial": "4f00a1",
            "key": "RSA 3072",
            "not_before": NOW - 100 * DAY,
            "not_after": NOW + 300 * DAY,
            "chain": ["D-Trust Organisation CA 2", "D-Trust Root CA"],
            "revocation": "good",
            "revocation_words": "No, checked today at 09:12",
            "pem_url": f"{here}certificate.pem",
        },
        "encryption_words": ["AES-256-GCM, RSA-OAEP"],
        "back_to": here,
    }
    return {**context, **changes}


def locked_message() -> dict[str, Any]:
    one = opened(
        locked=True,
        subject="",
        identity=badges.identity(
            verdict("unsigned"), sender="", history=badges.History(), locked=True
        ),
        bodies=[],
        attachments=[],
        facts=[],
        protection=[],
    )
    return {**message_page(one, certificate=None), **{"lock_state": {"state": "locked"}}}


# --------------------------------------------------------------------------- compose


def compose(**changes: Any) -> dict[str, Any]:
    people = [
        {
            "address": "ana.ruiz@lighthouse.example",
            "kind": "to",
            "name": "Ana Ruiz",
            "state": "certificate",
            "level_words": "organisation + person",
            "sentence": "Encrypted: certificate from a signed mail of 3 November",
            "pending": "",
        },
        {
            "address": "bob@acme.example",
            "kind": "to",
            "name": "",
            "state": "certificate",
            "level_words": "address",
            "sentence": "Encrypted: certificate of your organisation",
            "pending": "",
        },
    ]
    context: dict[str, Any] = {
        **base(active=None),
        "draft": {
            "id": uuid.UUID(int=7),
            "version": 3,
            "to": "Ana Ruiz <ana.ruiz@lighthouse.example>, bob@acme.example",
            "cc": "",
            "bcc": "",
            "subject": "Re: Contract for the lighthouse, final version",
            "text": "Dear Ana,\n\nsigned, thank you.\n\nAlice\n\n> Please sign it by Friday.",
            "html": "<div>Dear Ana,</div><div><br></div><div>signed, <b>thank you</b>.</div>"
            "<div><br></div><div>Alice</div><blockquote>Please sign it by Friday.</blockquote>",
            "from": "alice@acme.example",
            "saved_at": NOW,
            "attachments": [
                {
                    "id": uuid.UUID(int=8),
                    "name": "Contract signed.pdf",
                    "size": 430_000,
                    "type": "application/pdf",
                    "detach_url": "/compose/detach/",
                }
            ],
        },
        "froms": [
            {"address": "alice@acme.example", "name": "Alice Adams", "selected": True},
            {"address": "office@acme.example", "name": "Acme Office", "selected": False},
        ],
        "send_id": uuid.UUID(int=9),
        "origin": "",
        "mode": "reply",
        "heading": "Reply",
        "protection": "encrypt",
        "recipients": {
            "people": people,
            "promise": "x",
            "outcome": {
                "tone": "calm",
                "sentence": "Will be signed, timestamped and encrypted to both.",
                "detail": "",
                "encrypts": True,
                "hides_subject": True,
                "blocked": [],
            },
        },
        "quote": None,
        "replying_to": {
            "subject": "Contract for the lighthouse, final version",
            "sender": "Ana Ruiz",
            "url": "/mail/1/1/",
        },
        "notice": "",
        "undo_seconds": 10,
        "limits": {"bytes": 26_214_400, "words": "25 MB"},
        "error": None,
        "ask": None,
        "urls": {
            "save": "/compose/save/",
            "attach": "/compose/attach/",
            "recipients": "/compose/recipients/",
            "suggest": "/compose/suggest/",
            "send": "/compose/send/",
            "discard": "/compose/discard/",
            "draft": "/compose/7/",
        },
    }
    return {**context, **changes}


def compose_clear() -> dict[str, Any]:
    context = compose(
        notice="The original was encrypted to you: its text only leaves encrypted.",
        notice_tone="neutral",
        ask={
            "code": "clear",
            "sentence": "Not encrypted: no certificate for dana@far.example.",
            "verb": "Send without encryption",
            "name": "confirm",
            "value": "clear",
        },
    )
    context["draft"]["to"] += ", dana@far.example, eve@old.example"
    context["draft"]["cc"] = "carol@elsewhere.example"
    context["recipients"]["people"] += [
        {
            "address": "dana@far.example",
            "kind": "to",
            "name": "",
            "state": "none",
            "level_words": "",
            "sentence": "No certificate: a signed mail from this address will bring one.",
            "pending": "",
        },
        {
            "address": "eve@old.example",
            "kind": "to",
            "name": "",
            "state": "problem",
            "level_words": "",
            "sentence": "The certificate expired on 3 March 2026.",
            "pending": "cd" * 32,
        },
    ]
    context["recipients"]["outcome"] = {
        "tone": "amber",
        "sentence": "Cannot be encrypted: no certificate for dana@far.example and eve@old.example.",
        "detail": "The certificate of eve@old.example expired on 3 March 2026.",
        "encrypts": False,
        "hides_subject": False,
        "blocked": ["dana@far.example", "eve@old.example"],
    }
    return context


def outbox() -> dict[str, Any]:
    def step(words: str, state: str) -> dict[str, str]:
        return {"words": words, "state": state}

    def item(number: int, subject: str, state: str, **changes: Any) -> dict[str, Any]:
        plain = {
            "id": uuid.UUID(int=number),
            "subject": subject,
            "to_words": "ana.ruiz@lighthouse.example",
            "state": state,
            "state_words": state,
            "tone": "neutral",
            "at": NOW,
            "steps": [],
            "reason": "",
            "hint": "",
            "encrypted": True,
            "timestamped": True,
            "recipients": [],
            "actions": [],
            "act_url": "/compose/outbox/1/",
            "undo_url": "",
            "seconds_left": 0,
        }
        return {**plain, **changes}

    going = [step("Signed", "done"), step("Timestamped", "now"), step("Sent", "todo")]
    return {
        **base(active=None),
        "items": [
            item(1, "Lunch", "queued", state_words="Sends in 9 s", undo_url="/compose/undo/1/"),
            item(2, "Contract", "prepared", state_words="Signing and sealing", steps=going),
            item(
                3,
                "Invoice 17",
                "unknown",
                state_words="Not known whether it was sent",
                tone="amber",
                reason="The connection broke after the last word.",
                hint="Look in Sent of another program, or ask the recipient.",
                actions=[
                    {"action": "arrived", "words": "It arrived", "primary": False},
                    {"action": "resend", "words": "Send it again", "primary": True},
                ],
            ),
            item(
                4,
                "",
                "rejected",
                state_words="Refused by the mail server",
                tone="red",
                reason="The mail server does not know the recipient.",
                hint="Check the address.",
                steps=[step("Signed", "done"), step("Sent", "failed")],
                recipients=[
                    {"address": "nobody@far.example", "state": "refused", "reply": "550 5.1.1"}
                ],
                actions=[{"action": "retry", "words": "Try again", "primary": True}],
            ),
        ],
        "moving": False,
        "list_url": "/compose/outbox/",
    }


# --------------------------------------------------------------------------- accounts


def settings_page() -> dict[str, Any]:
    user = User(username="alice@acme.example", display_name="Alice Adams")
    return {
        **base(active=None),
        "form": SettingsForm(instance=user),
        "addresses": [{"address": "alice@acme.example", "primary": True}],
        "mail_account": SimpleNamespace(
            imap_host="imap.acme.example",
            imap_port=993,
            get_imap_tls_display="TLS from the start",
            smtp_host="smtp.acme.example",
            smtp_port=465,
            get_smtp_tls_display="TLS from the start",
            login="password",
        ),
    }


def sessions() -> dict[str, Any]:
    return {
        **base(active=None),
        "sessions": [
            {
                "id": uuid.UUID(int=n),
                "label": label,
                "network_address": "192.0.2.7",
                "created_at": NOW - DAY,
                "seen_at": NOW,
                "unlocked": n == 1,
                "current": n == 1,
            }
            for n, label in ((1, "Firefox on Linux"), (2, "Safari on iPhone"))
        ],
    }


def key_activity() -> dict[str, Any]:
    uses = [
        {
            "at": NOW - n * timedelta(minutes=9),
            "operation": "decrypt",
            "words": "Opened a message",
            "key": "ab12" * 16,
            "session": "77" * 16,
            "outcome": "ok",
            "outcome_words": "done",
            "mine": n < 3,
        }
        for n in range(8)
    ]
    return {
        **base(active=None),
        "page": {"rows": uses, "number": 1, "has_previous": False, "has_next": True},
        "chain": {"whole": True, "rows": 8, "sentence": "The record is complete: 8 entries."},
    }


def anonymous(**changes: Any) -> dict[str, Any]:
    return {"site": {"organisation": "Acme"}, "lock_state": None, **changes}


CHECKS: Final = [
    {"words": "Your certificates are ready", "ok": True, "detail": ""},
    {"words": "Mail server found", "ok": True, "detail": "imap.acme.example"},
    {"words": "The mailbox needs its password", "ok": None, "detail": ""},
]
CODE: Final = "K7QF-9MZA-22PX-TTDL-0H8V-WENC-5RYK-3BGS"
REFUSED: Final = {"sentence": "Address or password is wrong.", "hint": "Try again."}


def failure(status: int, sentence: str, hint: str) -> dict[str, Any]:
    return anonymous(status=status, sentence=sentence, hint=hint, error_id="7f3a91c2")


Sample = tuple[str, Callable[[], dict[str, Any]]]

PAGES: Final[dict[str, Sample]] = {
    "list": ("reading/folder.html", list_page),
    "list-undo": (
        "reading/folder.html",
        lambda: list_page(
            pending_undo={
                "id": uuid.UUID(int=3),
                "seconds_left": 9,
                "undo_url": "/compose/undo/3/",
                "encrypted": True,
            }
        ),
    ),
    "list-locked": ("reading/folder.html", lambda: list_page(**base(locked=True))),
    "list-empty": ("reading/folder.html", lambda: list_page(rows=[])),
    "list-search": (
        "reading/folder.html",
        lambda: list_page(query="from:ana", search_note="Only senders and subjects are searched."),
    ),
    "list-trouble": (
        "reading/folder.html",
        lambda: list_page(
            folder={
                **list_page()["folder"],
                "problem": "The mail server does not answer. What is known is shown.",
                "loading": True,
            }
        ),
    ),
    "message": ("reading/message.html", message_page),
    "message-html": (
        "reading/message.html",
        lambda: message_page(
            opened(html=True), remote={"blocked": 3, "shown": False, "allowed": True}
        ),
    ),
    "message-first": ("reading/message.html", lambda: message_page(opened(known=False))),
    "message-unverified": (
        "reading/message.html",
        lambda: message_page(opened("unverified", known=False)),
    ),
    "message-unsigned": (
        "reading/message.html",
        lambda: message_page(opened("unsigned", known=False, encrypted=False), certificate=None),
    ),
    "message-expected": (
        "reading/message.html",
        lambda: message_page(opened("unsigned", normally=True, encrypted=False), certificate=None),
    ),
    "message-failed": ("reading/message.html", lambda: message_page(opened("failed"))),
    "message-notice": (
        "reading/message.html",
        lambda: message_page(
            opened(
                notices=[badges.notice("decrypt.unauthenticated"), badges.notice("message.damaged")]
            ),
            thread=rows()[:3],
        ),
    ),
    "message-locked": ("reading/message.html", locked_message),
    "message-error": (
        "reading/message.html",
        lambda: message_page(
            error={"sentence": "The mail server does not answer.", "hint": "Try again soon."}
        ),
    ),
    "compose": ("compose/edit.html", compose),
    "compose-new": (
        "compose/edit.html",
        lambda: compose(
            draft={"id": None, "version": 0, "html": "", "text": "", "attachments": []},
            heading="New mail",
            mode="",
            replying_to=None,
            recipients={"people": [], "promise": "", "outcome": {"tone": "neutral"}},
        ),
    ),
    "compose-clear": ("compose/edit.html", compose_clear),
    "outbox": ("compose/outbox.html", outbox),
    "outbox-empty": ("compose/outbox.html", lambda: {**outbox(), "items": []}),
    "sign-in": ("accounts/sign_in.html", lambda: anonymous(address="", next="", error=None)),
    "sign-in-refused": (
        "accounts/sign_in.html",
        lambda: anonymous(address="alice@acme.example", next="/", error=REFUSED),
    ),
    "locked": (
        "accounts/locked.html",
        lambda: {**base(locked=True), "back_to": "/mail/1/1/", "error": None},
    ),
    "password": (
        "accounts/password.html",
        lambda: {**base(active=None), "way": "password", "error": None},
    ),
    "password-changed": (
        "accounts/password_changed.html",
        lambda: anonymous(recovery_code=CODE),
    ),
    "recover": ("accounts/recover.html", lambda: anonymous(address="", error=None)),
    "settings": ("accounts/settings.html", settings_page),
    "sessions": ("accounts/sessions.html", sessions),
    "key-activity": ("accounts/key_activity.html", key_activity),
    "welcome": (
        "onboarding/welcome.html",
        lambda: anonymous(
            person="Dana Diaz",
            addresses=["dana@acme.example", "support@acme.example"],
            invited_by="Grace",
            least=12,
            error=None,
        ),
    ),
    "recovery": (
        "onboarding/recovery.html",
        lambda: anonymous(
            recovery_code=CODE, address="dana@acme.example", continue_url="/welcome/ready/"
        ),
    ),
    "ready": (
        "onboarding/ready.html",
        lambda: anonymous(
            checks=CHECKS[:2],
            certificates=[
                {"purpose": "sign", "level_words": "address checked", "not_after": NOW + 365 * DAY}
            ],
            inbox_url="/",
            mail_form=None,
            address="dana@acme.example",
        ),
    ),
    "ready-password": (
        "onboarding/ready.html",
        lambda: anonymous(
            checks=CHECKS,
            certificates=[],
            inbox_url="/",
            mail_form={"needs_password": True, "imap_host": "imap.acme.example", "error": REFUSED},
        ),
    ),
    "gone": (
        "onboarding/gone.html",
        lambda: anonymous(sentence="This invitation has expired.", hint="Ask for a new one."),
    ),
    "400": ("400.html", lambda: failure(400, "The server did not understand.", "Reload.")),
    "403": ("403.html", lambda: failure(403, "You may not open this.", "Ask.")),
    "404": ("404.html", lambda: failure(404, "There is nothing at this address.", "Look there.")),
    "500": ("500.html", lambda: failure(500, "Something went wrong here.", "Try again.")),
}
"""Name → template and its context."""
