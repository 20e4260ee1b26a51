"""What people type into the search field, as a condition on rows.

Words look into sender, recipients and outer subject; operators narrow it. The content of mail is
not in the database, so it is not searched here, and the page says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from django.db.models import Q

from webmail.mailbox.models import Kind

TERMS_LIMIT: Final = 20
"""Terms of one search: each is one LIKE over the folder."""

QUERY_LIMIT: Final = 500

_TERM: Final = re.compile(r'(-?)(?:([a-z]+):)?(?:"([^"]*)"|([^\s"]+))')

_DATE: Final = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")

_IS: Final = {
    "unread": Q(seen=False),
    "read": Q(seen=True),
    "starred": Q(flagged=True),
    "answered": Q(answered=True),
    "signed": Q(kind=Kind.SIGNED) | Q(verdict_state="verified"),
    "encrypted": Q(kind=Kind.ENCRYPTED),
    "verified": Q(verdict_state="verified"),
    "list": Q(bulk=True),
}

OPERATORS: Final = (
    "from:",
    "to:",
    "subject:",
    "has:attachment",
    "is:unread",
    "is:starred",
    "is:signed",
    "is:encrypted",
    "before:",
    "after:",
    "in:anywhere",
)
"""Offered as suggestions."""


@dataclass(frozen=True)
class Search:
    """A parsed search; false when it says nothing."""

    text: str = ""
    condition: Q = field(default_factory=Q)
    everywhere: bool = False
    unknown: tuple[str, ...] = ()
    """Operators we do not have; they are looked for as words."""

    def __bool__(self) -> bool:
        return bool(self.condition) or self.everywhere


def parse(text: str) -> Search:
    """``from:bob is:unread "annual report"`` → a condition. Never raises."""
    text = text.strip()[:QUERY_LIMIT].replace("\0", "")
    condition = Q()
    everywhere = False
    unknown: list[str] = []
    for count, match in enumerate(_TERM.finditer(text)):
        if count >= TERMS_LIMIT:
            break
        negated, operator, quoted, bare = match.groups()
        value = quoted if quoted is not None else bare
        if not value or value.lower() in OPERATORS:
            continue  # still being typed
        if operator == "in" and value.lower() in {"anywhere", "all"}:
            everywhere = True
            continue
        term = _operator(operator, value) if operator else _words(value)
        if term is None:
            unknown.append(f"{operator}:")
            term = _words(f"{operator}:{value}")
        condition &= ~term if negated else term
    return Search(text, condition, everywhere, tuple(unknown))


def _words(value: str) -> Q:
    return (
        Q(subject__icontains=value)
        | Q(from_name__icontains=value)
        | Q(from_address__icontains=value)
        | Q(to__icontains=value)
    )


def _operator(operator: str, value: str) -> Q | None:
    if operator == "from":
        return (
            Q(from_name__icontains=value)
            | Q(from_address__icontains=value)
            | Q(signer_name__icontains=value)
        )
    if operator in {"to", "cc"}:
        return Q(to__icontains=value)
    if operator == "subject":
        return Q(subject__icontains=value)
    if operator == "has" and value.lower() in {"attachment", "attachments"}:
        return Q(has_attachments=True)
    if operator == "is":
        return _IS.get(value.lower())
    if operator in {"before", "after"}:
        match = _DATE.fullmatch(value)
        if match is None:
            return None
        try:
            day = datetime(int(match[1]), int(match[2]), int(match[3]), tzinfo=UTC)
        except ValueError:
            return None
        if operator == "before":
            return Q(internal_date__lt=day)
        return Q(internal_date__gte=day)
    return None
