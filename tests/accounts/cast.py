"""The cast of these tests, and real processes for them to speak to."""

from __future__ import annotations

import re
import secrets
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from launcher.dovecot import Dovecot
from tests.support.agent_node import AgentNode, running_node
from tests.support.servers import PASSWORD as MAIL_PASSWORD
from webmail.accounts import invitations, provision, sign_in
from webmail.accounts.discovery import Server
from webmail.accounts.models import User
from webmail.agent import nodes
from webmail.authority.setup import set_up
from webmail.celery import app

ALICE = "alice@acme.example"
BOB = "bob@acme.example"
ALICES_PASSWORD = "four calm words of alice"
BOBS_PASSWORD = "what bob says at night"
FORM = "application/x-www-form-urlencoded"
RECOVERY_CODE = re.compile(r"[A-Z2-7]{4}(?:-[A-Z2-7]{4}){7}")


@pytest.fixture(scope="session")
def running_agents(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentNode]:
    """One real agent node for all tests: supervisor, relay, service agents."""
    spool: Path = tmp_path_factory.mktemp("spool")
    with running_node(broker, spool, name=f"n{secrets.token_hex(4)}") as node:
        app.conf.update(broker_url=broker, result_backend=broker)
        yield node


@pytest.fixture(autouse=True)
def plain_static_files(settings: Any) -> None:
    """Tests render pages without having collected static files."""
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


@pytest.fixture
def node(db: None, running_agents: AgentNode, settings: Any) -> AgentNode:
    """The node, known to this test's database, with the authority set up.

    Keys are elliptic here: they are made at once, RSA-3072 takes seconds.
    """
    settings.KEY_ALGORITHM = "p-256"
    settings.SPOOL_DIR = running_agents.spool
    nodes.remember(running_agents.descriptor())
    set_up()
    return running_agents


def add_person(address: str, name: str, dovecot: Dovecot | None = None) -> User:
    """Somebody provisioned and not yet invited; their mailbox is on ``dovecot`` if given."""
    port = dovecot.imap_port if dovecot else 1
    imap = Server("imap", "127.0.0.1", port, "none", address, "test")
    smtp = Server("smtp", "127.0.0.1", 1, "none", address, "test")
    password = MAIL_PASSWORD if dovecot else ""
    return provision.add_person(
        provision.Wanted(name, (address,), imap=imap, smtp=smtp, mail_password=password)
    ).user


def link_of(user: User) -> str:
    """The path of a new invitation."""
    return urllib.parse.urlsplit(invitations.invite(user)).path


def post(client: Client, path: str, fields: dict[str, str], **headers: str) -> HttpResponse:
    """A form as a browser sends it."""
    body = urllib.parse.urlencode(fields)
    answer: Any = client.post(path, body, content_type=FORM, headers=headers)
    return answer  # type: ignore[no-any-return]


def browser() -> Client:
    """A client on https, with the CSRF check on."""
    return Client(enforce_csrf_checks=False)


def accept(client: Client, user: User, password: str) -> str:
    """Accept an invitation in ``client``; returns the recovery code."""
    answer = post(client, link_of(user), {"password": password, "password_again": password})
    assert answer.status_code == 200, answer.content.decode()
    found = RECOVERY_CODE.search(answer.content.decode())
    assert found is not None
    return found[0]


@pytest.fixture
def alice(node: AgentNode) -> User:
    """Alice, activated, and signed in nowhere. Her ``recovery_code`` is kept for tests."""
    user = add_person(ALICE, "Alice Adams")
    user.recovery_code = accept(browser(), user, ALICES_PASSWORD)  # type: ignore[attr-defined]
    sign_in.lock_everywhere(user, sign_out_others=True)
    user.browser_sessions.all().delete()
    user.refresh_from_db()
    return user


@pytest.fixture
def client_of_alice(alice: User) -> Client:
    """A browser in which Alice is signed in and unlocked."""
    client = browser()
    answer = post(client, "/sign-in/", {"address": ALICE, "password": ALICES_PASSWORD})
    assert answer.status_code == 303, answer.content.decode()
    return client
