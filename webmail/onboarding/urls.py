"""From the invitation to the inbox."""

from __future__ import annotations

from django.urls import path

from webmail.onboarding import views

app_name = "onboarding"
urlpatterns = [
    path("ready/", views.ready, name="ready"),
    path("<str:token>/", views.invitation, name="invitation"),
]
