"""Every address of the site, by application."""

from __future__ import annotations

import importlib.util

from django.contrib import admin
from django.urls import include, path

from webmail.accounts.health import healthz

_APPLICATIONS = {
    "": "webmail.accounts.urls",
    "welcome/": "webmail.onboarding.urls",
    "pki/": "webmail.authority.urls",
    "compose/": "webmail.compose.urls",
    "mail/": "webmail.reading.urls",
}

urlpatterns = [path("healthz", healthz, name="healthz"), path("admin/", admin.site.urls)]
for prefix, module in _APPLICATIONS.items():
    if importlib.util.find_spec(module) is not None:
        urlpatterns.append(path("" if prefix == "mail/" else prefix, include(module)))

handler400 = "webmail.accounts.error_pages.bad_request"
handler403 = "webmail.accounts.error_pages.permission_denied"
handler404 = "webmail.accounts.error_pages.not_found"
handler500 = "webmail.accounts.error_pages.server_error"
