"""Certificates of everybody: our own people's, those learned from mail, and what decides on trust.

Nothing here is secret. What a certificate is worth is never stored as a final answer: the agent
judges it at the time of use, from the trust material of :mod:`webmail.certificates.material`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    import uuid

ADDRESS_LENGTH: Final = 320
"""local part 64 + "@" + domain 255 (RFC 5321 §4.5.3.1)."""

URL_LENGTH: Final = 700
"""Longer distribution points are ignored; the length keeps the unique index possible everywhere."""


class Certificate(models.Model):
    """One end-entity certificate, by its SHA-256; the facts beside it are read from it once."""

    class Source(models.TextChoices):
        OWN = "own", _("issued to one of us")
        DIRECTORY = "directory", _("organisation's directory")
        HARVESTED = "harvested", _("learned from a signed mail")
        IMPORTED = "imported", _("imported")

    sha256 = models.CharField(max_length=64, unique=True)
    """Over the DER, lower-case hexadecimal."""
    der = models.BinaryField()
    name = models.CharField(max_length=200, blank=True)
    """Common name of the subject, as the certificate spells it; empty when that is an address."""
    organisation = models.CharField(max_length=200, blank=True)
    country = models.CharField(max_length=2, blank=True)
    subject = models.CharField(max_length=400)
    issuer = models.CharField(max_length=400)
    serial = models.CharField(max_length=64)
    """Lower-case hexadecimal."""
    level = models.CharField(max_length=2, blank=True)
    """"V1" to "V4" as its policy claims, empty when it claims none (2.23.140.1.5)."""
    key = models.CharField(max_length=40)
    """Such as "RSA 3072"."""
    can_sign = models.BooleanField(default=False)
    can_encrypt = models.BooleanField(default=False)
    not_before = models.DateTimeField()
    not_after = models.DateTimeField(db_index=True)
    source = models.CharField(max_length=9, choices=Source.choices)
    capabilities = models.BinaryField(null=True, blank=True)
    """SMIMECapabilities (RFC 8551 §2.5.2) of the newest good signature of its owner, DER."""
    capabilities_at = models.DateTimeField(null=True, blank=True)
    """signingTime of that signature: an older mail never replaces newer capabilities."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    addresses: models.Manager[CertificateAddress]

    class Meta:
        verbose_name = _("certificate")
        verbose_name_plural = _("certificates")

    def __str__(self) -> str:
        return self.subject or self.sha256[:16]


class CertificateAddress(models.Model):
    """One address that a certificate names, as compared everywhere."""

    certificate = models.ForeignKey(Certificate, on_delete=models.CASCADE, related_name="addresses")
    address = models.CharField(max_length=ADDRESS_LENGTH, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["certificate", "address"], name="address_once_per_certificate"
            )
        ]

    def __str__(self) -> str:
        return self.address


class OwnCertificate(models.Model):
    """A certificate of one of our people, with its chain; old ones stay, newest first."""

    class Purpose(models.TextChoices):
        SIGN = "sign", _("signing")
        ENCRYPT = "encrypt", _("encryption")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="own_certificates"
    )
    certificate = models.ForeignKey(Certificate, on_delete=models.CASCADE, related_name="owners")
    purpose = models.CharField(max_length=7, choices=Purpose.choices)
    chain = models.JSONField(default=list)
    """SHA-256 of the :class:`Intermediate` rows of its chain, issuer first."""
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    user_id: uuid.UUID

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "certificate", "purpose"], name="own_certificate_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.purpose}"


