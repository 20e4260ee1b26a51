"""A stranger learns neither who has a mailbox here nor what they are called."""

from __future__ import annotations

import re
import time

import pytest
from django.http import HttpResponse
from django.test import Client

from tests.accounts.cast import post
from tests.reading.conftest import Person
from webmail.accounts.models import Throttle
from webmail.accounts.sign_in import REFUSAL_SECONDS

pytestmark = pytest.mark.process

NOBODY = "nobody-of-this-house@acme.example"


def told(answer: HttpResponse, address: str) -> tuple[int, str]:
    """What a page says, without what differs anyway: tokens and the address that was typed."""
    page = answer.content.decode().replace(address, "…")
    return answer.status_code, re.sub(r'(?:content|value)="\w{64}"', "", page)


@pytest.mark.parametrize(
    "password",
    ["Alice Adams!", "alice adams k", "some other calm words", "short", "{address}", "aaaaaaaaaa"],
)  # fmt: skip
def test_the_recovery_page_says_the_same_of_everybody(alice: Person, password: str) -> None:
    answers = []
    for address in (alice.address, NOBODY):
        Throttle.objects.all().delete()
        new = password.format(address=address)
        form = {"address": address, "recovery_code": "AAAA", "new_password": new,
                "new_password_again": new}  # fmt: skip
        began = time.monotonic()
        answer = post(Client(), "/recover/", form)
        took = time.monotonic() - began
        answers.append((told(answer, address), took > REFUSAL_SECONDS * 0.9))
    assert answers[0] == answers[1]
    assert answers[0][0][0] == 422


def test_whoever_is_signed_in_may_not_choose_their_name(alice: Person) -> None:
    """The control: the check is there, for people whom it tells nothing new."""
    form = {"way": "password", "secret": "x", "new_password": "Alice Adams!",
            "new_password_again": "Alice Adams!"}  # fmt: skip
    answer = post(alice.client, "/settings/password/", form)
    assert answer.status_code == 422
    assert "easy to guess" in answer.content.decode()


def test_sign_in_says_the_same_of_everybody(alice: Person) -> None:
    said = []
    for address in (alice.address, NOBODY):
        Throttle.objects.all().delete()
        answer = post(Client(), "/sign-in/", {"address": address, "password": "not the password"})
        said.append(told(answer, address))
    assert said[0] == said[1]


def test_an_invitation_that_is_none_names_nobody(alice: Person) -> None:
    page = Client().get("/welcome/" + "A" * 43 + "/")
    assert page.status_code == 410
    assert alice.user.display_name not in page.content.decode()
