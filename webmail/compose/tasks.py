"""Worker tasks of compose: they carry a row's id and nothing else."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta
from typing import Final

from celery import shared_task
from django.utils import timezone

from webmail.compose import drafts, outbox
from webmail.mailbox.imap import MailServerError

logger = logging.getLogger(__name__)

SEND_LIMIT_SECONDS: Final = 1_500
"""Above connection, data and the ten minutes after the dot (RFC 5321 §4.5.3.2) together. A message
that the broker hands out again meanwhile finds the row claimed and ends."""

DRAFT_PAUSE: Final = timedelta(seconds=15)
"""A draft is stored on the mail server when its writer pauses, not with every few words."""


@shared_task(  # type: ignore[untyped-decorator]  # Celery has no types
    name="compose.advance", time_limit=SEND_LIMIT_SECONDS, soft_time_limit=SEND_LIMIT_SECONDS - 60
)
def advance(pk: str) -> None:
    """Move one outgoing mail as far as it goes now."""
    outbox.advance(uuid.UUID(pk))


@shared_task(name="compose.file_draft")  # type: ignore[untyped-decorator]  # Celery has no types
def file_draft(pk: str) -> None:
    """Bring the Drafts folder in line with one draft."""
    try:
        drafts.file_draft(uuid.UUID(pk))
    except MailServerError as error:
        logger.info("a draft was not stored on the mail server now: %s", error.code)


@shared_task(name="compose.sweep")  # type: ignore[untyped-decorator]  # Celery has no types
def sweep() -> None:
    """Ring for mail and drafts that wait; the broker may have lost everything."""
    outbox.sweep()
    drafts.drop_untouched()
    paused = timezone.now() - DRAFT_PAUSE
    waiting = drafts.waiting_for_filing().filter(updated_at__lt=paused)
    for pk in waiting.values_list("pk", flat=True)[:100]:
        file_draft.delay(str(pk))
