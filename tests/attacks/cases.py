"""Every address of the site, and what belongs to Alice behind it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from tests.reading.conftest import Person, letter, plain
from webmail.compose.models import Draft, DraftAttachment, Outgoing, State
from webmail.reading import proxy

PUBLIC: Final = "public"
"""For everybody."""
PERSONAL: Final = "personal"
"""For whoever is signed in: about themselves."""
OWNED: Final = "owned"
"""Names an object: for its owner alone."""


@dataclass(frozen=True)
class Case:
    """``method`` is what the address is for; ``form`` goes with a POST."""

    who: str
    method: str = "GET"
    needs: tuple[str, ...] = ()
    form: dict[str, str] = field(default_factory=dict)


MAIL: Final = ("folder_id", "uid")
CASES: Final = {
    "healthz": Case(PUBLIC),
    "accounts:sign_in": Case(PUBLIC),
    "accounts:recover": Case(PUBLIC),
    "accounts:sign_out": Case(PUBLIC, "POST"),
    "accounts:lock": Case(PERSONAL, "POST"),
    "accounts:lock_all": Case(PERSONAL, "POST"),
    "accounts:unlock": Case(PERSONAL),
    "accounts:settings": Case(PERSONAL),
    "accounts:password": Case(PERSONAL),
    "accounts:sessions": Case(PERSONAL),
    "accounts:revoke_session": Case(OWNED, "POST", ("session_id",)),
    "accounts:key_activity": Case(PERSONAL),
    "onboarding:ready": Case(PERSONAL),
    "onboarding:invitation": Case(PUBLIC, needs=("token",)),
    "authority:certificate": Case(PUBLIC, needs=("name",)),
    "authority:revocation_list": Case(PUBLIC, needs=("name",)),
    "compose:new": Case(PERSONAL),
    "compose:save": Case(PERSONAL, "POST"),
    "compose:attach_new": Case(PERSONAL, "POST"),
    "compose:send": Case(PERSONAL, "POST"),
    "compose:recipients": Case(PERSONAL),
    "compose:suggest": Case(PERSONAL),
    "compose:pin": Case(PERSONAL, "POST"),
    "compose:outbox": Case(PERSONAL),
    "compose:outbox_act": Case(OWNED, "POST", ("outgoing",), {"action": "cancel"}),
    "compose:undo": Case(OWNED, "POST", ("outgoing",)),
    "compose:resume": Case(OWNED, needs=("drafts", "draft_uid")),
    "compose:draft": Case(OWNED, needs=("draft",)),
    "compose:attach": Case(OWNED, "POST", ("draft",)),
    "compose:detach": Case(OWNED, "POST", ("draft", "attachment")),
    "compose:discard": Case(OWNED, "POST", ("draft",)),
    "reading:home": Case(PERSONAL),
    "reading:act": Case(PERSONAL, "POST"),
    "reading:poll": Case(PERSONAL),
    "reading:remote": Case(PUBLIC),
    "reading:folder": Case(OWNED, needs=("folder_id",)),
    "reading:message": Case(OWNED, needs=MAIL),
    "reading:body": Case(OWNED, needs=(*MAIL, "html")),
    "reading:attachment": Case(OWNED, needs=(*MAIL, "file")),
    "reading:source": Case(OWNED, needs=MAIL),
    "reading:identity": Case(OWNED, needs=MAIL),
    "reading:certificate": Case(OWNED, needs=MAIL),
    "reading:print": Case(OWNED, needs=MAIL),
}
"""Named pattern → whose it is. An address that is not here fails a test."""


def names() -> Iterator[str]:
    """The name of every pattern outside the admin; a pattern without one as its regex."""
    yield from _names(get_resolver().url_patterns, "")


def _names(patterns: list[Any], namespace: str) -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            yield namespace + (pattern.name or str(pattern.pattern))
        elif isinstance(pattern, URLResolver) and pattern.namespace != "admin":
            inside = f"{pattern.namespace}:" if pattern.namespace else ""
            yield from _names(pattern.url_patterns, namespace + inside)


def belongings(alice: Person) -> dict[str, Any]:
    """One of everything that Alice can own, and the ids of it."""
    mail = letter(alice.address, html="<p>Hello Alice</p>")
    mail.add_attachment(b"the plans", maintype="application", subtype="pdf", filename="plans.pdf")
    row = alice.receive(plain(mail))
    draft = Draft.objects.create(user=alice.user, mail=b"sealed", sealed_about=b"sealed")
    attachment = DraftAttachment.objects.create(
        draft=draft, size=9, sealed_facts=b"sealed", sealed=b"sealed"
    )
    soon = timezone.now() + timedelta(hours=1)
    outgoing = Outgoing.objects.create(
        id=uuid.uuid4(),
        user=alice.user,
        state=State.QUEUED,
        message_id="<a@acme.example>",
        envelope_from=alice.address,
        due_at=soon,
        next_at=soon,
    )
    other = alice.user.browser_sessions.create(label="Firefox on Linux")
    drafts = alice.user.mail_account.folders.get(role="drafts")
    stored = drafts.messages.create(uid=7, kind="plain", internal_date=timezone.now())
    return {
        **row.address(),
        "html": "1.2",
        "file": "2",
        "draft": draft.pk,
        "attachment": attachment.pk,
        "outgoing": outgoing.pk,
        "session_id": other.pk,
        "drafts": drafts.pk,
        "draft_uid": stored.uid,
        "token": "x" * 43,
        "name": "root",
    }


_ARGUMENTS: Final = {"drafts": "folder_id", "draft_uid": "uid", "outgoing": "pk", "draft": "pk",
                     "html": "part", "file": "part"}  # fmt: skip


def address(name: str, ids: dict[str, Any]) -> str:
    arguments = {_ARGUMENTS.get(each, each): ids[each] for each in CASES[name].needs}
    return reverse(name, kwargs=arguments)


def remote(alice: Person) -> str:
    return proxy.address("http://127.0.0.1:1/x.png", alice.user)