class Pin(models.Model):
    """The encryption certificate which one user's mail to one address is sealed with.

    Another certificate for the same address never takes its place by itself: it waits in
    ``pending`` until the user says so.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="pins"
    )
    address = models.CharField(max_length=ADDRESS_LENGTH)
    certificate = models.ForeignKey(Certificate, on_delete=models.CASCADE, related_name="pins")
    first_seen = models.DateTimeField(default=timezone.now)
    accepted_at = models.DateTimeField(null=True, blank=True)
    """Set when the user accepted it themselves; then it is used although its chain is unknown."""
    pending = models.ForeignKey(
        Certificate, on_delete=models.CASCADE, null=True, blank=True, related_name="+"
    )
    pending_since = models.DateTimeField(null=True, blank=True)

    user_id: uuid.UUID

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "address"], name="one_pin_per_address")
        ]
        indexes = [models.Index(fields=["address"], name="pin_by_address")]

    def __str__(self) -> str:
        return self.address


class Correspondent(models.Model):
    """What one user has seen of one address: how often it signed, and who signed last.

    Counted once per mail, by Message-ID digest in :class:`SeenMail`.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="correspondents"
    )
    address = models.CharField(max_length=ADDRESS_LENGTH)
    signed = models.PositiveIntegerField(default=0)
    """Mails whose verdict was "verified"."""
    unsigned = models.PositiveIntegerField(default=0)
    last_signer = models.CharField(max_length=64, blank=True)
    """SHA-256 of the signing certificate of the newest verified mail."""
    first_signed_at = models.DateTimeField(null=True, blank=True)
    last_signed_at = models.DateTimeField(null=True, blank=True)

    user_id: uuid.UUID

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "address"], name="one_correspondent_row")
        ]

    def __str__(self) -> str:
        return self.address


class SeenMail(models.Model):
    """That a mail was counted for its correspondent: opening it again changes nothing."""

    correspondent = models.ForeignKey(
        Correspondent, on_delete=models.CASCADE, related_name="seen_mails"
    )
    digest = models.CharField(max_length=32)
    """Hexadecimal; of the protected Message-ID and the signer's fingerprint."""

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["correspondent", "digest"], name="mail_counted_once")
        ]

    def __str__(self) -> str:
        return self.digest


class TrustedRoot(models.Model):
    """A root certificate that an administrator trusts for mail."""

    sha256 = models.CharField(max_length=64, unique=True, editable=False)
    der = models.BinaryField()
    subject = models.CharField(max_length=400, editable=False)
    not_before = models.DateTimeField(editable=False)
    not_after = models.DateTimeField(editable=False)
    enabled = models.BooleanField(
        default=True, help_text=_("Signatures of this authority's people are trusted.")
    )
    note = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["subject"]
        verbose_name = _("trusted root")
        verbose_name_plural = _("trusted roots")

    def __str__(self) -> str:
        return self.subject


class Intermediate(models.Model):
    """A CA certificate seen in mail or fetched: untrusted input to path building, never a root."""

    sha256 = models.CharField(max_length=64, unique=True)
    der = models.BinaryField()
    subject = models.CharField(max_length=400)
    not_after = models.DateTimeField()
    url = models.CharField(max_length=URL_LENGTH, blank=True)
    """Where it was fetched from; empty when it came inside a mail."""
    used_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        verbose_name = _("intermediate certificate")
        verbose_name_plural = _("intermediate certificates")

    def __str__(self) -> str:
        return self.subject


class RevocationList(models.Model):
    """The newest CRL of one distribution point, and when to ask for the next.

    Addresses of issuer certificates (AIA) are rows too: what they give becomes
    :class:`Intermediate` rows, and ``der`` stays empty.
    """

    class Kind(models.TextChoices):
        CRL = "crl", _("revocation list")
        ISSUER = "issuer", _("issuer certificate")

    url = models.CharField(max_length=URL_LENGTH, unique=True)
    kind = models.CharField(max_length=6, choices=Kind.choices, blank=True)
    """Known once something was fetched."""
    der = models.BinaryField(null=True, blank=True)
    issuer = models.CharField(max_length=400, blank=True)
    this_update = models.DateTimeField(null=True, blank=True)
    next_update = models.DateTimeField(null=True, blank=True)
    etag = models.CharField(max_length=200, blank=True)
    last_modified = models.CharField(max_length=60, blank=True)
    asked_at = models.DateTimeField(null=True, blank=True)
    """When somebody last met a certificate that names it: lists nobody needs are not fetched."""
    fetched_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(default=timezone.now, db_index=True)
    failures = models.PositiveIntegerField(default=0)
    problem = models.CharField(max_length=200, blank=True)
    """Why the last fetch failed, as a sentence; empty when well."""

    class Meta:
        verbose_name = _("revocation list")
        verbose_name_plural = _("revocation lists")

    def __str__(self) -> str:
        return self.url
