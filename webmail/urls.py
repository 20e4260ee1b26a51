"""Every address of the site, by application."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("webmail.accounts.urls")),
    path("welcome/", include("webmail.onboarding.urls")),
    path("pki/", include("webmail.authority.urls")),
    path("compose/", include("webmail.compose.urls")),
    path("", include("webmail.reading.urls")),
]
