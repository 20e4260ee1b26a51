"""``manage.py init_authority``: make the certification authority, or see that it is there."""

from __future__ import annotations

import time
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from crypto_agent.protocol import ErrorCode, ProtocolError
from webmail.authority.setup import AuthorityReplaced, SetUp, set_up

BETWEEN_TRIES_S: Final = 0.5


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
        parser.add_argument(
            "--wait",
            type=float,
            default=0,
            metavar="SECONDS",
            help="How long to wait for relay and supervisor when they have just been started.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            done = _set_up(options)
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


def _set_up(options: dict[str, Any]) -> SetUp:
    """Raises ProtocolError (node_gone) when no node has announced itself in time."""
    deadline = time.monotonic() + options["wait"]
    while True:
        try:
            return set_up(base_url=options["base_url"], domains=tuple(options["domain"]))
        except ProtocolError as error:
            if error.code is not ErrorCode.NODE_GONE or time.monotonic() > deadline:
                raise
        time.sleep(BETWEEN_TRIES_S)
