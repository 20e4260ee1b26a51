"""Every address of the site, by application."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from webmail.accounts.health import healthz

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("admin/", admin.site.urls),
    path("", include("webmail.accounts.urls")),
    path("welcome/", include("webmail.onboarding.urls")),
    path("pki/", include("webmail.authority.urls")),
    path("compose/", include("webmail.compose.urls")),
    path("", include("webmail.reading.urls")),
]

handler400 = "webmail.accounts.error_pages.bad_request"
handler403 = "webmail.accounts.error_pages.permission_denied"
handler404 = "webmail.accounts.error_pages.not_found"
handler500 = "webmail.accounts.error_pages.server_error"
