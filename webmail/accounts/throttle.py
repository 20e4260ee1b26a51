"""Brakes on guessing, shared by all web processes through the database.

A token bucket per name tried and per network address. Every try takes a token before anything is
checked, so that parallel guesses count as well; success gives it back. The agent has a brake of
its own behind this one (ten failures in fifteen minutes per vault).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from webmail.accounts.models import Throttle

FORGET_AFTER: Final = timedelta(days=1)
"""Any bucket is full again long before."""


@dataclass(frozen=True)
class Brake:
    """``capacity`` tries at once, then one every ``refill_seconds``."""

    kind: str
    capacity: int
    refill_seconds: float


BY_NAME: Final = Brake("name", 5, 180.0)
"""At most ten in fifteen minutes, so that the agent's own brake is never reached first: it would
break the promise of when to try again."""
BY_NETWORK: Final = Brake("network", 30, 20.0)
"""An office behind one address signs in on Monday morning; successes are given back."""
BY_INVITATION: Final = Brake("invitation", 20, 30.0)
"""Tokens have 256 bits, so this only spares the database."""


def _key(brake: Brake, subject: str) -> str:
    text = f"{brake.kind}\0{subject}".encode()
    return hmac.new(settings.SECRET_KEY.encode(), text, hashlib.sha256).hexdigest()


def take(brake: Brake, subject: str) -> int:
    """Take one token: 0 when there was one, otherwise the seconds to wait for the next."""
    with transaction.atomic():
        now = timezone.now()
        bucket, _ = Throttle.objects.select_for_update().get_or_create(
            key=_key(brake, subject),
            defaults={"tokens": float(brake.capacity), "updated_at": now},
        )
        elapsed = max(0.0, (now - bucket.updated_at).total_seconds())
        tokens = min(float(brake.capacity), bucket.tokens + elapsed / brake.refill_seconds)
        wait = 0
        if tokens < 1.0:
            wait = math.ceil((1.0 - tokens) * brake.refill_seconds)
        else:
            tokens -= 1.0
        bucket.tokens, bucket.updated_at = tokens, now
        bucket.save(update_fields=["tokens", "updated_at"])
    return wait


def give_back(brake: Brake, subject: str) -> None:
    """After success: the try does not count."""
    with transaction.atomic():
        bucket = Throttle.objects.select_for_update().filter(key=_key(brake, subject)).first()
        if bucket is not None:
            bucket.tokens = min(float(brake.capacity), bucket.tokens + 1.0)
            bucket.save(update_fields=["tokens"])


def forget_old() -> int:
    """Delete buckets that are full again; returns how many."""
    deleted, _ = Throttle.objects.filter(updated_at__lt=timezone.now() - FORGET_AFTER).delete()
    return deleted


def network_of(request: HttpRequest) -> str:
    """What is counted as one visitor: an IPv4 address, or the /64 that one IPv6 customer has."""
    address = client_address(request)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


def client_address(request: HttpRequest) -> Ip | None:
    """Whom we talk to. ``X-Forwarded-For`` counts only as far as our own proxies wrote it."""
    hops = [request.META.get("REMOTE_ADDR", "")]
    hops += reversed(request.META.get("HTTP_X_FORWARDED_FOR", "").split(","))
    known: Ip | None = None
    for hop in hops:
        address = _parse(hop.strip())
        if address is None:
            return known
        known = address
        if not any(address in network for network in settings.TRUSTED_PROXIES):
            return known
    return known


def client_ip(request: HttpRequest) -> str:
    """The same as text, for django-axes."""
    return str(client_address(request) or "")


def _parse(text: str) -> Ip | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
