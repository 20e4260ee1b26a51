"""Which certificate a mail to an address is encrypted to, and the words for it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any, Final, TypedDict

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from webmail.certificates import directory, judging
from webmail.certificates.facts import address_key
from webmail.certificates.models import Certificate, Pin

RECIPIENTS_LIMIT: Final = 1_000
"""The cap of the whole system; more are refused before any work."""


class RecipientState(TypedDict):
    """What is known of one recipient. ``certificates`` holds DER, empty unless state is
    "certificate"."""

    address: str
    state: str
    """"certificate", "none" or "problem"."""
    level: str
    name: str
    source: str
    not_after: Any
    certificates: list[bytes]
    fingerprints: list[str]
    capabilities: bytes | None
    pending: str
    """SHA-256 of another certificate that waits for the user's word; empty when there is none."""
    sentence: str


def recipients_state(user_id: uuid.UUID | str, addresses: Iterable[str]) -> list[RecipientState]:
    """One state per address, in the order given."""
    wanted = list(addresses)[:RECIPIENTS_LIMIT]
    pins = {
        pin.address: pin
        for pin in Pin.objects.filter(
            user_id=user_id, address__in={address_key(address) for address in wanted}
        ).select_related("certificate", "pending")
    }
    return [_state(user_id, address, pins.get(address_key(address))) for address in wanted]


def _state(user_id: uuid.UUID | str, address: str, pin: Pin | None) -> RecipientState:
    if not address_key(address):
        return _without(
            address, "problem", _("This is not an address. Write it like name@example.org.")
        )
    local = directory.lookup(address)
    if local:
        # Our own authority's word outranks what any mail taught.
        return _with(address, local[0], "own", _("Encrypted: certificate of your organisation"))
    if directory.is_local(address):
        return _without(
            address,
            "none",
            _("No certificate yet: this colleague has not finished the first sign-in."),
        )
    if pin is None:
        return _without(
            address, "none", _("No certificate: a signed mail from this address will bring one.")
        )
    return _pinned(user_id, address, pin)


def _pinned(user_id: uuid.UUID | str, address: str, pin: Pin) -> RecipientState:
    certificate = pin.certificate
    pending = pin.pending.sha256 if pin.pending is not None else ""
    now = timezone.now()
    if certificate.not_after <= now:
        day = date_format(certificate.not_after, "DATE_FORMAT")
        sentence = _("The certificate expired on %(day)s.") % {"day": day}
        if pending:
            sentence += " " + _("A new one came with a signed mail: accept it to use it.")
        return _without(address, "problem", sentence, pending=pending)
    if certificate.not_before > now:
        return _without(address, "problem", _("The certificate is not valid yet."), pending=pending)
    judged = judging.for_encryption(
        bytes(certificate.der), certificate.sha256, pin.address, chain=(), user_id=user_id
    )
    if judged is not None and judged.revocation == "revoked":
        return _without(
            address,
            "problem",
            _("The certificate was revoked. Ask for a new signed mail."),
            pending=pending,
        )
    # An unusable chain stops a certificate that only the chain vouched for.
    if judged is not None and not judged.usable and pin.accepted_at is None:
        return _without(
            address,
            "problem",
            _("The certificate cannot be trusted any more. Ask for a new signed mail."),
            pending=pending,
        )
    if pin.accepted_at is not None:
        sentence = _("Encrypted: certificate accepted by you on %(day)s") % {
            "day": date_format(pin.accepted_at, "DATE_FORMAT")
        }
    else:
        sentence = _("Encrypted: certificate from a signed mail of %(day)s") % {
            "day": date_format(pin.first_seen, "DATE_FORMAT")
        }
    if pending:
        sentence += ". " + _("Another certificate came since; this one is used until you decide.")
    return _with(address, certificate, certificate.source, sentence, pending=pending)


def _with(
    address: str, certificate: Certificate, source: str, sentence: str, *, pending: str = ""
) -> RecipientState:
    return {
        "address": address,
        "state": "certificate",
        "level": certificate.level,
        "name": certificate.name,
        "source": source,
        "not_after": certificate.not_after,
        "certificates": [bytes(certificate.der)],
        "fingerprints": [certificate.sha256],
        "capabilities": bytes(certificate.capabilities) if certificate.capabilities else None,
        "pending": pending,
        "sentence": sentence,
    }


def _without(address: str, state: str, sentence: str, *, pending: str = "") -> RecipientState:
    return {
        "address": address,
        "state": state,
        "level": "",
        "name": "",
        "source": "",
        "not_after": None,
        "certificates": [],
        "fingerprints": [],
        "capabilities": None,
        "pending": pending,
        "sentence": sentence,
    }
