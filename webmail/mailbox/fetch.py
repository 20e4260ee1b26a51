"""The bytes of one mail, as the server stored them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from webmail.mailbox import imap
from webmail.mailbox.models import Message


@dataclass(frozen=True)
class RawMail:
    """A mail byte for byte, and when the server received it."""

    data: bytes
    received: datetime | None


def raw_mail(message: Message, *, limit: int = imap.MAIL_LIMIT) -> RawMail:
    """Fetch ``message``. Raises MailServerError: missing, changed, too_large, unreachable, …

    A kept connection that died unnoticed is replaced once: reading twice harms nobody.
    """
    try:
        return _read(message, limit)
    except imap.MailServerError as error:
        if error.code != "gone":
            raise
        return _read(message, limit)


def _read(message: Message, limit: int) -> RawMail:
    folder = message.folder
    with imap.door(folder.account) as door:
        door.ensure_selected(folder.name, folder.uid_validity)
        try:
            data, received = door.fetch_raw(message.uid, limit=limit, size=message.size)
        except imap.MailServerError as error:
            if error.code != "missing":
                raise
            # To a connection that selected the folder before the mail came, it does not exist until
            # the server may say so (RFC 9051 section 7.4.1).
            door.check()
            data, received = door.fetch_raw(message.uid, limit=limit, size=message.size)
    if received is not None:
        received = received.astimezone(UTC) if received.tzinfo else received.replace(tzinfo=UTC)
    return RawMail(data, received)


def raw(message: Message) -> bytes:
    """The mail byte for byte. Raises MailServerError."""
    return raw_mail(message).data
