"""Learn a correspondent's encryption certificate from a signed mail, and never be taught a lie.

The gate, in this order: the verdict is "verified"; the mail has one From and the signer's
certificate names it; the encryption certificate names it too, is meant for encryption and judged
usable for that address now. A pinned certificate is never replaced: another one waits for the user.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from webmail.certificates import directory, history, judging, store
from webmail.certificates.facts import Facts, NotACertificate, address_key, fingerprint, read
from webmail.certificates.models import Certificate, Pin

CANDIDATES_LIMIT: Final = 8
"""Certificates of one mail that are looked at: signer, preferred, and a few of the bag."""

CLOCK_LEEWAY: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class Harvested:
    """``outcome``: "" (nothing to learn), "new", "known" or "change" (waits for the user)."""

    outcome: str
    address: str = ""
    sha256: str = ""


NOTHING: Final = Harvested("")

SHUT: Final = ("decrypt.locked", "decrypt.no_key", "decrypt.failed", "decrypt.unsupported")
"""Notices of a mail whose inside nobody has seen."""


def is_shut(opened: dict[str, Any]) -> bool:
    """Whether a layer of the mail stayed closed, in the result of ``open``."""
    return any(str(each["code"]).startswith(SHUT) for each in opened.get("notices", []))


def consider(
    user_id: uuid.UUID | str, opened: dict[str, Any], *, counted: bool = False
) -> Harvested:
    """Look at the result of ``open``: count it for continuity, learn its certificate.

    ``counted``: :func:`history.of_mail` has just said that this mail was.
    """
    verdict, headers = opened["verdict"], opened["headers"]
    sender = _single_from(headers)
    if not sender:
        return NOTHING
    verified = verdict["state"] == "verified" and verdict["signer"] is not None
    new = False
    # A mail that stayed closed, or whose signature is broken, says nothing of its sender's habit.
    shut = is_shut(opened)
    if not counted and (verified or (verdict["state"] == "unsigned" and not shut)):
        new = history.count(
            user_id,
            sender,
            message_id=str(headers.get("message_id") or ""),
            signer=str(verdict["signer"]["fingerprint"]) if verified else "",
            when=_time_of(verdict),
        )
    if not verified:
        return NOTHING
    signer = verdict["signer"]
    # The signer's own certificate must name the From; the verdict says so, and it is cheap to see.
    if sender not in {address_key(address) for address in signer["addresses"]}:
        return NOTHING
    learned = "" if new else _is_learned(user_id, sender, opened, signer)
    if learned:
        return Harvested("known", sender, learned)
    store.keep_intermediates(signer["chain"])
    if directory.is_local(sender):
        return NOTHING  # our own authority's word outranks what a mail teaches
    chain = [bytes(der) for der in signer["chain"]]
    for facts in _candidates(opened, signer, sender):
        judged = judging.for_encryption(
            facts.der, facts.sha256, sender, chain=chain, user_id=user_id
        )
        if judged is not None and judged.usable and judged.revocation != "revoked":
            outcome = _remember(user_id, sender, facts)
            _note_capabilities(facts, verdict, opened)
            return Harvested(outcome, sender, facts.sha256)
    return NOTHING


def _is_learned(
    user_id: uuid.UUID | str, sender: str, opened: dict[str, Any], signer: dict[str, Any]
) -> str:
    """Fingerprint of the pinned certificate when a mail that was counted before teaches nothing
    more: the certificate it asks to be answered with is pinned, and its capabilities are noted."""
    preferred, capabilities = _wishes(opened, signer)
    sha256 = fingerprint(bytes(preferred or signer["der"]))
    pins = Pin.objects.filter(user_id=user_id, address=sender, certificate__sha256=sha256)
    noted = list(pins.values_list("certificate__capabilities_at", flat=True))
    return sha256 if noted and (noted[0] is not None or not capabilities) else ""


def _wishes(opened: dict[str, Any], signer: dict[str, Any]) -> tuple[bytes | None, bytes | None]:
    """What the sender's program said of itself: certificate to answer to, and capabilities."""
    return (
        signer.get("encryption_certificate") or opened.get("encryption_certificate"),
        signer.get("capabilities") or opened.get("capabilities"),
    )


def _single_from(headers: dict[str, Any]) -> str:
    mailboxes = headers.get("from") or []
    if len(mailboxes) != 1 or headers.get("from_mismatch"):
        return ""
    return address_key(str(mailboxes[0]["address"]))


def _time_of(verdict: dict[str, Any]) -> datetime:
    """Proven time, else when our server received it, else now; never the sender's claim."""
    told = verdict.get("time") or {}
    stamp = told.get("proven") or told.get("received")
    if not stamp:
        return timezone.now()
    return datetime.fromtimestamp(min(stamp / 1000, timezone.now().timestamp()), UTC)


def _candidates(opened: dict[str, Any], signer: dict[str, Any], sender: str) -> list[Facts]:
    """Certificates meant for encryption to ``sender``, the sender's own preference first.

    encrypKeyPref (RFC 8551 §2.5.3), then the signer's own certificate, then the rest of the bag by
    the newest start of validity.
    """
    preferred, _ = _wishes(opened, signer)
    first = [bytes(der) for der in (preferred, signer["der"]) if der]
    rest: list[Facts] = []
    found: list[Facts] = []
    seen: set[bytes] = set()
    for der in [*first, *(bytes(der) for der in signer.get("bag") or signer["chain"])]:
        if der in seen or len(seen) >= CANDIDATES_LIMIT:
            continue
        seen.add(der)
        try:
            facts = read(der)
        except NotACertificate:
            continue
        now = timezone.now()
        if not facts.can_encrypt or not facts.not_before <= now < facts.not_after:
            continue
        if sender in facts.addresses:
            (found if der in first else rest).append(facts)
    return found + sorted(rest, key=lambda facts: facts.not_before, reverse=True)


def _remember(user_id: uuid.UUID | str, sender: str, facts: Facts) -> str:
    with transaction.atomic():
        certificate = store.keep_facts(facts, Certificate.Source.HARVESTED)
        pin, made = Pin.objects.select_related("certificate").get_or_create(
            user_id=user_id, address=sender, defaults={"certificate": certificate}
        )
        if made:
            return "new"
        if pin.certificate_id == certificate.pk:
            return "known"
        if _older(certificate, pin.certificate):
            return "known"  # an old mail was opened: it says nothing about today
        Pin.objects.filter(pk=pin.pk).exclude(pending=certificate).update(
            pending=certificate, pending_since=timezone.now()
        )
    return "change"


def _older(one: Certificate, other: Certificate) -> bool:
    return one.not_before < other.not_before and one.not_after <= other.not_after


def _note_capabilities(facts: Facts, verdict: dict[str, Any], opened: dict[str, Any]) -> None:
    """RFC 8551 §2.7.1: newer signingTime only, never from the future, and signed by its owner."""
    signer = verdict["signer"]
    _, capabilities = _wishes(opened, signer)
    claimed = (verdict.get("time") or {}).get("claimed")
    if not capabilities or not claimed:
        return
    when = datetime.fromtimestamp(claimed / 1000, UTC)
    if when > timezone.now() + CLOCK_LEEWAY:
        return
    row = Certificate.objects.filter(sha256=facts.sha256).first()
    if row is not None and (row.capabilities_at is None or row.capabilities_at < when):
        Certificate.objects.filter(pk=row.pk).update(
            capabilities=bytes(capabilities), capabilities_at=when
        )
