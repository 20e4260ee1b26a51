"""From what the server says of a mail to its row. Never raises: a broken mail gets a bare row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from webmail.mailbox.imap import Fetched
from webmail.mailbox.models import (
    ADDRESS_LENGTH,
    MESSAGE_ID_LENGTH,
    SUBJECT_LENGTH,
    Kind,
    Message,
)
from webmail.message import addresses, headers

TO_LENGTH: Final = 1_000
"""Characters of recipients kept for list and search."""

REFERENCES_KEPT: Final = 50

PARTS_LIMIT: Final = 1_000
"""Parts of a structure looked at for attachments."""

_SYSTEM_FLAGS: Final = {
    "\\seen": "seen",
    "\\flagged": "flagged",
    "\\answered": "answered",
    "\\draft": "draft",
    "\\deleted": "deleted",
}


def row(folder_id: int, fetched: Fetched) -> Message:
    """An unsaved :class:`Message` for one FETCH answer."""
    message = Message(
        folder_id=folder_id,
        uid=fetched.uid,
        internal_date=_utc(fetched.internal_date),
        size=fetched.size,
    )
    apply_flags(message, fetched.flags)
    try:
        _describe(message, fetched)
    except Exception:  # whatever a hostile header does, the list must stand
        message.subject = ""
        message.thread_key = _digest(f"{folder_id}/{fetched.uid}")
    return message


def apply_flags(message: Message, flags: Iterable[str]) -> None:
    """Set the row's flag fields from IMAP flags."""
    keywords = []
    present = set()
    for flag in flags:
        name = _SYSTEM_FLAGS.get(flag.lower())
        if name is not None:
            present.add(name)
        elif not flag.startswith("\\"):
            keywords.append(flag)
    for name in _SYSTEM_FLAGS.values():
        setattr(message, name, name in present)
    message.keywords = " ".join(sorted(keywords))[:500]


FLAG_FIELDS: Final = (*_SYSTEM_FLAGS.values(), "keywords")


def _describe(message: Message, fetched: Fetched) -> None:
    block = headers.Headers(fetched.header)
    senders = addresses.parse(block.first("from")) if block.count("from") == 1 else []
    if senders:
        message.from_name = senders[0].name[:ADDRESS_LENGTH]
    if len(senders) == 1:
        message.from_address = senders[0].address[:ADDRESS_LENGTH]
    recipients = addresses.parse(block.first("to")) + addresses.parse(block.first("cc"))
    message.to = ", ".join(
        f"{box.name} <{box.address}>" if box.name else box.address for box in recipients[:50]
    )[:TO_LENGTH]
    message.subject = block.text("subject")[:SUBJECT_LENGTH]
    message.date = headers.date(block.first("date"))
    message.message_id = _first_id(block.first("message-id"))
    message.in_reply_to = _first_id(block.first("in-reply-to"))
    references = headers.message_ids(block.first("references"), limit=REFERENCES_KEPT)
    message.references = " ".join(references)
    message.thread_key = _digest(
        (references[0] if references else "")
        or message.in_reply_to
        or message.message_id
        or f"{message.folder_id}/{message.uid}"
    )
    message.kind = kind(block.first("content-type"))
    message.has_attachments = message.kind != Kind.ENCRYPTED and has_attachments(fetched.structure)
    message.bulk = bool(block.first("list-id")) or block.first("precedence").lower() in {
        b"bulk",
        b"list",
    }


def kind(content_type: bytes) -> str:
    """Plain, signed or encrypted by the outermost Content-Type (RFC 8551 §3.2, §3.5)."""
    media_type, parameters = headers.content_type(content_type)
    if media_type == "multipart/signed":
        protocol = parameters.get("protocol", "").lower()
        if protocol in {"application/pkcs7-signature", "application/x-pkcs7-signature"}:
            return Kind.SIGNED
        return Kind.PLAIN
    smime_type = parameters.get("smime-type", "").lower()
    if media_type in {"application/pkcs7-mime", "application/x-pkcs7-mime"}:
        if smime_type == "signed-data":
            return Kind.SIGNED
        if smime_type in {"certs-only", "compressed-data"}:
            return Kind.PLAIN
        return Kind.ENCRYPTED
    name = parameters.get("name", "").lower()
    if media_type == "application/octet-stream" and name.endswith(".p7m"):
        return Kind.ENCRYPTED
    return Kind.PLAIN


def has_attachments(structure: Any) -> bool:
    """Whether BODYSTRUCTURE names a part that a person would call an attachment."""
    waiting = [structure]
    for _count in range(PARTS_LIMIT):
        if not waiting:
            return False
        part = waiting.pop()
        if not isinstance(part, tuple | list) or not part:
            continue
        if isinstance(part[0], tuple | list):  # multipart: the parts, then the subtype
            nested = part[0] if isinstance(part[0], list) else part[:1]
            waiting.extend(nested)
            continue
        if _is_attachment(part):
            return True
    return False


def _is_attachment(part: tuple[Any, ...] | list[Any]) -> bool:
    media_type, subtype = _word(part, 0), _word(part, 1)
    if media_type == "application" and subtype in {"pkcs7-signature", "x-pkcs7-signature"}:
        return False
    if media_type == "message" and subtype in {"rfc822", "global"}:
        return True
    disposition = ""
    for item in part[7:]:
        if (
            isinstance(item, tuple)
            and len(item) == 2
            and isinstance(item[0], bytes)
            and item[0].lower() in {b"attachment", b"inline"}
        ):
            disposition = item[0].lower().decode()
    if disposition == "attachment":
        return True
    parameters = part[2] if len(part) > 2 and isinstance(part[2], tuple) else ()
    named = any(isinstance(word, bytes) and word.lower() == b"name" for word in parameters[::2])
    in_body = len(part) > 3 and part[3] is not None  # a Content-ID: shown inside the text
    return named and not in_body and media_type != "text"


def _word(part: tuple[Any, ...] | list[Any], index: int) -> str:
    value = part[index] if len(part) > index else None
    return value.decode("ascii", "replace").lower() if isinstance(value, bytes) else ""


def _first_id(value: bytes) -> str:
    found = headers.message_ids(value)
    return headers.clean(found[0])[:MESSAGE_ID_LENGTH] if found else ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _utc(moment: datetime | None) -> datetime:
    if moment is None:
        return datetime.fromtimestamp(0, UTC)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
