"""What stays of a password in the web's memory, measured; ``docs/password-in-memory.md``."""

from __future__ import annotations

import os
import re
import secrets

import pytest

from launcher.browserless import Visitor
from launcher.demo import MAIL_SERVER_PASSWORD, Demo
from launcher.dovecot import add_user, mail_folder
from tests.journey.processes import process_of, while_it_waits
from tests.support.agent_node import children_of, wait_until
from tests.support.memory import masked, search

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="the web's memory is readable by root alone"
)

FRANK = "frank@acme.example"


def new_password() -> str:
    """Letters, digits and hyphens: a form's encoding leaves it as it is."""
    return "-".join(secrets.token_hex(5) for _ in range(4))


def holders(demo: Demo, password: str) -> set[int]:
    """The web's processes that hold ``password`` in their memory."""
    web = process_of(demo, "web")
    return set(search([masked(password.encode())], [web, *children_of(web)]))


def sign_in(demo: Demo, password: str) -> Visitor:
    visitor = Visitor(demo.sealpost.origin)
    page = visitor.get("/sign-in/")
    visitor.submit(page, {"address": FRANK, "password": password, "next": "/settings/"})
    return visitor


def test_no_password_stays_in_the_web_once_its_request_is_answered(demo: Demo) -> None:
    add_user(mail_folder(demo.state / "mail"), FRANK, MAIL_SERVER_PASSWORD)
    first, wrong, second, third = (new_password() for _ in range(4))

    visitor = Visitor(demo.sealpost.origin)
    page = visitor.get(demo.invite(FRANK, "Frank Ford"))
    answer = visitor.submit(page, {"password": first, "password_again": first})
    found = re.search(r"(?:[A-Z2-7]{4}-){7}[A-Z2-7]{4}", answer.text)
    assert found is not None
    assert holders(demo, first) == set()

    # Positive control: it is there as long as the view waits for the agent.
    with while_it_waits(demo, lambda: sign_in(demo, first)):
        wait_until(lambda: len(holders(demo, first)) == 1, seconds=10, what="the password there")
    assert holders(demo, first) == set()

    sign_in(demo, wrong)
    assert holders(demo, wrong) == set()

    visitor = sign_in(demo, first)
    change = {"way": "password", "secret": first}
    new = {"new_password": second, "new_password_again": second}
    answer = visitor.submit(visitor.get("/settings/password/"), change | new)
    assert answer.status == 200
    assert holders(demo, first) | holders(demo, second) == set()

    visitor = Visitor(demo.sealpost.origin)
    code = found[0]
    new = {"new_password": third, "new_password_again": third}
    recover = {"address": FRANK, "recovery_code": code}
    answer = visitor.submit(visitor.get("/recover/"), recover | new)
    assert answer.status == 200
    assert holders(demo, code) | holders(demo, third) == set()
    assert sign_in(demo, third).get("/settings/").url == "/settings/"
