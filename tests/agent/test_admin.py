"""The list of nodes in the admin, with a real one that answers and one that does not."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tests.support.agent_node import AgentNode
from webmail.accounts.models import User
from webmail.agent.door import KeyHolderSession
from webmail.agent.models import Node

pytestmark = pytest.mark.process

PASSWORD = "the administrator of the nodes"


@pytest.fixture
def administrator(db: None, settings: Any) -> Client:
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
    User.objects.create_superuser("root", PASSWORD)
    client = Client()
    client.post("/admin/login/", {"username": "root", "password": PASSWORD})
    return client


def rows(administrator: Client) -> dict[str, str]:
    """Name of a node → its row."""
    answer = administrator.get("/admin/agent/node/")
    assert answer.status_code == 200
    _head, *found = answer.content.decode().split('field-name">')
    return {row.partition("<")[0]: row for row in found}


def test_a_node_says_how_it_is(
    known_node: AgentNode, alice: KeyHolderSession, administrator: Client
) -> None:
    Node.objects.create(name="elsewhere", descriptor={}, start="x", seen_at=timezone.now())
    found = rows(administrator)
    living = found[known_node.name]
    assert "answers" in living
    assert 'field-unlocked">1<' in living
    assert "authority, postmaster, timestamp, verifier" in living
    assert "answers" not in found["elsewhere"]


def test_nobody_types_a_node(administrator: Client) -> None:
    assert administrator.get("/admin/agent/node/add/").status_code == 403
