"""Judge signed mail before anybody opens it, with the agent that holds no keys."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Max, Q

from crypto_agent.protocol import ProtocolError
from webmail.agent import door as agent_door
from webmail.certificates import harvest, refresh
from webmail.certificates.material import FRESH_SECONDS, trust_material
from webmail.certificates.models import RevocationList
from webmail.mailbox import fetch, summary
from webmail.mailbox.imap import MailServerError
from webmail.mailbox.models import Kind, Message

if TYPE_CHECKING:
    from webmail.accounts.models import MailAccount

logger = logging.getLogger(__name__)

BATCH: Final = 20
"""Mails per task: each costs a fetch and a few milliseconds in the verifier."""

SIZE_LIMIT: Final = 10 * 1024 * 1024
"""Larger signed mails are judged when they are opened."""


def milliseconds(moment: datetime) -> int:
    """Milliseconds since the epoch, as agents count time."""
    return int(moment.timestamp() * 1000)


def open_payload(
    raw: fetch.RawMail, trust: dict[str, Any], *, part: str | None = None
) -> dict[str, Any]:
    """The payload of the agents' ``open`` operation."""
    payload: dict[str, Any] = {
        "raw": raw.data,
        "now": milliseconds(datetime.now(UTC)),
        "received": milliseconds(raw.received) if raw.received else None,
        "trust": trust,
        "want": "message" if part is None else "part",
    }
    if part is not None:
        payload["part"] = part
    return payload


def judge_signed(account: MailAccount) -> int:
    """Judge up to :data:`BATCH` signed mails; returns how many. Those that were not looked at yet,
    and those that waited for revocation data while some was fetched.

    Raises MailServerError and ProtocolError when a server or agent is away; the next run goes on.
    """
    fresh = Q(verdict_state="", judged_at=None)
    fetched = RevocationList.objects.aggregate(at=Max("fetched_at"))["at"]
    if fetched is not None:
        # Until then a process may judge from what it read before the fetch.
        known = fetched + timedelta(seconds=FRESH_SECONDS)
        fresh |= Q(verdict_state="unverified", revocation="unknown", judged_at__lt=known)
    waiting = (
        Message.objects.filter(
            fresh, folder__account=account, kind=Kind.SIGNED, size__lte=SIZE_LIMIT
        )
        .select_related("folder", "folder__account")
        .order_by("-internal_date")[:BATCH]
    )
    trust: dict[str, Any] | None = None
    judged = 0
    for message in waiting:
        if trust is None:
            trust = trust_material(account.user_id)
        try:
            raw = fetch.raw_mail(message)
        except MailServerError as error:
            if error.connection_lost:
                raise
            continue  # gone meanwhile: sync takes the row away
        opened = agent_door.service("verifier", "open", open_payload(raw, trust))
        record(account, message, opened)
        judged += 1
    return judged


def record(account: MailAccount, message: Message, opened: dict[str, Any]) -> None:
    """Keep what was learned from a mail opened without keys: summary, certificates, addresses of
    revocation data."""
    if not summary.is_sealed(message, opened):
        summary.keep(message, summary.Summary.of(opened))
    learn(account, opened)


def learn(account: MailAccount, opened: dict[str, Any], *, counted: bool = False) -> None:
    """Offer the signer's certificate for use, and ask for revocation data that is missing.

    ``counted``: as in :func:`harvest.consider`.
    """
    try:
        harvest.consider(account.user_id, opened, counted=counted)
    except ProtocolError as error:
        # A mail can be read although its certificate could not be looked at just now.
        logger.info("a certificate was not considered: %s", error.code)
    urls = opened.get("urls") or []
    if urls and opened["verdict"].get("revocation") == "unknown":
        refresh.request(urls)
