"""What the built-in certificate authority made: its own certificates, those of people, its CRLs.

Private keys are never here: they live sealed in the service agents' state.
"""

from __future__ import annotations

import hashlib

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class AuthorityCertificate(models.Model):
    """A certificate of the authority itself: root, issuing CA, time stamp, postmaster."""

    class Kind(models.TextChoices):
        ROOT = "root", _("root")
        ISSUING = "issuing", _("issuing")
        TIMESTAMP = "timestamp", _("time stamp")
        POSTMASTER = "postmaster", _("postmaster")

    kind = models.CharField(max_length=16, choices=Kind.choices)
    name = models.SlugField(max_length=32, unique=True)
    """Also the file name under /pki/: ``root``, ``v1``, ``tsa``, ``postmaster-sign`` ..."""
    level = models.CharField(max_length=2, blank=True)
    subject = models.CharField(max_length=400)
    fingerprint = models.CharField(max_length=64, unique=True)
    der = models.BinaryField()
    not_before = models.DateTimeField()
    not_after = models.DateTimeField()
    issuer = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="children"
    )
    serial = models.CharField(max_length=40)
    """Lower-case hexadecimal without leading zeros."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    reason = models.CharField(max_length=24, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    issued: models.Manager[IssuedCertificate]
    crls: models.Manager[Crl]
    children: models.Manager[AuthorityCertificate]

    class Meta:
        ordering = ["id"]
        verbose_name = _("authority certificate")
        verbose_name_plural = _("authority certificates")

    def __str__(self) -> str:
        return self.name

    @property
    def which(self) -> str:
        """How the authority's ``crl`` operation calls the key; empty when it signs no lists."""
        if self.kind == self.Kind.ROOT:
            return "root"
        return self.level if self.kind == self.Kind.ISSUING else ""


class RevocationReason(models.TextChoices):
    """RFC 5280 §5.3.1, the reasons that a person may give. Values are what the CRL carries."""

    UNSPECIFIED = "unspecified", _("no reason given")
    KEY_COMPROMISE = "keyCompromise", _("the private key became known")
    AFFILIATION_CHANGED = "affiliationChanged", _("the person left or changed their role")
    SUPERSEDED = "superseded", _("replaced by a newer certificate")
    CESSATION = "cessationOfOperation", _("the address is no longer used")
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn", _("issued by mistake")


class IssuedCertificate(models.Model):
    """One certificate issued to a user. Rows are never deleted: the CRL is made from them."""

    class Status(models.TextChoices):
        VALID = "valid", _("valid")
        REVOKED = "revoked", _("revoked")

    class Purpose(models.TextChoices):
        SIGN = "sign", _("signing")
        ENCRYPT = "encrypt", _("encryption")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        related_name="issued_certificates",
    )
    issuer = models.ForeignKey(
        AuthorityCertificate, on_delete=models.PROTECT, related_name="issued"
    )
    serial = models.CharField(max_length=40, db_index=True)
    """Lower-case hexadecimal without leading zeros."""
    fingerprint = models.CharField(max_length=64, unique=True)
    purpose = models.CharField(max_length=8, choices=Purpose.choices)
    level = models.CharField(max_length=2)
    address = models.CharField(max_length=320, db_index=True)
    addresses = models.JSONField(default=list)
    der = models.BinaryField()
    not_before = models.DateTimeField()
    not_after = models.DateTimeField(db_index=True)
    issued_at = models.DateTimeField(default=timezone.now, editable=False)
    status = models.CharField(
        max_length=8, choices=Status.choices, default=Status.VALID, db_index=True
    )
    reason = models.CharField(max_length=24, choices=RevocationReason.choices, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["issuer", "serial"], name="one_serial_per_issuer")
        ]
        indexes = [models.Index(fields=["user", "purpose", "status"])]
        verbose_name = _("issued certificate")
        verbose_name_plural = _("issued certificates")

    def __str__(self) -> str:
        return f"{self.address} {self.purpose} {self.serial}"


class Crl(models.Model):
    """A certificate revocation list as published; the one with the highest number is current."""

    issuer = models.ForeignKey(AuthorityCertificate, on_delete=models.CASCADE, related_name="crls")
    number = models.PositiveBigIntegerField()
    der = models.BinaryField()
    entries = models.PositiveIntegerField(default=0)
    this_update = models.DateTimeField()
    next_update = models.DateTimeField()

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["issuer", "number"], name="one_crl_per_number")
        ]
        verbose_name = _("revocation list")
        verbose_name_plural = _("revocation lists")

    def __str__(self) -> str:
        return f"{self.issuer} {self.number}"


def fingerprint_of(der: bytes) -> str:
    """SHA-256 over the DER, lower-case hexadecimal: how certificates are named everywhere."""
    return hashlib.sha256(der).hexdigest()
