"""People, their addresses, their mail servers, their invitations and their signed-in browsers."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Collection
from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now, Upper
from django.utils.translation import gettext_lazy as _

from webmail.accounts import discovery
from webmail.accounts.addresses import ADDRESS_LIMIT, normalise
from webmail.lib import sealing


class UserManager(BaseUserManager["User"]):
    def create_user(self, username: str, password: str | None = None, **fields: object) -> User:
        """``password`` is for staff without a mailbox; everybody else opens a vault instead."""
        user = self.model(username=username, **fields)
        if password is None:
            user.set_unusable_password()
        else:
            user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(
        self, username: str, password: str | None = None, **fields: object
    ) -> User:
        return self.create_user(username, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """Who may sign in. A person with a mailbox has no password hash here: see ``agent.Vault``."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    username = models.CharField(
        _("sign-in name"),
        max_length=ADDRESS_LIMIT,
        unique=True,
        help_text=_("The primary address; for administrators without a mailbox any name."),
    )
    display_name = models.CharField(_("name"), max_length=150, blank=True)
    is_staff = models.BooleanField(_("administrator"), default=False)
    is_active = models.BooleanField(_("active"), default=True)
    created_at = models.DateTimeField(_("added"), auto_now_add=True)
    activated_at = models.DateTimeField(_("activated"), null=True, blank=True, editable=False)
    """When the vault was made. Before that nobody can sign in here."""

    language = models.CharField(
        _("language"), max_length=12, blank=True, choices=settings.LANGUAGES, default=""
    )
    time_zone = models.CharField(_("time zone"), max_length=64, default="UTC")
    undo_send_seconds = models.PositiveSmallIntegerField(
        _("seconds to undo sending"),
        default=settings.UNDO_SEND_SECONDS,
        validators=[MinValueValidator(0), MaxValueValidator(60)],
    )
    signature_text = models.TextField(_("signature"), max_length=4000, blank=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "username"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        verbose_name = _("person")
        verbose_name_plural = _("people")

    def __str__(self) -> str:
        return self.display_name or self.username

    def get_full_name(self) -> str:
        return self.display_name

    def get_short_name(self) -> str:
        return self.display_name or self.username

    @property
    def hex(self) -> str:
        """The id as envelopes and agent payloads write it."""
        return self.pk.hex

    @property
    def address(self) -> str:
        """The primary address, or the empty text for staff without a mailbox."""
        primary = self.addresses.filter(primary=True).first()
        return primary.address if primary else ""

    def end_all_browser_sessions(self) -> None:
        """Every signed-in browser of this person is signed out at its next request.

        Django binds sessions to the password field; an unusable password is a random text, and a
        new one ends them. Does nothing to the password of staff (they change it themselves).
        """
        if not self.has_usable_password():
            self.set_unusable_password()
            self.save(update_fields=["password"])


class Address(models.Model):
    """One mailbox address of a person; certificates are issued for it."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="addresses")
    address = models.CharField(_("address"), max_length=ADDRESS_LIMIT, unique=True)
    primary = models.BooleanField(_("primary"), default=False)

    class Meta:
        verbose_name = _("address")
        verbose_name_plural = _("addresses")
        ordering = ["-primary", "address"]
        indexes = [
            # For look-ups that ignore case, as ``iexact`` does.
            models.Index(Upper("address"), name="address_without_case"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["user"], condition=models.Q(primary=True), name="one_primary_address"
            )
        ]

    def __str__(self) -> str:
        return self.address

    def clean(self) -> None:
        self.address = normalise(self.address)

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


class NoLogin(Exception):
    """There is nothing to sign in to the mail server with."""


class MailAccount(models.Model):
    """Where a person's mail lives. The password is sealed under the server key ring."""

    class Tls(models.TextChoices):
        IMPLICIT = "implicit", _("TLS from the start")
        STARTTLS = "starttls", _("STARTTLS")
        NONE = "none", _("none (only on this machine)")

    class Login(models.TextChoices):
        PASSWORD = "password", _("this person's password")
        MASTER = "master", _("the mail server's master user")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="mail_account")
    imap_host = models.CharField(_("IMAP server"), max_length=253, blank=True)
    imap_port = models.PositiveIntegerField(_("IMAP port"), default=993)
    imap_tls = models.CharField(_("IMAP TLS"), max_length=8, choices=Tls, default=Tls.IMPLICIT)
    imap_user = models.CharField(_("IMAP user"), max_length=254, blank=True)
    smtp_host = models.CharField(_("SMTP server"), max_length=253, blank=True)
    smtp_port = models.PositiveIntegerField(_("SMTP port"), default=465)
    smtp_tls = models.CharField(_("SMTP TLS"), max_length=8, choices=Tls, default=Tls.IMPLICIT)
    smtp_user = models.CharField(_("SMTP user"), max_length=254, blank=True)
    login = models.CharField(_("sign in with"), max_length=8, choices=Login, default=Login.PASSWORD)
    credential = models.BinaryField(null=True, blank=True, editable=False)
    source = models.CharField(_("settings from"), max_length=120, blank=True, editable=False)
    """Where discovery found the servers, in words for the administrator."""
    verified_at = models.DateTimeField(
        _("login last checked"), null=True, blank=True, editable=False
    )

    class Meta:
        verbose_name = _("mail account")
        verbose_name_plural = _("mail accounts")

    def __str__(self) -> str:
        return f"{self.imap_user} @ {self.imap_host}"

    def _context(self) -> bytes:
        # Bound to the row: a sealed password moved to another person's row does not open there.
        return b"mail account credential\0" + self.pk.bytes

    def set_password(self, password: bytes | bytearray) -> None:
        """Seal ``password`` (UTF-8) into this row; the caller saves."""
        self.credential = sealing.seal(password, self._context())

    def reseal(self) -> bool:
        """Seal the credential under the current key; True when that changed the row."""
        if not self.credential or sealing.is_current(bytes(self.credential)):
            return False
        plain = sealing.unseal(bytes(self.credential), self._context())
        self.credential = sealing.seal(plain, self._context())
        return True

    @property
    def has_login(self) -> bool:
        """True when background sync can sign in without asking anybody."""
        if self.login == self.Login.MASTER:
            return bool(settings.IMAP_MASTER_USER)
        return bool(self.credential)

    def check_master(self) -> None:
        """The master password opens every mailbox. It goes to the servers that the environment
        names, for a mailbox called like one of the person's own addresses, whatever an
        administrator types. Raises ValidationError.
        """
        addresses = set(self.user.addresses.values_list("address", flat=True))
        if self.imap_host:
            validate_master("imap", self.imap_host, self.imap_port, self.imap_user, addresses)
        if self.smtp_host:
            validate_master("smtp", self.smtp_host, self.smtp_port, self.smtp_user, addresses)

    def _login(self, user: str) -> tuple[str, str]:
        try:
            return self._name_and_password(user)
        except (sealing.SealBroken, ValidationError) as error:
            raise NoLogin(str(error)) from error

    def _name_and_password(self, user: str) -> tuple[str, str]:
        if self.login == self.Login.MASTER:
            self.check_master()
            # Dovecot and Cyrus: "user*master" signs in as user with the master's password.
            master = f"{user}{settings.IMAP_MASTER_SEPARATOR}{settings.IMAP_MASTER_USER}"
            return master, settings.IMAP_MASTER_PASSWORD
        if not self.credential:
            return user, ""
        return user, sealing.unseal(bytes(self.credential), self._context()).decode()

    def imap_login(self) -> tuple[str, str]:
        """(user, password) for IMAP. Raises :class:`NoLogin`: the key ring lost the key, or the
        master user may not go there."""
        return self._login(self.imap_user)

    def smtp_login(self) -> tuple[str, str] | None:
        """(user, password) for SMTP AUTH, or None where the server asks for no login. Raises
        :class:`NoLogin`."""
        if not self.smtp_user:
            return None
        return self._login(self.smtp_user)


