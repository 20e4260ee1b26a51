"""``manage.py reseal_credentials``: seal mailbox passwords under the first key of the ring."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from webmail.accounts.models import MailAccount
from webmail.lib.sealing import SealBroken


class Command(BaseCommand):
    help = (
        "Seal all mailbox passwords under the current server key. When it reports none left under "
        "older keys, these may be taken out of the ring."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        changed, broken = 0, 0
        for account in MailAccount.objects.exclude(credential=None).iterator(chunk_size=500):
            before = bytes(account.credential or b"")
            try:
                if not account.reseal():
                    continue
            except SealBroken:
                broken += 1
                continue
            # Only over what was read: a password changed meanwhile is newer and wins.
            changed += MailAccount.objects.filter(pk=account.pk, credential=before).update(
                credential=account.credential
            )
        self.stdout.write(f"{changed} sealed anew.")
        if broken:
            raise CommandError(
                f"{broken} open with no key of the ring. Put the missing key back, or let these "
                f"people enter their mailbox password again."
            )
