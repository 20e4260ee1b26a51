"""The certificates of our own people: remembered when issued, found by their address."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from webmail.certificates import store
from webmail.certificates.models import Certificate, OwnCertificate

if TYPE_CHECKING:
    from webmail.accounts.models import User


def remember(user: User, issued: Iterable[tuple[bytes, Sequence[bytes]]]) -> list[OwnCertificate]:
    """Keep what the authority issued to ``user``: (certificate, chain without the root or with).

    Called again with the same certificates it changes nothing. Raises NotACertificate.
    """
    rows: list[OwnCertificate] = []
    with transaction.atomic():
        for der, chain in issued:
            certificate = store.keep(der, Certificate.Source.OWN)
            kept = store.keep_intermediates(chain)
            purposes = [
                purpose
                for purpose, fits in (
                    (OwnCertificate.Purpose.SIGN, certificate.can_sign),
                    (OwnCertificate.Purpose.ENCRYPT, certificate.can_encrypt),
                )
                if fits
            ]
            for purpose in purposes:
                row, _made = OwnCertificate.objects.get_or_create(
                    user=user,
                    certificate=certificate,
                    purpose=purpose,
                    defaults={"chain": kept},
                )
                rows.append(row)
    return rows


def current(user_id: uuid.UUID, purpose: str) -> OwnCertificate | None:
    """The newest certificate that is valid now; None when there is none."""
    now = timezone.now()
    return (
        OwnCertificate.objects.filter(
            user_id=user_id,
            purpose=purpose,
            certificate__not_before__lte=now,
            certificate__not_after__gt=now,
        )
        .select_related("certificate")
        .order_by("-certificate__not_before", "-id")
        .first()
    )


def encryption_certificates_of(address: str) -> list[Certificate]:
    """Certificates of the local person who owns ``address`` (as :func:`facts.address_key` writes
    it), newest first, valid now."""
    now = timezone.now()
    rows = (
        OwnCertificate.objects.filter(
            purpose=OwnCertificate.Purpose.ENCRYPT,
            certificate__addresses__address=address,
            user__addresses__address__iexact=address,
            user__is_active=True,
            certificate__not_before__lte=now,
            certificate__not_after__gt=now,
        )
        .select_related("certificate")
        .order_by("-certificate__not_before", "-id")
    )
    return [row.certificate for row in rows]
