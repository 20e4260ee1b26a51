"""Alice, whom everybody here attacks, and Mallory, who is signed in as well."""

from __future__ import annotations

from tests.mailbox.conftest import boxes
from tests.reading.conftest import (
    alice,
    bob,
    mallory,
    new_person,
    node,
    plain_static_files,
    running_agents,
    trusted,
)

__all__ = [
    "alice",
    "bob",
    "boxes",
    "mallory",
    "new_person",
    "node",
    "plain_static_files",
    "running_agents",
    "trusted",
]
