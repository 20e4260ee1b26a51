"""What may happen after the page was answered."""

from __future__ import annotations

import logging
import uuid
from typing import Any

from celery import shared_task

from crypto_agent.protocol import ProtocolError
from webmail.accounts.models import User
from webmail.mailbox.imap import MailServerError
from webmail.onboarding import tour

logger = logging.getLogger(__name__)


@shared_task(  # type: ignore[untyped-decorator]  # Celery has no types
    name="webmail.onboarding.deliver_tour", max_retries=3, default_retry_delay=20, bind=True
)
def deliver_tour(self: Any, user: str) -> None:
    """Put the tour mail into the inbox; tried again for a minute, then given up."""
    try:
        tour.deliver(User.objects.get(pk=uuid.UUID(user)))
    except (ProtocolError, MailServerError) as error:
        raise self.retry(exc=error) from error
    except (LookupError, User.DoesNotExist) as error:
        logger.warning("no tour mail: %s", error)
