"""Addresses of the public key infrastructure, as written into every certificate."""

from __future__ import annotations

from django.urls import path

from webmail.authority import views

app_name = "authority"
urlpatterns = [
    path("<slug:name>.crt", views.certificate, name="certificate"),
    path("<slug:name>.crl", views.revocation_list, name="revocation_list"),
]
