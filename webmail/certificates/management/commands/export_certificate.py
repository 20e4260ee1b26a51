"""``manage.py export_certificate``: a colleague's encryption certificate, for people outside."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.core.management.base import BaseCommand, CommandError, CommandParser

from webmail.certificates import directory


class Command(BaseCommand):
    help = "Print the encryption certificate of one of our addresses as PEM."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("address")

    def handle(self, *args: Any, **options: Any) -> None:
        found = directory.lookup(options["address"])
        if not found:
            raise CommandError(
                f"{options['address']} has no valid encryption certificate here. "
                "Has the invitation been accepted?"
            )
        certificate = x509.load_der_x509_certificate(bytes(found[0].der))
        self.stdout.write(certificate.public_bytes(Encoding.PEM).decode(), ending="")
