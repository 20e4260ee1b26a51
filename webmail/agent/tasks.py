"""Housekeeping of keys: heartbeats of nodes, sweeping of ended sessions and of the spool."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from celery import shared_task
from django.utils import timezone

from crypto_agent.protocol import TASK_ANNOUNCE, ProtocolError
from webmail.agent import door, nodes
from webmail.agent.exchange import spool
from webmail.agent.models import KeySession, Lease, Node

SPOOL_LIFETIME_S: Final = 300.0
"""Requests live 60 s, replies are fetched at once: what is older was left by a crash."""
DEAD_NODE: Final = timedelta(minutes=2)
FORGOTTEN_NODE: Final = timedelta(days=7)


@shared_task(name=TASK_ANNOUNCE)  # type: ignore[untyped-decorator]  # Celery has no types
def announce_node(wire: dict[str, Any]) -> None:
    """A relay says that its node is there. Whoever can write to the broker can say so too; the
    signature in the descriptor decides."""
    try:
        nodes.remember(wire)
    except ProtocolError:
        return


@shared_task  # type: ignore[untyped-decorator]  # Celery has no types
def sweep_sessions() -> int:
    """Lock what has expired. Agents end by their own clocks; this deletes the blobs."""
    expired = KeySession.objects.exclude(door._living())
    ended = 0
    for user_id, pk in expired.values_list("user_id", "pk")[:1000]:
        door.lock(user_id.hex, session=pk.hex)
        ended += 1
    return ended


@shared_task  # type: ignore[untyped-decorator]  # Celery has no types
def sweep_nodes() -> None:
    """A dead node's leases end, so that its users go on elsewhere."""
    now = timezone.now()
    dead = list(Node.objects.filter(seen_at__lt=now - DEAD_NODE).values_list("name", flat=True))
    Lease.objects.filter(node__in=dead).delete()
    Node.objects.filter(seen_at__lt=now - FORGOTTEN_NODE).delete()


@shared_task  # type: ignore[untyped-decorator]  # Celery has no types
def sweep_spool() -> int:
    """Delete sealed blobs that nobody fetched."""
    return spool().sweep(older_than_s=SPOOL_LIFETIME_S)
