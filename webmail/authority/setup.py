"""Set up the built-in authority: keys in its agent, certificates and first lists here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction

from webmail.agent import door
from webmail.authority import lists, store
from webmail.authority.models import AuthorityCertificate

Kind = AuthorityCertificate.Kind


class AuthorityReplaced(Exception):
    """The agent node holds another authority than the database remembers."""


@dataclass(frozen=True)
class SetUp:
    created: bool
    """Whether the keys were made now."""
    root: AuthorityCertificate


def set_up(*, base_url: str | None = None, domains: tuple[str, ...] = ()) -> SetUp:
    """Make what is missing; running it again changes nothing. Raises ProtocolError, or
    AuthorityReplaced when the keys are not those of the certificates kept here."""
    answer = door.service(
        "authority",
        "init",
        {
            "organisation": settings.ORGANISATION_NAME,
            "country": settings.ORGANISATION_COUNTRY,
            "base_url": base_url or settings.ORIGIN,
            "domains": list(domains),
        },
    )
    try:
        with transaction.atomic():
            root = _keep(answer)
    except LookupError as error:
        raise AuthorityReplaced(str(error)) from error
    lists.publish_due()
    return SetUp(created=bool(answer["created"]), root=root)


def _keep(answer: dict[str, Any]) -> AuthorityCertificate:
    root = store.keep_authority(bytes(answer["root"]), kind=Kind.ROOT, name="root")
    issuing = root
    for level, der in answer["issuing"].items():
        issuing = store.keep_authority(
            bytes(der), kind=Kind.ISSUING, name=level.lower(), level=level, issuer=root
        )
    store.keep_authority(bytes(answer["tsa"]), kind=Kind.TIMESTAMP, name="tsa", issuer=root)
    for purpose in ("sign", "encrypt"):
        store.keep_authority(
            bytes(answer["postmaster"][purpose]),
            kind=Kind.POSTMASTER,
            name=f"postmaster-{purpose}",
            level="V1",
            issuer=issuing,
        )
    return root
