"""Add a person: addresses, mail servers, an invitation. Used by the admin and the command line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from webmail.accounts import discovery
from webmail.accounts.addresses import normalise
from webmail.accounts.models import Address, MailAccount, User, validate_tls_for_host


@dataclass(frozen=True)
class Wanted:
    """What the administrator knows. A server left None is discovered."""

    name: str
    addresses: tuple[str, ...]
    """The first one is the primary address and the sign-in name."""
    imap: discovery.Server | None = None
    smtp: discovery.Server | None = None
    mail_user: str = ""
    """Login name on the mail server; empty: what discovery says, or the primary address."""
    mail_password: str = field(default="", repr=False)
    use_master: bool = False


@dataclass(frozen=True)
class Added:
    """The person, not yet invited, and what discovery did."""

    user: User
    attempts: list[discovery.Attempt]


def parse_addresses(lines: Iterable[str]) -> tuple[str, ...]:
    """Normal forms, in order, once each. Raises ValidationError: malformed, none, or taken."""
    addresses = tuple(dict.fromkeys(normalise(line) for line in lines if line.strip()))
    if not addresses:
        raise ValidationError(_("Enter at least one address."))
    taken = Address.objects.filter(address__in=addresses).values_list("address", flat=True)
    taken_names = User.objects.filter(username__in=addresses).values_list("username", flat=True)
    for address in [*taken, *taken_names]:
        raise ValidationError(
            _("%(address)s belongs to somebody already."), params={"address": address}
        )
    return addresses


def add_person(wanted: Wanted) -> Added:
    """Discover what is missing, then make all rows at once. Raises ValidationError."""
    addresses = parse_addresses(wanted.addresses)
    found = discovery.Found(imap=wanted.imap, smtp=wanted.smtp)
    if not found.is_complete:
        found = discovery.discover(addresses[0])
    imap, smtp = wanted.imap or found.imap, wanted.smtp or found.smtp
    for server in (imap, smtp):
        if server is not None:
            validate_tls_for_host(server.host, server.tls)
    with transaction.atomic():
        user = User.objects.create_user(addresses[0], display_name=wanted.name.strip())
        for address in addresses:
            Address.objects.create(user=user, address=address, primary=address == addresses[0])
        account = MailAccount(user=user)
        if imap is not None:
            account.imap_host, account.imap_port = imap.host, imap.port
            account.imap_tls = imap.tls
            account.imap_user = wanted.mail_user or imap.user or addresses[0]
            account.source = imap.source
        if smtp is not None:
            account.smtp_host, account.smtp_port = smtp.host, smtp.port
            account.smtp_tls = smtp.tls
            account.smtp_user = wanted.mail_user or smtp.user or addresses[0]
        if wanted.use_master:
            account.login = MailAccount.Login.MASTER
            account.check_master()
        elif wanted.mail_password:
            account.set_password(wanted.mail_password.encode())
        account.save()
    return Added(user, found.attempts)
