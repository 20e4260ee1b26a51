"""What the web keeps about keys: sealed records, blobs of living sessions, nodes, and the audit."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class Vault(models.Model):
    """A user's keys as the agent sealed them. Opaque here: nothing in this program's web part can
    open or change it."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="vault"
    )
    record = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = _("vault")
        verbose_name_plural = _("vaults")

    def __str__(self) -> str:
        return str(self.user_id)


class KeySession(models.Model):
    """One browser that unlocked. The blob opens only with the secret in that browser's cookie."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="key_sessions"
    )
    resume_blob = models.BinaryField()
    descriptor = models.BinaryField()
    """Where this session's requests go; authenticated by the session secret."""
    node = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)
    used_at = models.DateTimeField(db_index=True)
    """Last activity of the person, exact to some seconds."""
    expires_at = models.DateTimeField(db_index=True)
    """Absolute end."""

    class Meta:
        verbose_name = _("unlocked session")
        verbose_name_plural = _("unlocked sessions")

    def __str__(self) -> str:
        return str(self.pk)


class Node(models.Model):
    """An agent node as it described itself. The signature in the descriptor is checked at each
    use: a row that somebody else wrote leads nowhere."""

    name = models.CharField(max_length=64, primary_key=True)
    descriptor = models.JSONField()
    start = models.CharField(max_length=64)
    seen_at = models.DateTimeField()

    class Meta:
        verbose_name = _("key service node")
        verbose_name_plural = _("key service nodes")

    def __str__(self) -> str:
        return self.name


class Lease(models.Model):
    """Which node a user's agent runs on, so that there is one agent per user."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="lease"
    )
    node = models.CharField(max_length=64, db_index=True)
    granted_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = _("agent lease")
        verbose_name_plural = _("agent leases")

    def __str__(self) -> str:
        return f"{self.user_id} on {self.node}"


class AuditHead(models.Model):
    """Length and last MAC of one holder's chain of :class:`KeyUse`; shows a cut-off end."""

    holder = models.CharField(max_length=64, primary_key=True)
    number = models.BigIntegerField(default=0)
    mac = models.BinaryField(max_length=32)

    def __str__(self) -> str:
        return self.holder


class KeyUse(models.Model):
    """One use of a key: who, in which session, which key, for what, with what outcome. Never
    content. Each row's MAC covers the row before it."""

    holder = models.CharField(max_length=64)
    """User id (hex), or ``service:<name>``."""
    number = models.BigIntegerField()
    at = models.BigIntegerField()
    """Milliseconds since the epoch."""
    session = models.CharField(max_length=32, blank=True)
    key = models.CharField(max_length=32, blank=True)
    operation = models.CharField(max_length=40)
    digest = models.CharField(max_length=64, blank=True)
    outcome = models.CharField(max_length=40)
    mac = models.BinaryField(max_length=32)

    class Meta:
        verbose_name = _("key use")
        verbose_name_plural = _("key uses")
        constraints = [
            models.UniqueConstraint(fields=["holder", "number"], name="one_row_per_key_use")
        ]

    def __str__(self) -> str:
        return f"{self.holder} {self.number}"
