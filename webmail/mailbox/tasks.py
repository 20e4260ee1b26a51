"""Background work on mailboxes. Tasks carry row ids; running one twice changes nothing."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta
from typing import Final

from celery import shared_task
from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from crypto_agent.protocol import ProtocolError
from webmail.accounts.models import MailAccount
from webmail.agent.models import KeySession
from webmail.mailbox import imap, judge, sync
from webmail.mailbox.imap import MailServerError
from webmail.mailbox.models import Folder, Role

logger = logging.getLogger(__name__)

ACTIVE: Final = timedelta(hours=1)
"""People who used the mailbox within it are synced at every beat."""

IDLE_INTERVAL: Final = timedelta(minutes=10)
"""Everybody else, so that signed mail is judged and pages open fast in the morning."""

OTHER_FOLDERS_INTERVAL: Final = timedelta(minutes=3)
"""Folders besides the inbox."""

TASK_LIFETIME_SECONDS: Final = 30
"""A sync nobody got to by then is not worth doing: the next beat asks again."""


@shared_task(name="webmail.mailbox.sync_account", ignore_result=True)  # type: ignore[untyped-decorator]  # Celery has no types
def sync_account(account_id: str) -> None:
    """Bring one account's folders up to date, inbox first, then judge new signed mail."""
    account = MailAccount.objects.filter(pk=uuid.UUID(account_id)).first()
    if account is None or not account.has_login or not account.imap_host:
        return
    more = False
    try:
        with imap.door(account) as door:
            folders = sync.sync_folders(account, door=door)
            now = timezone.now()
            for folder in sorted(folders, key=lambda each: each.role != Role.INBOX):
                if not folder.selectable:
                    continue
                fresh = folder.synced_at and folder.synced_at > now - OTHER_FOLDERS_INTERVAL
                if folder.role != Role.INBOX and fresh and folder.exists <= folder.total:
                    continue
                result = sync.sync_folder(folder, door=door, seconds=40)
                more = more or (result is not None and not result.complete)
        judge.judge_signed(account)
    except MailServerError as error:
        logger.info("mail server of an account: %s", error.code)
        return
    except ProtocolError as error:
        logger.info("signed mail waits for the verifier: %s", error.code)
    if more:
        sync_account.apply_async([account_id], expires=TASK_LIFETIME_SECONDS)


@shared_task(name="webmail.mailbox.sync_folder", ignore_result=True)  # type: ignore[untyped-decorator]  # Celery has no types
def sync_folder(folder_id: int) -> None:
    """Bring one folder up to date."""
    folder = Folder.objects.select_related("account").filter(pk=folder_id).first()
    if folder is None:
        return
    try:
        result = sync.sync_folder(folder)
        if result is not None and result.new:
            judge.judge_signed(folder.account)
    except MailServerError as error:
        logger.info("mail server of an account: %s", error.code)
    except ProtocolError as error:
        logger.info("signed mail waits for the verifier: %s", error.code)


@shared_task(name="webmail.mailbox.sync_due", ignore_result=True)  # type: ignore[untyped-decorator]  # Celery has no types
def sync_due() -> None:
    """Ring for every account whose inbox was not looked at for its interval."""
    now = timezone.now()
    active = KeySession.objects.filter(used_at__gt=now - ACTIVE).values("user_id")
    interval = timedelta(seconds=settings.SYNC_INTERVAL_SECONDS)
    fresh = Folder.objects.filter(role=Role.INBOX).filter(
        Q(synced_at__gt=now - IDLE_INTERVAL)
        & (Q(synced_at__gt=now - interval / 2) | ~Q(account__user_id__in=active))
    )
    due = MailAccount.objects.exclude(imap_host="").exclude(pk__in=fresh.values("account_id"))
    for account_id in due.filter(user__is_active=True).values_list("pk", flat=True).iterator():
        sync_account.apply_async([str(account_id)], expires=TASK_LIFETIME_SECONDS)
