"""Take certificates back. It cannot be undone: a list that others hold cannot be recalled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from webmail.authority import tasks
from webmail.authority.models import IssuedCertificate, RevocationReason

if TYPE_CHECKING:
    from webmail.accounts.models import User


def revoke(
    certificates: Iterable[IssuedCertificate],
    reason: RevocationReason = RevocationReason.UNSPECIFIED,
) -> int:
    """Revoke from now on; how many were still valid. The list is published after the commit."""
    ids = [row.pk for row in certificates]
    with transaction.atomic():
        count = IssuedCertificate.objects.filter(
            pk__in=ids, status=IssuedCertificate.Status.VALID
        ).update(
            status=IssuedCertificate.Status.REVOKED,
            reason=reason.value,
            revoked_at=timezone.now(),
        )
        if count:
            transaction.on_commit(tasks.ring)
    return count


def revoke_all_of(
    user: User, reason: RevocationReason = RevocationReason.AFFILIATION_CHANGED
) -> int:
    """Everything issued to ``user``, when they leave; how many were still valid."""
    return revoke(user.issued_certificates.all(), reason)
