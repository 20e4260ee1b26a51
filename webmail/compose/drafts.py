"""Drafts: sealed by their writer's agent, stored here and in the Drafts folder, never in clear.

``version`` is checked with every save, so that a second tab or an old page cannot overwrite what is
newer. Attachments are sealed as they arrive, each under a key of its own, and do not move the
version: uploading while typing is no conflict.
"""

from __future__ import annotations

import json
import logging
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db import transaction
from django.db.models import F, Q, QuerySet, Sum
from django.utils import timezone

from webmail.agent import door
from webmail.compose.models import Draft, DraftAttachment, Outgoing, State
from webmail.lib.failpoints import failpoint
from webmail.mailbox import append, fetch, imap, sync
from webmail.mailbox.models import Message, Role

if TYPE_CHECKING:
    from webmail.accounts.models import MailAccount, User
    from webmail.agent.door import KeyHolderSession

logger = logging.getLogger(__name__)

ATTACHMENTS_BYTES: Final = 25 * 1024 * 1024
"""Of one mail together: with base64 below the 35 MB that most servers take."""
ATTACHMENTS_COUNT: Final = 100
"""Half of the parts which the reading side takes (200)."""
AUTOSAVE_ATTACHMENT_BYTES: Final = 512 * 1024
"""Autosave repeats attachments in the Drafts folder up to this size; a save on wish always does."""
NAME_LENGTH: Final = 200
UNTOUCHED_FOR: Final = timedelta(days=1)
FILING_LEASE: Final = timedelta(minutes=3)
_NONCE: Final = 12


class DraftConflict(Exception):
    """Somewhere else a newer version was saved."""


class TooLarge(Exception):
    """The attachments together would exceed :data:`ATTACHMENTS_BYTES` or the count."""


class DraftDamaged(Exception):
    """The sealed bytes of an attachment were changed, moved, or are not for this key."""


@dataclass(frozen=True)
class Mailbox:
    """A recipient or sender as written by the user."""

    name: str
    address: str

    def to_wire(self) -> dict[str, str]:
        return {"name": self.name, "address": self.address}


@dataclass(frozen=True)
class About:
    """What the draft answers or forwards. Kept sealed: it tells of an encrypted mail."""

    mode: str = ""
    """"", "reply", "reply_all", "forward" or "forward_attachment"."""
    folder: int = 0
    """Row id of the folder, 0 when it answers nothing."""
    uid: int = 0
    encrypted: bool = False
    """The original was encrypted: its text and subject must not leave in clear."""
    subject: str = ""
    """The original's subject, as it was protected."""
    sender: str = ""
    quoted: str = ""
    """The text quoted from it, to take it out again when the answer is to leave in clear."""
    in_reply_to: str = ""
    references: tuple[str, ...] = ()
    """Message-IDs with their brackets: the form does not carry them."""


@dataclass(frozen=True)
class Part:
    """One attachment of a draft, as listed. ``id`` names the :class:`DraftAttachment` row."""

    id: uuid.UUID
    name: str
    type: str
    size: int
    key: bytes = field(repr=False)
    cid: str = ""
    inline: bool = False


@dataclass(frozen=True)
class Content:
    """What the user wrote."""

    sender: Mailbox
    to: tuple[Mailbox, ...] = ()
    cc: tuple[Mailbox, ...] = ()
    bcc: tuple[Mailbox, ...] = ()
    subject: str = ""
    text: str = ""
    html: str | None = None
    in_reply_to: str = ""
    references: tuple[str, ...] = ()

    @property
    def recipients(self) -> list[tuple[Mailbox, str]]:
        """Every recipient once, with the kind under which it stands first."""
        seen: dict[str, tuple[Mailbox, str]] = {}
        for kind, group in (("to", self.to), ("cc", self.cc), ("bcc", self.bcc)):
            for mailbox in group:
                seen.setdefault(mailbox.address.lower(), (mailbox, kind))
        return list(seen.values())

    @property
    def is_empty(self) -> bool:
        return not (self.recipients or self.subject.strip() or self.text.strip() or self.html)


