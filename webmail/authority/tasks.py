"""Scheduled work of the authority. Tasks carry nothing: they look for what is due."""

from __future__ import annotations

import logging

from celery import shared_task

from crypto_agent.protocol import ProtocolError

logger = logging.getLogger(__name__)


@shared_task(name="webmail.authority.refresh_lists", ignore_result=True)  # type: ignore[untyped-decorator]  # Celery has no types
def refresh_lists() -> None:
    """Publish revocation lists that are due. A missing agent is no drama: next time, then."""
    from webmail.authority import lists

    try:
        published = lists.publish_due()
    except ProtocolError as error:
        logger.warning("revocation lists not published: %s", error.code.value)
        return
    if published:
        logger.info("revocation lists published: %d", published)


def ring() -> None:
    """Ask the worker to look now. When the broker is away, the schedule finds it within minutes."""
    try:
        refresh_lists.delay()
    except Exception as error:  # kombu raises whatever its transport does
        logger.warning("broker not reached: %s", type(error).__name__)
