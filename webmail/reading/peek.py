"""Open what a list shows and nobody opened yet, so that its rows have subjects and first words.

A page that polls does it, a few mails each time; it keeps nobody unlocked. Every use of a key is
written down as always.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

from django.utils import timezone

from crypto_agent.protocol import ErrorCode, ProtocolError
from webmail.agent import door as agent_door
from webmail.mailbox import fetch, summary
from webmail.mailbox.imap import MailServerError
from webmail.mailbox.models import Kind, Message, Role
from webmail.reading.open_message import LOCKED_CODES, open_message

if TYPE_CHECKING:
    from webmail.accounts.models import User
    from webmail.agent.door import KeyHolderSession

logger = logging.getLogger(__name__)

SIZE_LIMIT: Final = 512 * 1024
"""Larger mails wait until somebody opens them."""

AWAY: Final = frozenset(
    {
        ErrorCode.BROKER_GONE,
        ErrorCode.AGENT_GONE,
        ErrorCode.NODE_GONE,
        ErrorCode.TIMEOUT,
        ErrorCode.OVERLOADED,
    }
)
"""Answers that say nothing about the mail."""

SECONDS: Final = 1.5
"""Of one poll: the thread is then free for people again."""


def unopened(messages: Sequence[Message], *, unlocked: bool) -> list[Message]:
    """Those of ``messages`` that can be looked at now."""
    return [
        each
        for each in messages
        if each.judged_at is None
        and each.size <= SIZE_LIMIT
        and (unlocked or each.kind == Kind.PLAIN)
    ]


def look(
    holder: KeyHolderSession | None,
    user: User,
    messages: Sequence[Message],
    *,
    background: bool,
    seconds: float = SECONDS,
) -> int:
    """Open ``messages`` until the time is over; how many were."""
    ends = time.monotonic() + seconds
    done = 0
    with agent_door.background() if background else nullcontext():
        for message in messages:
            if time.monotonic() > ends:
                break
            try:
                if holder is not None and message.folder.role == Role.DRAFTS:
                    _look_into_draft(holder, message)
                else:
                    open_message(holder, user, message)
            except MailServerError as error:
                if error.connection_lost:
                    break
                continue  # gone meanwhile: sync takes the row away
            except ProtocolError as error:
                logger.info("a mail was not looked at: %s", error.code)
                if error.code in LOCKED_CODES | AWAY:
                    break
            # Once is enough, whatever came of it: opening it says more.
            Message.objects.filter(pk=message.pk, judged_at=None).update(judged_at=timezone.now())
            done += 1
    return done


def _look_into_draft(holder: KeyHolderSession, message: Message) -> None:
    """A draft's subject and recipients stand inside what is sealed."""
    draft = agent_door.call(holder, "open_draft", {"mail": fetch.raw(message)})["draft"]
    packed = summary.Summary.of_draft(draft).pack()
    sealed = agent_door.call(holder, "seal_fields", {"items": [packed]})["items"][0]
    summary.keep_sealed(message, sealed)
