"""A real agent node with the authority set up in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from tests.support.agent_node import AgentNode, running_node
from webmail.accounts.models import Address, User
from webmail.agent import nodes
from webmail.authority.setup import set_up
from webmail.celery import app

ALICE = "alice@acme.example"


@pytest.fixture(scope="session")
def running_agents(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentNode]:
    spool: Path = tmp_path_factory.mktemp("spool")
    with running_node(broker, spool, name="authority") as node:
        app.conf.update(broker_url=broker, result_backend=broker)
        django_settings.SPOOL_DIR = spool
        yield node


@pytest.fixture(autouse=True)
def plain_static_files(settings: Any) -> None:
    """Tests render pages without having collected static files."""
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


@pytest.fixture
def node(db: None, running_agents: AgentNode) -> AgentNode:
    """The node, known to this test's database; the authority is not set up here yet."""
    nodes.remember(running_agents.descriptor())
    return running_agents


@pytest.fixture
def authority(node: AgentNode) -> AgentNode:
    set_up()
    return node


@pytest.fixture
def alice(authority: AgentNode) -> User:
    user = User.objects.create_user(ALICE)
    for address in ("alice.adams@acme.example", ALICE):
        Address.objects.update_or_create(
            address=address, defaults={"user": user, "primary": address == ALICE}
        )
    return user
