"""Figures, not tests: what Sealpost costs, beside its limits and beside references of the same run.

Importing this package sets Django up with throw-away settings, for the models below it.
"""

from __future__ import annotations

import os

import django

import tests.environment  # noqa: F401 - throw-away secrets, before Django reads any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webmail.settings")
django.setup()
