from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AuthorityConfig(AppConfig):
    name = "webmail.authority"
    label = "authority"
    verbose_name = _("Own certification authority")
