"""What is being written, and what is on its way. ``docs/message-states.md`` tells the states.

No row holds a word of a mail in clear: drafts are sealed by the owner's agent, attachments under
keys which that agent sealed, and mail ready for the wire under the server key ring.
"""

from __future__ import annotations

import uuid
from typing import Final

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

ADDRESS_LENGTH: Final = 320
MESSAGE_ID_LENGTH: Final = 500


class Draft(models.Model):
    """One mail being written. ``version`` grows by one with every save: two tabs cannot overwrite
    one another unseen."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="drafts"
    )
    version = models.PositiveIntegerField(default=0)
    mail = models.BinaryField(null=True)
    """The message encrypted to its writer, as it also lies in the Drafts folder."""
    sealed_about = models.BinaryField(null=True)
    """What it answers or forwards, sealed by the owner's agent (:class:`drafts.About`)."""

    imap_uid = models.BigIntegerField(null=True, blank=True)
    """Of the copy in the Drafts folder; every version has the same Message-ID there."""
    imap_uid_validity = models.BigIntegerField(null=True, blank=True)
    """Without the same validity the UID may name another mail."""
    imap_version = models.PositiveIntegerField(default=0)
    """The version that lies in the Drafts folder."""
    filing_until = models.DateTimeField(null=True, blank=True)
    """Set while one worker stores the copy: the winner of the conditional update."""
    closing = models.BooleanField(default=False)
    """Thrown away or sent: the worker removes the copy in Drafts, then the row."""

    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now)

    user_id: uuid.UUID
    attachments: models.Manager[DraftAttachment]

    class Meta:
        ordering = ["-updated_at"]
        indexes = [models.Index(fields=["user", "-updated_at"], name="draft_by_user")]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def message_id(self) -> str:
        """The Message-ID of its copies in the Drafts folder, which tells nothing but that."""
        return f"<{self.id.hex}@draft.invalid>"


class DraftAttachment(models.Model):
    """The sealed bytes of one attachment, under a key of its own."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    draft = models.ForeignKey(Draft, on_delete=models.CASCADE, related_name="attachments")
    size = models.PositiveBigIntegerField()
    """Bytes of the attachment itself: what counts towards the limit."""
    sealed_facts = models.BinaryField()
    """Name, type and key, sealed by the owner's agent."""
    sealed = models.BinaryField()
    """12-byte nonce and AES-256-GCM ciphertext, bound to draft and attachment id."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    draft_id: uuid.UUID

    def __str__(self) -> str:
        return str(self.id)


class State(models.TextChoices):
    """Where a mail stands. Only :mod:`webmail.compose.outbox` changes it."""

    QUEUED = "queued", _("Waiting to be sent")
    PREPARED = "prepared", _("Signed and sealed")
    SUBMITTING = "submitting", _("Being handed over")
    ACCEPTED = "accepted", _("Accepted by the mail server")
    REJECTED = "rejected", _("Refused by the mail server")
    UNKNOWN = "unknown", _("Not known whether it was sent")
    FILED = "filed", _("In the Sent folder")
    DONE = "done", _("Sent")
    CANCELLED = "cancelled", _("Taken back")
    QUARANTINED = "quarantined", _("Set aside")


FINAL_STATES: Final = frozenset({State.DONE, State.CANCELLED})
"""Nothing more happens by itself or by anybody."""

WAITING_STATES: Final = frozenset({State.REJECTED, State.UNKNOWN, State.QUARANTINED})
"""The user must say what happens next (``unknown`` is also resolved by proof)."""

MOVING_STATES: Final = frozenset(
    {State.QUEUED, State.PREPARED, State.SUBMITTING, State.ACCEPTED, State.FILED}
)
"""The sweeper rings for these when nobody else does."""


class Outgoing(models.Model):
    """One mail on its way: one row, one transaction a step."""

    id = models.UUIDField(primary_key=True)
    """Made by the browser with the form: pressing Send twice makes one row."""
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="outgoing"
    )
    draft = models.ForeignKey(
        Draft, null=True, blank=True, on_delete=models.SET_NULL, related_name="outgoing"
    )
    state = models.CharField(max_length=11, choices=State.choices, default=State.QUEUED)
    held = models.CharField(max_length=24, blank=True)
    """Why a moving row stands still: "locked", "retry", or an agent's error code."""
    message_id = models.CharField(max_length=MESSAGE_ID_LENGTH)
    """With angle brackets; fixed at queueing, for ever."""
    envelope_from = models.CharField(max_length=ADDRESS_LENGTH)
    will_encrypt = models.BooleanField(default=True)
    """What the user was told when pressing Send; the sealed blob obeys it too."""
    sealed_summary = models.BinaryField(null=True, blank=True)
    """Subject for the outbox page, sealed by the owner's agent."""

    queued_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField()
    """End of the undo window, or the time the user chose."""
    next_at = models.DateTimeField(db_index=True)
    """Nothing happens before; moved by every back-off."""
    rung_at = models.DateTimeField(null=True, blank=True)
    attempt = models.PositiveIntegerField(default=0)
    """n of submitting(n)."""
    claim = models.UUIDField(null=True, blank=True)
    """Set while one worker moves the row: whoever wins the conditional update."""
    claim_until = models.DateTimeField(null=True, blank=True)
    crashes = models.PositiveIntegerField(default=0)
    """Claims that were never given back."""

    held_blob = models.BinaryField(null=True, blank=True)
    """From the agent's ``hold``: the whole mail under the vault's draft key, until prepared."""
    sent_sealed = models.BinaryField(null=True, blank=True)
    """The copy for the Sent folder, under the server key ring, until filed."""
    encrypted = models.BooleanField(default=False)
    timestamped = models.BooleanField(default=False)
    prepared_at = models.DateTimeField(null=True, blank=True)
    """Date and signingTime."""
    accepted_at = models.DateTimeField(null=True, blank=True)
    filed_at = models.DateTimeField(null=True, blank=True)
    sent_uid = models.BigIntegerField(null=True, blank=True)

    answers_folder = models.BigIntegerField(null=True, blank=True)
    """Id of the folder row of the mail it answers or forwards, its UID and which of the two."""
    answers_uid = models.BigIntegerField(null=True, blank=True)
    answers_flag = models.CharField(max_length=12, blank=True)
    """"\\Answered" or "$Forwarded"."""
    problem = models.CharField(max_length=40, blank=True)
    """Code of the last failure (:mod:`webmail.compose.sentences`)."""

    user_id: uuid.UUID
    draft_id: uuid.UUID | None
    copies: models.Manager[Copy]
    recipients: models.Manager[Recipient]

    class Meta:
        ordering = ["-queued_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["draft"],
                condition=~models.Q(state="cancelled"),
                name="draft_sent_once",
            )
        ]
        indexes = [
            models.Index(fields=["user", "-queued_at"], name="outgoing_by_user"),
            models.Index(fields=["state", "next_at"], name="outgoing_to_move"),
        ]
        verbose_name = _("outgoing mail")
        verbose_name_plural = _("outgoing mail")

    def __str__(self) -> str:
        return str(self.id)


