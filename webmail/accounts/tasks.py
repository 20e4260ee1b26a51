"""Housekeeping of sign-ins: what has ended is deleted."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from webmail.accounts import throttle
from webmail.accounts.models import BrowserSession
from webmail.accounts.session_store import SessionStore


@shared_task(name="webmail.accounts.forget_ended")  # type: ignore[untyped-decorator]  # Celery has no types
def forget_ended() -> None:
    """Expired sessions, the browsers they belonged to, and brakes that are loose again."""
    SessionStore.clear_expired()
    over = timezone.now() - timedelta(seconds=settings.SESSION_COOKIE_AGE)
    BrowserSession.objects.filter(created_at__lt=over).delete()
    throttle.forget_old()
