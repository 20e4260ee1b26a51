"""``manage.py create_person``: add a person and print their invitation link."""

from __future__ import annotations

import os
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from webmail.accounts import discovery, invitations, provision
from webmail.accounts.models import User


class Command(BaseCommand):
    help = (
        "Add a person and print the invitation link, alone on its line. Run again for somebody "
        "who has not accepted yet, it prints a new link. The mailbox password, if one is to be "
        "kept, comes from the environment: SEALPOST_IMAP_PASSWORD."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("addresses", nargs="+", help="The first one is the sign-in name.")
        parser.add_argument("--name", default="", help="Such as 'Ana Ruiz'.")
        parser.add_argument("--imap", default="", help="implicit://host:993; default: discover")
        parser.add_argument("--smtp", default="", help="implicit://host:465; default: discover")
        parser.add_argument("--mail-user", default="", help="Login name on the mail server.")
        parser.add_argument(
            "--master", action="store_true", help="Use the mail server's master user."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            user, attempts = self._person(options)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        if options["verbosity"] > 1:
            for attempt in attempts:
                self.stderr.write(f"{attempt.source}: {attempt.outcome}")
        self.stdout.write(invitations.invite(user))

    def _person(self, options: dict[str, Any]) -> tuple[User, list[discovery.Attempt]]:
        known = User.objects.filter(addresses__address=options["addresses"][0].lower()).first()
        if known is not None:
            if known.activated_at is not None:
                raise CommandError(f"{known} has accepted already and needs no invitation.")
            return known, []
        added = provision.add_person(
            provision.Wanted(
                name=options["name"],
                addresses=tuple(options["addresses"]),
                imap=_server(options["imap"], "imap"),
                smtp=_server(options["smtp"], "smtp"),
                mail_user=options["mail_user"],
                mail_password=os.environ.get("SEALPOST_IMAP_PASSWORD", ""),
                use_master=options["master"],
            )
        )
        return added.user, added.attempts


def _server(url: str, kind: discovery.Kind) -> discovery.Server | None:
    if not url:
        return None
    host, port, tls = discovery.parse_server(url, kind)
    return discovery.Server(kind, host, port, tls, "", "command line")
