"""How much a certificate claims to know about its holder: V1 to V4, read from policy OIDs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

BASELINE_ARC: Final = "2.23.140.1.5"
"""CA/B Forum S/MIME Baseline Requirements §7.1.6.1: ``.x.y``, x = who, y = generation."""

_BASELINE_LEVELS: Final = {
    "1": "V1",  # mailbox-validated
    "4": "V2",  # individual-validated
    "2": "V3",  # organization-validated
    "3": "V4",  # sponsor-validated: a person, vouched for by an organisation
}
_GENERATIONS: Final = frozenset({"1", "2", "3"})  # legacy, multipurpose, strict

OWN_ARC: Final = "1.2.840.113556.1.8000.2554.64553.39087.42362.18013.47994.3934768.5050679"
"""Sealpost's own policy arc; ``.1`` to ``.4`` are V1 to V4.

It is a UUID (fc2998af-a57a-465d-bb7a-3c0a304d1137) under the arc that Microsoft opened for exactly
this use. The standard way, 2.25.<UUID> (ITU-T X.667), has one arc of 128 bits, which X.509 software
with 32-bit arcs cannot read, and an unreadable policies extension fails the whole certificate.
"""

OWN_POLICIES: Final = {f"V{level}": f"{OWN_ARC}.{level}" for level in range(1, 5)}

MAILBOX_LEGACY: Final = "2.23.140.1.5.1.1"
MAILBOX_STRICT: Final = "2.23.140.1.5.1.3"

_BY_OWN_POLICY: Final = {oid: level for level, oid in OWN_POLICIES.items()}


def level_of_policy(oid: str) -> str:
    """``V1`` to ``V4``, or empty for a policy that we do not know."""
    if oid in _BY_OWN_POLICY:
        return _BY_OWN_POLICY[oid]
    prefix, _, tail = oid.rpartition(f"{BASELINE_ARC}.")
    kind, _, generation = tail.partition(".")
    if prefix or generation not in _GENERATIONS or not oid.startswith(BASELINE_ARC):
        return ""
    return _BASELINE_LEVELS.get(kind, "")


def level_of(policies: Iterable[str]) -> str:
    """The level that a certificate with these (valid) policies has; unknown or none is V1.

    With several known policies the lowest counts: a certificate must not be worth more for
    carrying more claims.
    """
    known = sorted(level for level in map(level_of_policy, policies) if level)
    return known[0] if known else "V1"
