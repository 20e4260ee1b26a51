"""Sign-in, lock and settings."""

from __future__ import annotations

from django.urls import path

from webmail.accounts import views

app_name = "accounts"
urlpatterns = [
    path("sign-in/", views.sign_in, name="sign_in"),
    path("sign-out/", views.sign_out, name="sign_out"),
    path("lock/", views.lock, name="lock"),
    path("lock/all/", views.lock_all, name="lock_all"),
    path("unlock/", views.unlock, name="unlock"),
    path("recover/", views.recover, name="recover"),
    path("settings/", views.settings_page, name="settings"),
    path("settings/password/", views.password, name="password"),
    path("settings/sessions/", views.sessions, name="sessions"),
    path(
        "settings/sessions/<uuid:session_id>/revoke/", views.revoke_session, name="revoke_session"
    ),
    path("settings/key-activity/", views.key_activity, name="key_activity"),
]
