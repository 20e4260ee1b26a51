"""``manage.py init_authority``: make the certification authority, or see that it is there."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from crypto_agent.protocol import ProtocolError
from webmail.authority.setup import AuthorityReplaced, set_up


class Command(BaseCommand):
    help = "Set up the built-in certification authority. Running it again changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--base-url",
            help="Where others reach /pki/; written into every certificate. "
            "Default: SEALPOST_ORIGIN.",
        )
        parser.add_argument(
            "--domain",
            action="append",
            default=[],
            help="Certify addresses of this mail domain only (may be repeated). It cannot be "
            "widened later.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            done = set_up(base_url=options["base_url"], domains=tuple(options["domain"]))
        except AuthorityReplaced as error:
            raise CommandError(
                f"The agent node holds another authority than the database (certificate "
                f"'{error}'). Restore the services' state folder or the database from the same "
                f"backup."
            ) from error
        except ProtocolError as error:
            raise CommandError(
                f"The authority cannot be set up ({error}). Check that relay and supervisor run, "
                f"then run init_authority again."
            ) from error
        if options["verbosity"]:
            words = "made" if done.created else "there already"
            self.stdout.write(f"Certification authority {words}: SHA-256 {done.root.fingerprint}")