def to_wire(content: Content, attachments: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The agents' shape of a draft."""
    return {
        "subject": content.subject,
        "from": content.sender.to_wire(),
        "to": [mailbox.to_wire() for mailbox in content.to],
        "cc": [mailbox.to_wire() for mailbox in content.cc],
        "bcc": [mailbox.to_wire() for mailbox in content.bcc],
        "text": content.text,
        "html": content.html,
        "attachments": list(attachments),
        "in_reply_to": content.in_reply_to,
        "references": list(content.references),
        "headers": {},
    }


def from_wire(wire: dict[str, Any]) -> Content:
    def mailboxes(name: str) -> tuple[Mailbox, ...]:
        return tuple(
            Mailbox(str(each["name"]), str(each["address"])) for each in wire.get(name) or []
        )

    sender = wire.get("from") or {"name": "", "address": ""}
    return Content(
        sender=Mailbox(str(sender["name"]), str(sender["address"])),
        to=mailboxes("to"),
        cc=mailboxes("cc"),
        bcc=mailboxes("bcc"),
        subject=str(wire.get("subject") or ""),
        text=str(wire.get("text") or ""),
        html=wire.get("html"),
        in_reply_to=str(wire.get("in_reply_to") or ""),
        references=tuple(str(each) for each in wire.get("references") or []),
    )


# --------------------------------------------------------------------------- the draft itself


def listed(user: User) -> list[Draft]:
    """Drafts that are neither on their way nor thrown away, newest first."""
    busy = Outgoing.objects.filter(user=user).exclude(state=State.CANCELLED)
    return list(
        Draft.objects.filter(user=user, closing=False)
        .exclude(pk__in=busy.filter(draft__isnull=False).values("draft_id"))
        .defer("mail")
    )


def start(
    holder: KeyHolderSession, user: User, content: Content, about: About, *, untouched: bool = False
) -> Draft:
    """A new draft with a first version. ``untouched``: nobody wrote in it yet, so that it does not
    lie in the Drafts folder until somebody does. Raises ProtocolError."""
    sealed_about = _seal(holder, json.dumps(asdict(about)).encode())
    draft = Draft(user=user, sealed_about=sealed_about)
    draft.mail = _seal_draft(holder, content, [])
    draft.version = 1
    draft.imap_version = 1 if untouched else 0
    draft.save(force_insert=True)
    return draft


def read(holder: KeyHolderSession, draft: Draft) -> Content:
    """What was last saved. Raises ProtocolError."""
    opened = door.call(holder, "open_draft", {"mail": bytes(draft.mail or b"")})
    return from_wire(opened["draft"])


def read_about(holder: KeyHolderSession, draft: Draft) -> About:
    """What the draft answers. Raises ProtocolError."""
    if not draft.sealed_about:
        return About()
    plain = door.call(holder, "open_fields", {"items": [bytes(draft.sealed_about)]})["items"][0]
    told = json.loads(plain)
    return About(**{**told, "references": tuple(told.get("references", ()))})


def save(
    holder: KeyHolderSession,
    draft: Draft,
    content: Content,
    *,
    version: int,
    whole: bool = False,
) -> int:
    """Seal and store ``content`` over ``version``; returns the new version.

    ``whole``: the copy in the Drafts folder holds every attachment. Raises DraftConflict, TooLarge,
    ProtocolError.
    """
    parts = attachments(holder, draft)
    if not whole:
        total = sum(part.size for part in parts)
        parts = parts if total <= AUTOSAVE_ATTACHMENT_BYTES else []
    mail = _seal_draft(holder, content, wire_attachments(draft, parts))
    changed = Draft.objects.filter(pk=draft.pk, version=version, closing=False).update(
        mail=mail, version=version + 1, updated_at=timezone.now()
    )
    if not changed:
        raise DraftConflict
    draft.mail, draft.version = mail, version + 1
    return draft.version


def discard(draft: Draft) -> None:
    """Throw the draft away, also in the Drafts folder; the caller rings the worker."""
    Draft.objects.filter(pk=draft.pk).update(closing=True, updated_at=timezone.now())


def _seal_draft(
    holder: KeyHolderSession, content: Content, attached: Sequence[dict[str, Any]]
) -> bytes:
    sealed = door.call(holder, "seal_draft", {"draft": to_wire(content, attached)})
    return bytes(sealed["mail"])


def _seal(holder: KeyHolderSession, plain: bytes) -> bytes:
    return bytes(door.call(holder, "seal_fields", {"items": [plain]})["items"][0])


# --------------------------------------------------------------------------- attachments


def attach(
    holder: KeyHolderSession,
    draft: Draft,
    *,
    name: str,
    type: str,
    data: bytes,
    cid: str = "",
    inline: bool = False,
) -> Part:
    """Seal and store one attachment. Raises TooLarge, ProtocolError."""
    part = Part(
        id=uuid.uuid4(),
        name=_plain_name(name),
        type=_plain_type(type),
        size=len(data),
        key=secrets.token_bytes(32),
        cid=cid,
        inline=inline,
    )
    facts = {
        "name": part.name,
        "type": part.type,
        "key": part.key.hex(),
        "cid": part.cid,
        "inline": part.inline,
    }
    sealed_facts = _seal(holder, json.dumps(facts).encode())
    nonce = secrets.token_bytes(_NONCE)
    sealed = nonce + AESGCM(part.key).encrypt(nonce, data, _blob_context(draft.pk, part.id))
    with transaction.atomic():
        # Touching the draft first makes two uploads of one draft wait for each other.
        Draft.objects.filter(pk=draft.pk).update(updated_at=timezone.now())
        present = DraftAttachment.objects.filter(draft=draft)
        total = present.aggregate(total=Sum("size"))["total"] or 0
        if total + len(data) > ATTACHMENTS_BYTES or present.count() >= ATTACHMENTS_COUNT:
            raise TooLarge
        DraftAttachment.objects.create(
            id=part.id, draft=draft, size=len(data), sealed=sealed, sealed_facts=sealed_facts
        )
    return part


def detach(draft: Draft, attachment_id: uuid.UUID) -> bool:
    """Remove one attachment; False when there was none of that id."""
    return bool(DraftAttachment.objects.filter(draft=draft, pk=attachment_id).delete()[0])


def attachments(holder: KeyHolderSession, draft: Draft) -> list[Part]:
    """The draft's attachments in the order they came. Raises ProtocolError."""
    rows = list(draft.attachments.defer("sealed").order_by("created_at", "id"))
    if not rows:
        return []
    opened = door.call(holder, "open_fields", {"items": [bytes(row.sealed_facts) for row in rows]})
    parts: list[Part] = []
    for row, plain in zip(rows, opened["items"], strict=True):
        facts = json.loads(plain)
        parts.append(
            Part(
                id=row.pk,
                name=facts["name"],
                type=facts["type"],
                size=row.size,
                key=bytes.fromhex(facts["key"]),
                cid=facts["cid"],
                inline=facts["inline"],
            )
        )
    return parts


def wire_attachments(draft: Draft, parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Attachments with their bytes, for the agent. Raises DraftDamaged."""
    return [
        {
            "name": part.name,
            "type": part.type,
            "data": attachment_bytes(draft, part),
            "cid": part.cid or None,
            "inline": part.inline,
        }
        for part in parts
    ]


def attachment_bytes(draft: Draft, part: Part) -> bytes:
    """Raises DraftDamaged."""
    sealed = bytes(DraftAttachment.objects.get(pk=part.id, draft=draft).sealed)
    try:
        return AESGCM(part.key).decrypt(
            sealed[:_NONCE], sealed[_NONCE:], _blob_context(draft.pk, part.id)
        )
    except (InvalidTag, ValueError) as error:
        raise DraftDamaged from error


def _blob_context(draft: uuid.UUID, attachment: uuid.UUID) -> bytes:
    return b"sealpost/1 draft attachment\0" + draft.bytes + attachment.bytes


def _plain_name(name: str) -> str:
    """The last element of what the browser called it, without control characters."""
    leaf = name.replace("\\", "/").rsplit("/", 1)[-1]
    leaf = "".join(c for c in leaf if c.isprintable()).strip(" .")
    if len(leaf) > NAME_LENGTH:
        stem, dot, ending = leaf.rpartition(".")
        ending = ending if dot and len(ending) <= 12 else ""
        leaf = (stem or leaf)[: NAME_LENGTH - len(ending) - 1] + (f".{ending}" if ending else "")
    return leaf or "attachment"


def _plain_type(value: str) -> str:
    """``type/subtype`` in lower case, without parameters; unknown things are octets."""
    kind = value.partition(";")[0].strip().lower()
    main, slash, sub = kind.partition("/")
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789!#$&^_.+-")
    if not slash or not main or not sub or len(kind) > 127 or not set(main + sub) <= allowed:
        return "application/octet-stream"
    if main in {"multipart", "message"} and kind not in {"message/rfc822", "message/global"}:
        return "application/octet-stream"
    return kind


# --------------------------------------------------------------------------- from and to IMAP


def resume(holder: KeyHolderSession, user: User, message: Message) -> Draft:
    """The draft behind a mail of the Drafts folder: our own row, or a new one made from it.

    Raises ProtocolError, MailServerError, TooLarge.
    """
    validity = message.folder.uid_validity
    own = Draft.objects.filter(
        user=user, imap_uid=message.uid, imap_uid_validity=validity, closing=False
    ).first()
    if own is not None:
        return own
    mail = fetch.raw(message)
    opened = door.call(holder, "open_draft", {"mail": mail})["draft"]
    content = from_wire(opened)
    if not content.sender.address:
        content = replace(content, sender=Mailbox("", user.address))
    about = About(in_reply_to=content.in_reply_to, references=content.references)
    draft = start(holder, user, content, about)
    for each in opened.get("attachments") or []:
        attach(
            holder,
            draft,
            name=str(each["name"]),
            type=str(each["type"]),
            data=bytes(each["data"]),
            cid=str(each.get("cid") or ""),
            inline=bool(each.get("inline")),
        )
    # Adopted: the next filing takes the old copy away.
    Draft.objects.filter(pk=draft.pk).update(imap_uid=message.uid, imap_uid_validity=validity)
    return draft


def drop_untouched() -> None:
    """Forget answers that were begun and never written in."""
    old = timezone.now() - UNTOUCHED_FOR
    Draft.objects.filter(
        version=1, imap_version=1, imap_uid__isnull=True, updated_at__lt=old
    ).delete()


def waiting_for_filing() -> QuerySet[Draft]:
    """Rows whose copy in the Drafts folder is not the newest version, or should be gone."""
    now = timezone.now()
    idle = Q(filing_until__isnull=True) | Q(filing_until__lt=now)
    return Draft.objects.filter(idle).filter(Q(closing=True) | Q(imap_version__lt=F("version")))


def file_draft(pk: uuid.UUID) -> bool:
    """Bring the Drafts folder in line with the row: exactly one copy, the newest, or none.

    Every version carries the same Message-ID, so a copy that an earlier, killed run left is found
    and removed. Returns False when another worker is at it or nothing is to do. Raises
    MailServerError.
    """
    now = timezone.now()
    won = waiting_for_filing().filter(pk=pk).update(filing_until=now + FILING_LEASE)
    if not won:
        return False
    draft = Draft.objects.select_related("user__mail_account").get(pk=pk)
    try:
        account: MailAccount = draft.user.mail_account
        if draft.closing:
            _remove_copies(account, draft, keep=None)
            failpoint("draft.before_delete")
            Draft.objects.filter(pk=pk, closing=True).delete()
            return True
        mail = _with_message_id(bytes(draft.mail or b""), draft.message_id)
        uid = append.append(account, Role.DRAFTS, mail, ("\\Draft", "\\Seen"), once=False)
        failpoint("draft.after_append")
        _remove_copies(account, draft, keep=uid)
        failpoint("draft.before_commit")
        validity = sync.folder_of(account, Role.DRAFTS).uid_validity
        Draft.objects.filter(pk=pk).update(
            imap_uid=uid, imap_uid_validity=validity, imap_version=draft.version
        )
        return True
    finally:
        Draft.objects.filter(pk=pk).update(filing_until=None)


def _remove_copies(account: MailAccount, draft: Draft, *, keep: int | None) -> None:
    folder = sync.folder_of(account, Role.DRAFTS)
    with imap.door(account) as opened:
        opened.select(folder.name)
        found = set(opened.uids_of_message_id(draft.message_id))
    # Adopted from a copy with another Message-ID; under another validity the UID is another mail.
    if draft.imap_uid is not None and draft.imap_uid_validity == folder.uid_validity:
        found.add(draft.imap_uid)
    append.remove(account, Role.DRAFTS, sorted(found - {keep}))


def _with_message_id(mail: bytes, message_id: str) -> bytes:
    """The sealed message with our Message-ID as its first, outer header."""
    head, separator, rest = mail.partition(b"\r\n\r\n")
    kept: list[bytes] = []
    dropping = False
    for line in head.split(b"\r\n"):
        if line[:1] in (b" ", b"\t"):
            if not dropping:
                kept.append(line)
            continue
        dropping = line.lower().startswith(b"message-id:")
        if not dropping:
            kept.append(line)
    return b"\r\n".join([b"Message-ID: " + message_id.encode("ascii"), *kept]) + separator + rest


__all__ = [
    "About",
    "Content",
    "DraftConflict",
    "DraftDamaged",
    "Mailbox",
    "Part",
    "TooLarge",
    "attach",
    "attachments",
    "detach",
    "discard",
    "file_draft",
    "read",
    "read_about",
    "resume",
    "save",
    "start",
]
