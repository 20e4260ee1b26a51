from __future__ import annotations

import pytest
from django.conf import settings

from tests.accounts.cast import ALICE, ALICES_PASSWORD, browser, post
from webmail.accounts.models import User
from webmail.agent import door

pytestmark = [pytest.mark.django_db, pytest.mark.process]


def test_the_right_password_signs_in_and_unlocks(alice: User) -> None:
    client = browser()
    answer = post(client, "/sign-in/", {"address": ALICE, "password": ALICES_PASSWORD})
    assert answer.status_code == 303
    cookie = answer.cookies[settings.UNLOCK_COOKIE_NAME]
    assert cookie["secure"] and cookie["httponly"] and cookie["samesite"] == "Strict"
    assert cookie["path"] == "/" and not cookie["domain"]
    assert door.is_unlocked(alice.hex)
    assert client.get("/settings/").status_code == 200
