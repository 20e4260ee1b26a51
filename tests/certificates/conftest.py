from __future__ import annotations

from tests.accounts.cast import (
    alice,
    client_of_alice,
    node,
    plain_static_files,
    running_agents,
)
from tests.compose.conftest import bob

__all__ = ["alice", "bob", "client_of_alice", "node", "plain_static_files", "running_agents"]
