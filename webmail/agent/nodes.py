"""Agent nodes: which there are, which one a user's agent is on, and proof that they are ours."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.db.models import Count
from django.utils import timezone

from crypto_agent.protocol import ErrorCode, NodeDescriptor, ProtocolError, node_identity
from webmail.agent.exchange import ask_descriptor, now_ms
from webmail.agent.models import Lease, Node

ALIVE: Final = timedelta(seconds=45)
"""A node says every 10 s that it is there."""


def _prove(untrusted_wire: dict[str, Any]) -> NodeDescriptor:
    identity = node_identity(settings.DEPLOYMENT_SECRET).public_key()
    return NodeDescriptor.from_wire(untrusted_wire, identity, now=now_ms())


def remember(untrusted_wire: dict[str, Any]) -> NodeDescriptor:
    """Keep a node's descriptor and that it is alive. Raises ProtocolError (forged, ...)."""
    descriptor = _prove(untrusted_wire)
    Node.objects.update_or_create(
        name=descriptor.node,
        defaults={
            "descriptor": untrusted_wire,
            "start": descriptor.start,
            "seen_at": timezone.now(),
        },
    )
    return descriptor


def refresh(name: str) -> NodeDescriptor:
    """Ask a node itself who it is now. Raises ProtocolError (node_gone, timeout, ...)."""
    descriptor = remember(ask_descriptor(name))
    if descriptor.node != name:
        raise ProtocolError(ErrorCode.FORGED, "another node answered")
    return descriptor


def describe(node: Node) -> NodeDescriptor:
    """The proven descriptor of a row. Raises ProtocolError (forged, expired, ...)."""
    descriptor = _prove(node.descriptor)
    if descriptor.node != node.name:
        raise ProtocolError(ErrorCode.FORGED, "node row")
    return descriptor


def _alive() -> list[Node]:
    """Living nodes, the least used first; when none says so, all that were ever seen: a worker that
    is down, which writes the heartbeats, must not lock everybody out."""
    nodes = list(Node.objects.all())
    if len(nodes) > 1:
        counted = Lease.objects.values_list("node").annotate(count=Count("pk"))
        leases = dict(counted.values_list("node", "count"))
        nodes.sort(key=lambda node: leases.get(node.name, 0))
    fresh = [node for node in nodes if node.seen_at > timezone.now() - ALIVE]
    return fresh or sorted(nodes, key=lambda node: node.seen_at, reverse=True)


def any_node() -> NodeDescriptor:
    """Some node, for the service agents. Raises ProtocolError (node_gone)."""
    for node in _alive():
        return describe(node)
    raise ProtocolError(ErrorCode.NODE_GONE, "no node has announced itself")


def known_nodes() -> list[str]:
    return list(Node.objects.values_list("name", flat=True))


def node_for(user: str, *, avoid: str = "") -> NodeDescriptor:
    """The node that a user's agent is or shall be on. Raises ProtocolError (node_gone).

    ``avoid`` is a node that just failed to answer: another one is taken if there is any.
    """
    alive = _alive()
    if not alive:
        raise ProtocolError(ErrorCode.NODE_GONE, "no node has announced itself")
    lease = Lease.objects.filter(user_id=user).first()
    for node in alive:
        if lease is not None and node.name == lease.node and node.name != avoid:
            return describe(node)
    chosen = next((node for node in alive if node.name != avoid), alive[0])
    return describe(chosen)


def grant(user: str, node: str) -> None:
    """Remember that the user's agent is on ``node``."""
    with transaction.atomic():
        Lease.objects.update_or_create(user_id=user, defaults={"node": node})
