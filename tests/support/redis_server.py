"""A private Redis for tests that want one of their own."""

from __future__ import annotations

from tests.support.servers import running_redis

__all__ = ["running_redis"]
