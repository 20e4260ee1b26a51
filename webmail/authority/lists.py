"""Publish revocation lists: made by the authority's agent, kept as rows, served under /pki/."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from cryptography import x509
from django.db import IntegrityError, transaction
from django.utils import timezone

from webmail.agent import door
from webmail.authority.models import AuthorityCertificate, Crl, IssuedCertificate, RevocationReason

RENEW_AFTER: Final = dt.timedelta(hours=24)
"""Every day anew, although each list is good for a week: peers may cache until nextUpdate."""
KEPT: Final = 10
"""Older lists say nothing that newer ones do not: entries never leave a list."""
ATTEMPTS: Final = 5


def current(issuer: AuthorityCertificate) -> Crl | None:
    return issuer.crls.order_by("-number").first()


def is_due(issuer: AuthorityCertificate) -> bool:
    """No list yet, an old one, or one that lacks a revocation."""
    newest = current(issuer)
    return (
        newest is None
        or newest.this_update + RENEW_AFTER <= timezone.now()
        or newest.entries != len(_revoked(issuer))
    )


def publish(issuer: AuthorityCertificate) -> Crl:
    """Sign and keep the next list of ``issuer``. Raises ProtocolError.

    The number is read before the revocations. Whoever publishes in between takes that number, the
    row below cannot be written, and all is read anew: a newer number never lacks an older entry.
    """
    for attempt in range(ATTEMPTS):
        newest = current(issuer)
        number = 1 if newest is None else newest.number + 1
        revoked = _revoked(issuer)
        answer = door.service(
            "authority",
            "crl",
            {"which": issuer.which, "number": number, "revoked": revoked},
        )
        der = bytes(answer["crl"])
        parsed = x509.load_der_x509_crl(der)
        next_update = parsed.next_update_utc
        assert next_update is not None  # our own lists always name it
        try:
            with transaction.atomic():
                made = Crl.objects.create(
                    issuer=issuer,
                    number=number,
                    der=der,
                    entries=len(revoked),
                    this_update=parsed.last_update_utc,
                    next_update=next_update,
                )
        except IntegrityError:
            if attempt == ATTEMPTS - 1:
                raise
            continue
        issuer.crls.filter(number__lte=number - KEPT).delete()
        return made
    raise AssertionError("unreachable")  # the loop returns or raises


def publish_due() -> int:
    """Publish every list that is due; how many."""
    due = [
        issuer
        for issuer in AuthorityCertificate.objects.filter(
            kind__in=[AuthorityCertificate.Kind.ROOT, AuthorityCertificate.Kind.ISSUING]
        )
        if is_due(issuer)
    ]
    for issuer in due:
        publish(issuer)
    return len(due)


def _revoked(issuer: AuthorityCertificate) -> list[dict[str, Any]]:
    """Everything that this CA ever took back, expired or not, oldest first."""
    people = issuer.issued.filter(status=IssuedCertificate.Status.REVOKED)
    own = issuer.children.filter(revoked_at__isnull=False)
    entries = [
        {
            "serial": serial,
            "at": int(revoked_at.timestamp() * 1000),
            "reason": reason or RevocationReason.UNSPECIFIED.value,
        }
        for rows in (people, own)
        for serial, revoked_at, reason in rows.values_list("serial", "revoked_at", "reason")
        if revoked_at is not None
    ]
    return sorted(entries, key=lambda entry: (entry["at"], entry["serial"]))
