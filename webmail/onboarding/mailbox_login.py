"""Does the saved login open the mailbox? Asked once at the start, and when a password is given."""

from __future__ import annotations

from django.utils import timezone

from webmail.accounts.models import MailAccount
from webmail.mailbox import imap
from webmail.mailbox.imap import MailServerError


def try_login(account: MailAccount) -> None:
    """Sign in to the mail server and out again. Raises MailServerError."""
    imap.connect(account).close()
    now = timezone.now()
    account.verified_at = now
    MailAccount.objects.filter(pk=account.pk).update(verified_at=now)


def save_password(account: MailAccount, password: bytearray) -> None:
    """Try ``password`` and keep it, sealed, only when it works. Raises MailServerError."""
    if not password or b"\0" in password:
        raise MailServerError("refused_login")
    account.set_password(password)
    account.login = MailAccount.Login.PASSWORD
    try_login(account)
    account.save(update_fields=["credential", "login", "verified_at"])
