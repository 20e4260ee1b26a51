"""From the invitation to the inbox."""

from __future__ import annotations

from django.urls import URLPattern

app_name = "onboarding"
urlpatterns: list[URLPattern] = []
