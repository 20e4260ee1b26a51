"""The first mail in a new inbox: a short tour, itself signed, timestamped and encrypted.

It is written by the system mailbox, whose keys live in a service agent, and put straight into the
person's inbox: what is shown is what every mail will look like.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string
from django.utils import translation

from webmail.accounts.models import MailAccount, User
from webmail.agent import door
from webmail.authority import timestamp
from webmail.authority.models import AuthorityCertificate
from webmail.certificates import facts, own
from webmail.mailbox.append import append
from webmail.mailbox.models import Role

SERVICE = "postmaster"


def deliver(user: User) -> int:
    """Put the tour into the inbox of ``user``; returns its UID. A second call changes nothing.

    Raises ProtocolError, MailServerError, and LookupError when there is no system mailbox or no
    encryption certificate.
    """
    account = MailAccount.objects.get(user=user)
    return append(account, Role.INBOX, write(user), flags=())


def write(user: User) -> bytes:
    """The sealed tour mail. Raises ProtocolError and LookupError."""
    address, certificate = user.address, own.current(user.pk, "encrypt")
    if certificate is None:
        raise LookupError("the person has no encryption certificate")
    sender = _sender()
    held = door.service(
        SERVICE,
        "hold",
        {
            "draft": _draft(user, sender, address),
            "recipients": [
                {
                    "address": address,
                    "kind": "to",
                    "certificates": [bytes(certificate.certificate.der)],
                    "capabilities": None,
                }
            ],
            "encrypt": True,
            "from": sender,
            "message_id": message_id(user.pk, sender["address"]),
        },
    )["held"]
    signed = door.service(SERVICE, "release_sign", {"held": held, "date": int(time.time() * 1000)})
    token = timestamp.token_for(bytes(signed["imprint"]))
    made = door.service(SERVICE, "release_seal", {"state": signed["state"], "token": token})
    return bytes(made["copies"][0]["mail"])


def message_id(user: uuid.UUID, sender: str) -> str:
    """The same for every attempt, so that a repeated one finds the first one's mail."""
    return f"<tour.{user.hex}@{sender.partition('@')[2]}>"


def _sender() -> dict[str, str]:
    system = AuthorityCertificate.objects.filter(
        kind=AuthorityCertificate.Kind.POSTMASTER, name="postmaster-sign"
    )
    certificate = system.order_by("-pk").first()
    if certificate is None:
        raise LookupError("the authority was not made yet; run: manage.py init_authority")
    address = facts.read(bytes(certificate.der)).addresses[0]
    return {"name": f"{settings.ORGANISATION_NAME} · Sealpost", "address": address}


def _draft(user: User, sender: dict[str, str], address: str) -> dict[str, Any]:
    with translation.override(user.language or settings.LANGUAGE_CODE):
        context = {"person": user.display_name or address, "origin": settings.ORIGIN}
        subject = translation.gettext("Welcome: how to read a sealed mail")
        html = render_to_string("onboarding/tour_mail.html", context)
        text = render_to_string("onboarding/tour_mail.txt", context)
    return {
        "subject": subject,
        "from": sender,
        "to": [{"name": user.display_name, "address": address}],
        "cc": [],
        "bcc": [],
        "text": text,
        "html": html,
        "attachments": [],
        "in_reply_to": "",
        "references": [],
        "headers": {},
    }