class Copy(models.Model):
    """One SMTP transaction: the main mail, or the separate envelope of one Bcc recipient."""

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        SUBMITTING = "submitting", _("being handed over")
        DOT = "dot", _("waiting for the server's word")
        ACCEPTED = "accepted", _("accepted")
        REJECTED = "rejected", _("refused")
        UNKNOWN = "unknown", _("not known")

    outgoing = models.ForeignKey(Outgoing, on_delete=models.CASCADE, related_name="copies")
    position = models.PositiveIntegerField()
    kind = models.CharField(max_length=4)
    """"main" or "bcc"."""
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    sealed = models.BinaryField(null=True, blank=True)
    """The bytes that leave, under the server key ring, until the copy is settled."""
    sha256 = models.CharField(max_length=64)
    """Of the bytes that leave, before dot-stuffing."""
    size = models.PositiveBigIntegerField()
    reply = models.CharField(max_length=500, blank=True)
    """The server's last word on it, such as "250 2.0.0 Ok: queued as 4X"."""

    outgoing_id: uuid.UUID

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["outgoing", "position"], name="copy_once")]

    def __str__(self) -> str:
        return f"{self.outgoing_id}/{self.position}"


class Recipient(models.Model):
    """One address of the envelope and what the server said to it."""

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        ACCEPTED = "accepted", _("accepted")
        REFUSED = "refused", _("refused")
        UNKNOWN = "unknown", _("not known")

    outgoing = models.ForeignKey(Outgoing, on_delete=models.CASCADE, related_name="recipients")
    position = models.PositiveIntegerField(default=0)
    """The copy it belongs to, once prepared."""
    address = models.CharField(max_length=ADDRESS_LENGTH)
    kind = models.CharField(max_length=3)
    """"to", "cc" or "bcc"."""
    certificates = models.JSONField(default=list)
    """SHA-256 of the certificates it is encrypted to; empty when it is not."""
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    reply = models.CharField(max_length=500, blank=True)

    outgoing_id: uuid.UUID

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.address
