"""Cached rows of folders and messages. IMAP is the truth: rows here may be dropped and re-read.

What stands here in clear is what the mail server itself can read. The subject, preview and verdict
of an encrypted mail are kept only in ``sealed_summary``, under the vault of the mailbox's owner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.db import models
from django.utils.translation import gettext_lazy as _

from webmail.message import addresses

if TYPE_CHECKING:
    import uuid

ADDRESS_LENGTH: Final = 320
"""local part 64 + "@" + domain 255 (RFC 5321 §4.5.3.1): longer ones are cut for the list."""

SUBJECT_LENGTH: Final = 998
"""The longest line of a message (RFC 5322 §2.1.1); longer subjects are cut for the list."""

MESSAGE_ID_LENGTH: Final = 500
"""Enough to tell mails apart; at most 2,000 bytes, which PostgreSQL can index (limit 2,704)."""


class Role(models.TextChoices):
    """What a folder is for (RFC 6154 special use, and INBOX)."""

    INBOX = "inbox", _("Inbox")
    DRAFTS = "drafts", _("Drafts")
    SENT = "sent", _("Sent")
    ARCHIVE = "archive", _("Archive")
    JUNK = "junk", _("Spam")
    TRASH = "trash", _("Trash")
    OTHER = "", _("Folder")


class Kind(models.TextChoices):
    """How a mail presents itself by its structure, before anything was checked."""

    PLAIN = "plain", _("Plain")
    SIGNED = "signed", _("Signed")
    ENCRYPTED = "encrypted", _("Encrypted")


class Folder(models.Model):
    """One mailbox on the server, and how far its rows are known (RFC 9051 §2.3.1)."""

    account = models.ForeignKey(
        "accounts.MailAccount", on_delete=models.CASCADE, related_name="folders"
    )
    name = models.CharField(max_length=255)
    """Decoded from modified UTF-7; unique within the account."""
    delimiter = models.CharField(max_length=1, blank=True)
    role = models.CharField(max_length=8, choices=Role.choices, default=Role.OTHER, blank=True)
    selectable = models.BooleanField(default=True)

    uid_validity = models.BigIntegerField(default=0)
    uid_next = models.BigIntegerField(default=0)
    """Every UID below it that exists on the server has a row; rows above it may exist already."""
    highest_modseq = models.BigIntegerField(default=0)
    """0 when the server has no CONDSTORE (RFC 7162)."""
    exists = models.IntegerField(default=0)
    """How many mails the server said it has; more than ``total`` while the first sync runs."""

    total = models.IntegerField(default=0)
    """How many rows we have."""
    unread = models.IntegerField(default=0)

    synced_at = models.DateTimeField(null=True, blank=True)
    sync_token = models.UUIDField(null=True, blank=True)
    """Set while one worker syncs: whoever wins the conditional update owns the folder's cursor."""
    sync_until = models.DateTimeField(null=True, blank=True)
    """When the token lapses although its worker never gave it back."""
    problem = models.CharField(max_length=40, blank=True)
    """Code of the last failure to reach the server (``MailServerError.code``), empty when well."""

    account_id: uuid.UUID | int
    messages: models.Manager[Message]

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "name"], name="folder_once_per_account"),
        ]
        indexes = [models.Index(fields=["account", "role"], name="folder_by_role")]

    def __str__(self) -> str:
        return self.name

    @property
    def is_inbox(self) -> bool:
        return self.role == Role.INBOX

    @property
    def label(self) -> str:
        """What people call it: the role's word, or the last element of its name."""
        if self.role:
            return str(Role(self.role).label)
        return self.name.rsplit(self.delimiter, 1)[-1] if self.delimiter else self.name

    @property
    def depth(self) -> int:
        """How deep the folder lies below the top, for indentation."""
        return self.name.count(self.delimiter) if self.delimiter else 0


