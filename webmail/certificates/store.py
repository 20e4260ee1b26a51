"""Keep certificates: one row each by SHA-256, whoever brought it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from django.db import transaction
from django.utils import timezone

from webmail.certificates.facts import Facts, NotACertificate, fingerprint, read
from webmail.certificates.models import Certificate, CertificateAddress, Intermediate

USED_EVERY: Final = timedelta(hours=1)
"""How exact ``used_at`` is: an opened mail need not write every time."""

INTERMEDIATES_PER_MAIL: Final = 10
"""Path length 8 and a spare pair: a mail cannot fill the table with its bag."""


def keep(der: bytes, source: str) -> Certificate:
    """The row of an end-entity certificate, made when new. Raises NotACertificate.

    What one of our people was issued outranks what a mail taught.
    """
    facts = read(der)
    if facts.is_authority:
        raise NotACertificate("an authority's certificate")
    return keep_facts(facts, source)


def keep_facts(facts: Facts, source: str) -> Certificate:
    with transaction.atomic():
        row, made = Certificate.objects.get_or_create(
            sha256=facts.sha256,
            defaults={
                "der": facts.der,
                "name": facts.name,
                "organisation": facts.organisation,
                "country": facts.country,
                "subject": facts.subject,
                "issuer": facts.issuer,
                "serial": facts.serial,
                "level": facts.level,
                "key": facts.key,
                "can_sign": facts.can_sign,
                "can_encrypt": facts.can_encrypt,
                "not_before": facts.not_before,
                "not_after": facts.not_after,
                "source": source,
            },
        )
        if made:
            CertificateAddress.objects.bulk_create(
                CertificateAddress(certificate=row, address=address) for address in facts.addresses
            )
        elif source == Certificate.Source.OWN and row.source != source:
            row.source = source
            row.save(update_fields=["source"])
    return row


def keep_intermediates(ders: Iterable[bytes], *, url: str = "") -> list[str]:
    """Remember CA certificates for path building; returns the SHA-256 of those kept.

    They are untrusted: only a path that ends at a trusted root makes them mean anything.
    """
    given = {fingerprint(der): der for der in map(bytes, ders)}
    now = timezone.now()
    fresh = set(
        Intermediate.objects.filter(sha256__in=given, used_at__gt=now - USED_EVERY).values_list(
            "sha256", flat=True
        )
    )
    kept: list[str] = []
    for sha256, der in given.items():
        if len(kept) >= INTERMEDIATES_PER_MAIL:
            break
        if sha256 in fresh:
            kept.append(sha256)
            continue
        try:
            facts = read(der)
        except NotACertificate:
            continue
        if not facts.is_authority:
            continue
        Intermediate.objects.get_or_create(
            sha256=facts.sha256,
            defaults={
                "der": der,
                "subject": facts.subject,
                "not_after": facts.not_after,
                "url": url,
            },
        )
        kept.append(facts.sha256)
    used = set(kept) - fresh
    if used:
        Intermediate.objects.filter(sha256__in=used).update(used_at=now)
    return kept


__all__ = ["fingerprint", "keep", "keep_facts", "keep_intermediates"]