class Invitation(models.Model):
    """A single-use, expiring way in. Only the SHA-256 of its token is kept."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="invitations")
    invited_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    token_hash = models.BinaryField(max_length=32, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    claim = models.UUIDField(null=True, blank=True, editable=False)
    """The one attempt that may use it now; see ``accounts.invitations.claim``."""
    claimed_at = models.DateTimeField(null=True, blank=True, editable=False)
    used_at = models.DateTimeField(null=True, blank=True, editable=False)
    withdrawn_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.user} · {self.created_at:%Y-%m-%d}"


class BrowserSession(models.Model):
    """One signed-in browser, for the person's own list of sessions and for revoking one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="browser_sessions")
    key_session = models.CharField(max_length=32, blank=True)
    """Hex id of the agent's session; empty while locked."""
    label = models.CharField(max_length=80, blank=True)
    """"Firefox on Linux": the coarse words, not the whole user agent."""
    network_address = models.GenericIPAddressField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-seen_at"]
        indexes = [models.Index(fields=["user", "-seen_at"])]

    def __str__(self) -> str:
        return self.label or str(self.pk)


class Throttle(models.Model):
    """A token bucket in the database, so that several web processes count together."""

    key = models.CharField(primary_key=True, max_length=64)
    """HMAC of what is counted: this table tells nobody which names were tried."""
    tokens = models.FloatField()
    updated_at = models.DateTimeField(db_index=True)


def new_token() -> str:
    """A token for a link: 256 random bits, safe in a path."""
    return secrets.token_urlsafe(32)


def validate_tls_for_host(host: str, tls: str) -> None:
    """Plain text is for a server on this very machine only. Raises ValidationError."""
    if tls == MailAccount.Tls.NONE and host not in {"127.0.0.1", "::1", "localhost"}:
        raise ValidationError(
            _("Without TLS only a server on this machine can be used. Choose TLS or STARTTLS.")
        )


def validate_master(
    kind: discovery.Kind, host: str, port: int, user: str, addresses: Collection[str]
) -> None:
    """See :meth:`MailAccount.check_master`. Raises ValidationError."""
    default = settings.IMAP_DEFAULT if kind == "imap" else settings.SMTP_DEFAULT
    if not default or discovery.parse_server(default, kind)[:2] != (host, port):
        raise ValidationError(
            _("The master user signs in to %(setting)s only."),
            params={"setting": f"SEALPOST_{kind.upper()}_DEFAULT"},
        )
    if user and user.lower() not in addresses:
        raise ValidationError(
            _("The master user opens only a mailbox called like an address of this person.")
        )
