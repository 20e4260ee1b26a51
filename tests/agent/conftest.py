"""Real agent nodes, and Alice with a vault on one of them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.agent.speaker import PASSWORD
from tests.support.agent_node import AgentNode, running_node, use_broker
from webmail.accounts.models import User
from webmail.agent import door, nodes
from webmail.agent.door import KeyHolderSession
from webmail.celery import app

ALICE = "alice@acme.example"
MALLORY = "mallory@acme.example"


class StartNode(Protocol):
    def __call__(self, **settings: str) -> AbstractContextManager[AgentNode]: ...


@pytest.fixture
def start_node(broker: str, tmp_path: Path) -> StartNode:
    """Start a node of one's own, with settings of one's own."""

    @contextmanager
    def start(**settings: str) -> Iterator[AgentNode]:
        name = f"n{secrets.token_hex(4)}"
        with running_node(broker, tmp_path, name=name, **settings) as node:
            node.wait_for_services()
            yield node

    return start


@pytest.fixture(scope="package")
def shared_node(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentNode]:
    """A node for tests that leave it as it was."""
    spool = tmp_path_factory.mktemp("spool")
    with running_node(broker, spool, name=f"n{secrets.token_hex(4)}") as node:
        node.wait_for_services()
        yield node


@pytest.fixture
def node(shared_node: AgentNode) -> AgentNode:
    """The shared node, without any user's agent."""
    shared_node.end_agents()
    return shared_node


def introduce(node: AgentNode, settings: Any) -> None:
    """Let the web side of this process know the node: broker, spool, database row."""
    settings.KEY_ALGORITHM = "p-256"
    settings.SPOOL_DIR = node.spool
    app.conf.update(broker_url=node.broker, result_backend=node.broker)
    use_broker(node.broker, node.spool)
    nodes.remember(node.descriptor())


def with_vault(address: str) -> tuple[User, KeyHolderSession]:
    user = User.objects.create_user(address)
    holder, _ = door.create_vault(
        user.hex,
        {
            "password": bytearray(PASSWORD),
            "addresses": [address],
            "key_algorithm": "p-256",
        },
    )
    return user, holder


@pytest.fixture
def known_node(db: None, node: AgentNode, settings: Any) -> AgentNode:
    introduce(node, settings)
    return node


@pytest.fixture
def alice(known_node: AgentNode) -> KeyHolderSession:
    """Alice, unlocked in one browser."""
    _, holder = with_vault(ALICE)
    return holder
