"""Addresses to offer while a recipient is typed: colleagues first, then who wrote before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.db.models import Count, Q

from webmail.accounts.models import Address
from webmail.certificates import match
from webmail.certificates.facts import address_key
from webmail.mailbox.models import Message
from webmail.message.addresses import shown

if TYPE_CHECKING:
    from webmail.accounts.models import User

LIMIT: Final = 8
SHORTEST: Final = 1
LONGEST: Final = 100


def suggestions(user: User, query: str) -> list[dict[str, Any]]:
    """At most eight: {"address", "name", "state", "words"}."""
    query = query.strip()
    if not SHORTEST <= len(query) <= LONGEST:
        return []
    found: dict[str, tuple[str, str]] = {}
    colleagues = Address.objects.filter(
        Q(address__istartswith=query) | Q(user__display_name__icontains=query),
        user__is_active=True,
    ).select_related("user")
    for each in colleagues.order_by("address")[:LIMIT]:
        found.setdefault(address_key(each.address), (each.address, each.user.display_name))
    if len(found) < LIMIT:
        seen = (
            Message.objects.filter(folder__account__user=user, bulk=False)
            .filter(Q(from_address__istartswith=query) | Q(from_name__icontains=query))
            .exclude(from_address="")
            .values("from_address", "from_name")
            .annotate(count=Count("pk"))
            .order_by("-count")[: 2 * LIMIT]
        )
        for row in seen:
            address, name = row["from_address"], row["from_name"]
            named = name if shown(name, address) == name else ""  # not one that poses as another
            found.setdefault(address_key(address), (address, named))
    chosen = [value for key, value in found.items() if key][:LIMIT]
    states = match.recipients_state(user.pk, [address for address, _name in chosen])
    return [
        # The name is the certificate's where there is one: anybody may choose a display name.
        {
            "address": address,
            "name": state["name"] or name,
            "state": state["state"],
            "words": state["sentence"],
        }
        for (address, name), state in zip(chosen, states, strict=True)
    ]