class Message(models.Model):
    """One mail in one folder: what a list shows without asking the server."""

    folder = models.ForeignKey(Folder, on_delete=models.CASCADE, related_name="messages")
    uid = models.BigIntegerField()

    seen = models.BooleanField(default=False)
    flagged = models.BooleanField(default=False)
    answered = models.BooleanField(default=False)
    draft = models.BooleanField(default=False)
    deleted = models.BooleanField(default=False)
    keywords = models.CharField(max_length=500, blank=True)
    """Other flags, separated by blanks, as the server spells them."""

    internal_date = models.DateTimeField()
    """When the server received it: the only time in a list that the sender cannot choose."""
    date = models.DateTimeField(null=True, blank=True)
    """The Date header: the sender's claim."""
    size = models.BigIntegerField(default=0)

    from_name = models.CharField(max_length=ADDRESS_LENGTH, blank=True)
    from_address = models.CharField(max_length=ADDRESS_LENGTH, blank=True)
    """Lower-cased domain, as compared everywhere; empty when the From is not one mailbox."""
    to = models.TextField(blank=True)
    """To and Cc as people read them, cut to what a list needs."""
    subject = models.CharField(max_length=SUBJECT_LENGTH, blank=True)
    """The outer one. Of an encrypted mail it may be "[...]": see ``sealed_summary``."""

    message_id = models.CharField(max_length=MESSAGE_ID_LENGTH, blank=True)
    in_reply_to = models.CharField(max_length=MESSAGE_ID_LENGTH, blank=True)
    references = models.TextField(blank=True)
    """Message-IDs separated by blanks, oldest first."""
    thread_key = models.CharField(max_length=32, blank=True)
    """Same for mails that name the same first Message-ID of their References."""

    kind = models.CharField(max_length=9, choices=Kind.choices, default=Kind.PLAIN)
    has_attachments = models.BooleanField(default=False)
    bulk = models.BooleanField(default=False)
    """Carries List-Id or Precedence: bulk: a list or newsletter."""

    verdict_state = models.CharField(max_length=10, blank=True)
    """"verified", "unverified", "failed", "unsigned"; empty until judged, and for sealed mail."""
    verdict_level = models.CharField(max_length=2, blank=True)
    signer_name = models.CharField(max_length=ADDRESS_LENGTH, blank=True)
    signer_organisation = models.CharField(max_length=ADDRESS_LENGTH, blank=True)
    signer_fingerprint = models.CharField(max_length=64, blank=True)
    timestamped = models.BooleanField(default=False)
    revocation = models.CharField(max_length=8, blank=True)
    judged_at = models.DateTimeField(null=True, blank=True)

    snippet = models.CharField(max_length=200, blank=True)
    """First words of a mail that is not encrypted."""
    sealed_summary = models.BinaryField(null=True, blank=True)
    """Subject, snippet and verdict of an encrypted mail, sealed by the owner's agent."""

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["folder", "uid"], name="message_once_per_folder"),
        ]
        indexes = [
            # A list page: newest first inside one folder, by keyset.
            models.Index(fields=["folder", "-internal_date", "-uid"], name="message_list"),
            models.Index(fields=["folder", "seen"], name="message_unread"),
            models.Index(fields=["folder", "message_id"], name="message_by_id"),
            models.Index(fields=["from_address", "verdict_state"], name="message_by_signer"),
            models.Index(fields=["thread_key"], name="message_thread"),
        ]

    def __str__(self) -> str:
        return f"{self.folder_id}/{self.uid}"

    @property
    def flags(self) -> frozenset[str]:
        """Flags as IMAP spells them."""
        named = {
            "\\Seen": self.seen,
            "\\Flagged": self.flagged,
            "\\Answered": self.answered,
            "\\Draft": self.draft,
            "\\Deleted": self.deleted,
        }
        return frozenset(name for name, value in named.items() if value) | frozenset(
            self.keywords.split()
        )

    @property
    def sender(self) -> str:
        """For a list: the name the mail claims, or its address."""
        return addresses.shown(self.from_name, self.from_address)

    def address(self) -> dict[str, Any]:
        """Keyword arguments of the message's URL."""
        return {"folder_id": self.folder_id, "uid": self.uid}

    folder_id: int
