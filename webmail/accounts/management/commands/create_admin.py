"""``manage.py create_admin``: an administrator without a mailbox, for /admin/."""

from __future__ import annotations

import getpass
import os
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from webmail.accounts.models import User


class Command(BaseCommand):
    help = (
        "Add an administrator without a mailbox. The password comes from the environment "
        "(DJANGO_SUPERUSER_PASSWORD) or is asked for."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"]
        if "@" in name:
            raise CommandError(
                "Choose a name without @: addresses belong to people with a mailbox."
            )
        if User.objects.filter(username=name).exists():
            raise CommandError(f"{name} is there already.")
        password = os.environ.get("DJANGO_SUPERUSER_PASSWORD") or getpass.getpass()
        user = User(username=name)
        try:
            validate_password(password, user)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        User.objects.create_superuser(name, password)
        if options["verbosity"]:
            self.stdout.write(f"{name} may sign in at /admin/.")
