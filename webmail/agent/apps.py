from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AgentConfig(AppConfig):
    name = "webmail.agent"
    label = "agent"
    verbose_name = _("Key service")
