"""Key activity: every use of a person's keys, in their words, and whether the record is whole."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from django.core.paginator import InvalidPage
from django.utils.translation import gettext as _

from webmail.accounts.models import User
from webmail.agent import audit
from webmail.agent.models import AuditHead, KeyUse
from webmail.lib.numbers import whole

PAGE: Final = 50


@dataclass(frozen=True)
class Row:
    """One use. ``key`` and ``session`` are the first eight digits of ids, to tell them apart."""

    at: datetime
    operation: str
    words: str
    key: str
    session: str
    outcome: str
    outcome_words: str
    good: bool
    digest: str


@dataclass(frozen=True)
class ActivityPage:
    """Newest first. ``total`` is the length of the chain, so nothing is counted."""

    rows: list[Row]
    number: int
    total: int

    @property
    def has_previous(self) -> bool:
        return self.number > 1

    @property
    def has_next(self) -> bool:
        return self.number * PAGE < self.total

    @property
    def previous_page_number(self) -> int:
        return self.number - 1

    @property
    def next_page_number(self) -> int:
        return self.number + 1


def page_of(user: User, number_text: str) -> ActivityPage:
    """One page of fifty. Raises InvalidPage."""
    number = whole(number_text)
    if number is None:
        raise InvalidPage("not a page number")
    head = AuditHead.objects.filter(holder=user.hex).first()
    total = head.number if head else 0
    newest = total - (number - 1) * PAGE
    if number < 1 or (newest < 1 and number > 1):
        raise InvalidPage("no such page")
    uses = KeyUse.objects.filter(holder=user.hex, number__lte=newest, number__gt=newest - PAGE)
    rows = [_row(use) for use in uses.order_by("-number")]
    return ActivityPage(rows=rows, number=number, total=total)


def _row(use: KeyUse) -> Row:
    good = use.outcome == audit.OK
    return Row(
        at=datetime.fromtimestamp(use.at / 1000, tz=UTC),
        operation=use.operation,
        words=words_for(use.operation),
        key=use.key[:8],
        session=use.session[:8],
        outcome=use.outcome,
        outcome_words=_("done") if good else _outcome_words(use.outcome),
        good=good,
        digest=use.digest,
    )


def words_for(operation: str) -> str:
    """What an operation of the audit means; unknown ones are shown by their name."""
    words = {
        "create": _("Keys made"),
        "create_key": _("Key made"),
        "request": _("Certificate requested"),
        "csr": _("Certificate requested"),
        "unlock.password": _("Unlocked with the password"),
        "unlock.recovery": _("Unlocked with the recovery code"),
        "resume": _("Unlocked session continued after a restart"),
        "lock": _("Locked"),
        "change_password": _("Password changed"),
        "install": _("Certificate installed"),
        "decrypt": _("Mail decrypted"),
        "sign": _("Mail signed"),
        "seal_draft": _("Draft encrypted"),
        "open_draft": _("Draft decrypted"),
        "encrypt": _("Encrypted to yourself"),
    }
    return words.get(operation, operation)


def _outcome_words(outcome: str) -> str:
    words = {
        "wrong_password": _("refused: wrong password or code"),
        "rate_limited": _("refused: too many tries"),
    }
    return words.get(outcome, outcome)


def check_chain(user: User) -> dict[str, object]:
    """``{"whole": bool, "rows": int, "sentence": str}``: was the record changed or cut?"""
    state = audit.verify_chain(user.hex)
    if state.whole:
        sentence = _("The record is whole: no entry was changed or removed.")
    else:
        sentence = _(
            "The record does not fit from entry %(number)d on: somebody changed the database. "
            "Tell your administrator."
        ) % {"number": state.broken_at}
    return {"whole": state.whole, "rows": state.rows, "sentence": sentence}
