"""Worker tasks of certificates. They take no arguments: the rows say what is due."""

from __future__ import annotations

from celery import shared_task

from webmail.certificates import refresh


@shared_task(name="certificates.refresh_due")  # type: ignore[untyped-decorator]  # Celery has no types
def refresh_due() -> None:
    """Fetch due revocation lists and issuer certificates."""
    refresh.refresh_due()
