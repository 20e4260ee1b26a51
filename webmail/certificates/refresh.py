"""Fetch revocation lists and issuer certificates that certificates in mail point to.

The one who reads asks (:func:`request`), a worker without keys fetches: the certificate's issuer
learns that somebody of this server reads mail, never who. What is stored is only known to be
parseable; whether its signature is good is for the agent to judge.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone

from webmail.certificates import material, store
from webmail.certificates.models import URL_LENGTH, RevocationList
from webmail.lib import fetch
from webmail.lib.failpoints import failpoint

logger = logging.getLogger(__name__)

URLS_PER_REQUEST: Final = 8
ROWS_LIMIT: Final = 5_000
"""Addresses known at once; strangers choose them."""
SIZE_LIMIT: Final = 4 * 1024 * 1024
TIMEOUT_SECONDS: Final = 20.0
BATCH: Final = 5
"""Fetched by one task run: five times the timeout stays below the task's limit."""

ASK_AGAIN: Final = timedelta(hours=1)
"""How exactly ``asked_at`` is kept: an opened mail need not write every time."""
NEEDED_FOR: Final = timedelta(days=30)
"""A list that nobody met for so long is not fetched any more, and dropped after twice that."""
LONGEST: Final = timedelta(hours=24)
SHORTEST: Final = timedelta(hours=1)
ISSUER_AGAIN: Final = timedelta(days=30)
CLAIM: Final = timedelta(minutes=5)
BACK_OFF: Final = timedelta(minutes=5)


def request(urls: Iterable[str]) -> int:
    """Note that somebody met these addresses; new ones are fetched soon. Returns how many are new.

    Addresses of this very server are left out: its own lists are read from the database.
    """
    now = timezone.now()
    made = 0
    for url in list(dict.fromkeys(urls))[:URLS_PER_REQUEST]:
        if len(url) > URL_LENGTH or url.startswith(settings.ORIGIN.rstrip("/") + "/"):
            continue
        try:
            fetch.check_url(url)
        except fetch.FetchRefused:
            continue
        known = RevocationList.objects.filter(url=url)
        stale = known.filter(Q(asked_at__isnull=True) | Q(asked_at__lt=now - ASK_AGAIN))
        if stale.update(asked_at=now) or known.exists():
            continue
        if RevocationList.objects.count() >= ROWS_LIMIT:
            break
        _row, new = RevocationList.objects.get_or_create(
            url=url, defaults={"asked_at": now, "due_at": now}
        )
        made += new
    if made:
        _ring()
    return made


def _ring() -> None:
    """Have the worker fetch at once; beat does within a minute what a lost doorbell leaves."""
    from webmail.certificates import tasks

    try:
        tasks.refresh_due.delay()
    except Exception:  # whatever the broker's client raises: nothing depends on it
        logger.info("the broker was not reached; lists are fetched by the schedule")


def refresh_due(*, batch: int = BATCH) -> int:
    """Fetch what is due and still needed; returns how many were tried. Never raises for one."""
    now = timezone.now()
    RevocationList.objects.filter(asked_at__lt=now - 2 * NEEDED_FOR).delete()
    due = RevocationList.objects.filter(due_at__lte=now, asked_at__gte=now - NEEDED_FOR)
    tried = 0
    for row in due.defer("der").order_by("due_at")[:batch]:
        # The winner of this update fetches; a second worker finds nothing due.
        won = RevocationList.objects.filter(pk=row.pk, due_at=row.due_at).update(due_at=now + CLAIM)
        if won:
            tried += 1
            refresh_one(row)
    return tried


def refresh_one(row: RevocationList) -> None:
    """One conditional GET and what follows from it."""
    headers = {}
    if row.etag:
        headers["If-None-Match"] = row.etag
    if row.last_modified:
        headers["If-Modified-Since"] = row.last_modified
    try:
        answer = fetch.fetch(row.url, headers=headers, limit=SIZE_LIMIT, timeout=TIMEOUT_SECONDS)
        facts = _unchanged(row) if answer.status == 304 else _taken(row, answer)
    except (fetch.FetchError, ValueError) as error:
        # The address is the sender's choice: the log gets the row's number only.
        logger.info("list %s was not refreshed: %s", row.pk, type(error).__name__)
        delay = min(LONGEST, BACK_OFF * 2 ** min(row.failures, 10))
        RevocationList.objects.filter(pk=row.pk).update(
            failures=F("failures") + 1,
            problem=str(error)[:200],
            due_at=timezone.now() + delay,
        )
        return
    failpoint("refresh.before_store")
    RevocationList.objects.filter(pk=row.pk).update(
        fetched_at=timezone.now(), failures=0, problem="", **facts
    )
    material.forget()


def _unchanged(row: RevocationList) -> dict[str, object]:
    if row.kind == RevocationList.Kind.ISSUER:
        return {"due_at": timezone.now() + ISSUER_AGAIN}
    return {"due_at": _next_try(row.next_update)}


def _taken(row: RevocationList, answer: fetch.Answer) -> dict[str, object]:
    """Column values from an answer. Raises ValueError when it is neither list nor certificate."""
    marks: dict[str, object] = {
        "etag": answer.headers.get("etag", "")[:200],
        "last_modified": answer.headers.get("last-modified", "")[:60],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        crl = _crl(answer.body)
        if crl is not None:
            return marks | _list_facts(row, crl)
        issuers = _issuers(answer.body)
    if not store.keep_intermediates(issuers, url=row.url):
        raise ValueError("The answer is neither a revocation list nor an issuer's certificate.")
    due = timezone.now() + ISSUER_AGAIN
    return marks | {"kind": RevocationList.Kind.ISSUER, "der": None, "due_at": due}


def _list_facts(row: RevocationList, crl: x509.CertificateRevocationList) -> dict[str, object]:
    if row.this_update is not None and crl.last_update_utc < row.this_update:
        raise ValueError("The server gave an older list than before; the newer one is kept.")
    return {
        "kind": RevocationList.Kind.CRL,
        "der": crl.public_bytes(Encoding.DER),
        "issuer": crl.issuer.rfc4514_string()[:400],
        "this_update": crl.last_update_utc,
        "next_update": crl.next_update_utc,
        "due_at": _next_try(crl.next_update_utc),
    }


def _next_try(next_update: datetime | None) -> datetime:
    now = timezone.now()
    wanted = next_update or now + LONGEST
    return min(max(wanted, now + SHORTEST), now + LONGEST)


def _crl(data: bytes) -> x509.CertificateRevocationList | None:
    load = x509.load_pem_x509_crl if b"-----BEGIN" in data[:64] else x509.load_der_x509_crl
    try:
        crl = load(data)
        crl.next_update_utc, crl.issuer, list(crl.extensions)
    except Exception:  # unreadable input raises more than ValueError
        return None
    return crl


def _issuers(data: bytes) -> list[bytes]:
    """Certificates in DER, PEM, or a certs-only CMS message (RFC 5280 §4.2.2.1)."""
    try:
        if b"-----BEGIN" in data[:64]:
            return [c.public_bytes(Encoding.DER) for c in x509.load_pem_x509_certificates(data)]
        return [x509.load_der_x509_certificate(data).public_bytes(Encoding.DER)]
    except Exception:  # not that; perhaps the third form
        return _bag(data)


def _bag(data: bytes) -> list[bytes]:
    try:
        content = cms.ContentInfo.load(data, strict=True)
        if content["content_type"].native != "signed_data":
            return []
        return [item.chosen.dump() for item in content["content"]["certificates"]]
    except Exception:  # asn1crypto raises ValueError, TypeError and more
        return []
