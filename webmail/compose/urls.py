"""Addresses of compose and the outbox."""

from __future__ import annotations

from django.urls import path

from webmail.compose import views

app_name = "compose"
urlpatterns = [
    path("", views.new, name="new"),
    path("save/", views.save, name="save"),
    path("attach/", views.attach, name="attach_new"),
    path("send/", views.send, name="send"),
    path("recipients/", views.recipients, name="recipients"),
    path("suggest/", views.suggest, name="suggest"),
    path("pin/", views.pin, name="pin"),
    path("outbox/", views.outbox, name="outbox"),
    path("outbox/<uuid:pk>/", views.outbox_act, name="outbox_act"),
    path("undo/<uuid:pk>/", views.undo, name="undo"),
    path("stored/<int:folder_id>/<int:uid>/", views.resume, name="resume"),
    path("<uuid:pk>/", views.draft, name="draft"),
    path("<uuid:pk>/attach/", views.attach, name="attach"),
    path("<uuid:pk>/attachment/<uuid:attachment>/", views.detach, name="detach"),
    path("<uuid:pk>/discard/", views.discard, name="discard"),
]
