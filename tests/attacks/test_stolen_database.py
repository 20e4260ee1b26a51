"""Mallory reads the database while Alice is signed in: what she finds there opens nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.utils import timezone

from tests.accounts.cast import post
from tests.reading.conftest import Person
from webmail.accounts.models import BrowserSession
from webmail.accounts.session_store import SessionStore
from webmail.accounts.tasks import forget_ended

pytestmark = pytest.mark.process

COOKIE = settings.SESSION_COOKIE_NAME


def everything_in_the_database() -> bytes:
    """Every value of every row, one after the other."""
    found: list[bytes] = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            for row in cursor.fetchall():
                found += [
                    bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
                    for value in row
                ]
    return b"\n".join(found)


def test_no_row_of_a_session_signs_in_a_browser(alice: Person) -> None:
    for row in Session.objects.values_list("session_key", flat=True):
        thief = Client()
        thief.cookies[COOKIE] = row
        assert thief.get("/settings/").status_code == 302
    # The control: the cookie itself does.
    friend = Client()
    friend.cookies[COOKIE] = alice.client.cookies[COOKIE].value
    assert friend.get("/settings/").status_code == 200


def test_neither_cookie_stands_in_the_database(alice: Person) -> None:
    rows = everything_in_the_database()
    assert alice.user.username.encode() in rows, "the rows were read"
    for name in (COOKIE, settings.UNLOCK_COOKIE_NAME):
        value = alice.client.cookies[name].value
        assert len(value) >= 32
        assert value.encode() not in rows


def test_signing_out_deletes_the_row(alice: Person) -> None:
    stolen = alice.client.cookies[COOKIE].value
    assert SessionStore().exists(stolen)
    post(alice.client, "/sign-out/", {})
    assert not SessionStore().exists(stolen)
    thief = Client()
    thief.cookies[COOKIE] = stolen
    assert thief.get("/settings/").status_code == 302


def test_a_session_id_that_the_server_did_not_give_out_is_not_kept(alice: Person) -> None:
    planted = Client()
    planted.cookies[COOKIE] = "a" * 32
    planted.get("/sign-in/")
    assert not SessionStore().exists("a" * 32)


def test_what_has_ended_is_deleted_and_what_lives_stays(alice: Person) -> None:
    forget_ended()
    assert alice.client.get("/settings/").status_code == 200
    over = timezone.now() - timedelta(seconds=settings.SESSION_COOKIE_AGE + 60)
    BrowserSession.objects.update(created_at=over)
    Session.objects.update(expire_date=over)
    forget_ended()
    assert not Session.objects.exists()
    assert not BrowserSession.objects.exists()
