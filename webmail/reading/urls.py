"""Folders, mails and what is done to them."""

from __future__ import annotations

from django.urls import path

from webmail.reading import act, proxy, views

app_name = "reading"

_MESSAGE = "mail/<int:folder_id>/<int:uid>/"

urlpatterns = [
    path("", views.home, name="home"),
    path("mail/act/", act.act, name="act"),
    path("mail/poll/", views.poll, name="poll"),
    path("mail/remote/", proxy.answer, name="remote"),
    path("mail/<int:folder_id>/", views.folder, name="folder"),
    path(_MESSAGE, views.message, name="message"),
    path(f"{_MESSAGE}body/<str:part>/", views.body, name="body"),
    path(f"{_MESSAGE}attachment/<str:part>/", views.attachment, name="attachment"),
    path(f"{_MESSAGE}message.eml", views.source, name="source"),
    path(f"{_MESSAGE}identity/", views.identity, name="identity"),
    path(f"{_MESSAGE}certificate.pem", views.certificate, name="certificate"),
    path(f"{_MESSAGE}print/", views.print_view, name="print"),
]
