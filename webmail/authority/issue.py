"""Certify the keys of our people: one certificate per request, V1, for all their addresses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from django.db import transaction

from crypto_agent.protocol import ErrorCode, ProtocolError
from webmail.agent import door
from webmail.authority import store
from webmail.authority.models import AuthorityCertificate

if TYPE_CHECKING:
    from webmail.accounts.models import User

LEVEL: Final = "V1"
"""The mailbox is all that we know of a person without somebody looking at papers."""
REQUESTS_LIMIT: Final = 8


def issue_for(user: User, requests: Iterable[Mapping[str, Any]]) -> list[tuple[bytes, list[bytes]]]:
    """``[(certificate, [issuing, root]), ...]``, DER, in the order of ``requests``.

    ``requests``: ``{"purpose": "sign" | "encrypt", "csr": DER}`` as the agent makes them. The
    addresses are those which the user has here, whatever a request says. Raises ProtocolError;
    ``bad_request`` when the authority is not set up or the user has no address.
    """
    wanted = list(requests)
    addresses = [row.address for row in user.addresses.order_by("-primary", "address")]
    if not addresses or len(wanted) > REQUESTS_LIMIT:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "addresses and requests")
    issuer = issuing_certificate()
    answers = [
        (
            str(request["purpose"]),
            door.service(
                "authority",
                "issue",
                {
                    "csr": bytes(request["csr"]),
                    "addresses": addresses,
                    "purpose": str(request["purpose"]),
                    "level": LEVEL,
                },
            ),
        )
        for request in wanted
    ]
    # Rows first, certificates out after: what nobody can revoke must never leave this function.
    with transaction.atomic():
        for purpose, answer in answers:
            store.keep_issued(
                bytes(answer["certificate"]),
                issuer=issuer,
                user=user,
                purpose=purpose,
                level=LEVEL,
                addresses=addresses,
            )
    return [
        (bytes(answer["certificate"]), [bytes(der) for der in answer["chain"]])
        for _, answer in answers
    ]


def issuing_certificate() -> AuthorityCertificate:
    """The CA that certifies mailboxes. Raises ProtocolError (bad_request) before it is set up."""
    found = AuthorityCertificate.objects.filter(
        kind=AuthorityCertificate.Kind.ISSUING, level=LEVEL
    ).first()
    if found is None:
        raise ProtocolError(ErrorCode.BAD_REQUEST, "the authority is not set up")
    return found
