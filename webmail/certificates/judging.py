"""Ask the key-less verifier what a certificate is worth now, for one address."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from crypto_agent.protocol import ProtocolError
from webmail.agent import door
from webmail.certificates import material, refresh

REMEMBER_SECONDS: Final = 30.0
"""A page asks for the same recipients at every key press; a revocation list changes in hours."""
REMEMBER_LIMIT: Final = 2_000


@dataclass(frozen=True)
class Judgement:
    """``revocation``: "good", "revoked" or "unknown"; ``reason``: code of the first failed fact."""

    usable: bool
    revocation: str
    reason: str


_lock = threading.Lock()
_remembered: dict[tuple[str, str, str], tuple[float, Judgement]] = {}


def for_encryption(
    der: bytes, sha256: str, address: str, *, chain: Sequence[bytes], user_id: uuid.UUID | str
) -> Judgement | None:
    """None when the verifier cannot be asked now."""
    key = (str(user_id), sha256, address)
    now = time.monotonic()
    with _lock:
        known = _remembered.get(key)
        if known is not None and now - known[0] < REMEMBER_SECONDS:
            return known[1]
    try:
        result = door.service(
            "verifier",
            "judge_certificate",
            {
                "certificate": der,
                "chain": list(chain),
                "trust": material.trust_material(user_id),
                "address": address,
                "purpose": "encrypt",
                "now": int(time.time() * 1000),
            },
        )
    except ProtocolError:
        return None
    # Lists of those we write to stay fresh, also when no mail of theirs is opened.
    refresh.request(result.get("urls") or [])
    facts = result.get("facts", {})
    reason = next(
        (str(fact["code"]) for fact in facts.values() if fact and fact["result"] != "passed"), ""
    )
    judged = Judgement(bool(result["usable"]), str(result["revocation"]), reason)
    with _lock:
        if len(_remembered) >= REMEMBER_LIMIT:
            _remembered.clear()
        _remembered[key] = (now, judged)
    return judged


def forget() -> None:
    """Ask again at the next request of this process."""
    with _lock:
        _remembered.clear()
