from __future__ import annotations

from tests.accounts.cast import alice, client_of_alice, node, plain_static_files, running_agents

__all__ = ["alice", "client_of_alice", "node", "plain_static_files", "running_agents"]
