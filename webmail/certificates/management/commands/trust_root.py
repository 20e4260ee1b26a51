"""``manage.py trust_root``: add an authority's root certificate to the trust list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.datastructures import MultiValueDict

from webmail.certificates import facts
from webmail.certificates.admin import TrustedRootForm
from webmail.certificates.models import TrustedRoot


class Command(BaseCommand):
    help = (
        "Trust an authority's root certificate (PEM or DER) for mail. "
        "Does nothing if it is trusted already."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--note", default="", help="Why it is trusted, for administrators.")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        try:
            data = path.read_bytes()
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
        if self._is_trusted(data):
            return
        form = TrustedRootForm(
            {"enabled": True, "note": options["note"]},
            MultiValueDict({"uploaded": [SimpleUploadedFile(path.name, data)]}),
        )
        if not form.is_valid():
            raise CommandError(" ".join(str(e) for errors in form.errors.values() for e in errors))
        root = form.save()
        if options["verbosity"]:
            self.stdout.write(f"{root.subject} is trusted until {root.not_after:%Y-%m-%d}.")

    def _is_trusted(self, data: bytes) -> bool:
        try:
            der = facts.from_pem_or_der(data)
        except facts.NotACertificate:
            return False  # the form has the words
        return TrustedRoot.objects.filter(sha256=facts.fingerprint(der), enabled=True).exists()
