"""The forms with which an administrator adds and changes a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from webmail.accounts import discovery, provision
from webmail.accounts.models import (
    MailAccount,
    User,
    validate_master,
    validate_tls_for_host,
)

if TYPE_CHECKING:
    UserForm = forms.ModelForm[User]
    MailAccountForm = forms.ModelForm[MailAccount]
else:
    UserForm = MailAccountForm = forms.ModelForm

SERVERS: Final = frozenset({"imap_host", "imap_port", "smtp_host", "smtp_port"})

_SERVER_HELP = _(
    "Leave empty to let Sealpost find it. Or type it, like implicit://imap.example.org:993 or "
    "starttls://imap.example.org:143."
)


class _ServerField(forms.CharField):
    """``tls://host:port`` as a :class:`discovery.Server`, or None."""

    def __init__(self, kind: discovery.Kind, **kwargs: Any) -> None:
        super().__init__(required=False, max_length=300, **kwargs)
        self.kind = kind

    def clean(self, value: Any) -> discovery.Server | None:
        text = str(super().clean(value)).strip()
        if not text:
            return None
        if "://" not in text:
            text = f"implicit://{text}"
        host, port, tls = discovery.parse_server(text, self.kind)
        validate_tls_for_host(host, tls)
        return discovery.Server(self.kind, host, port, tls, "", "typed by an administrator")


class AddPersonForm(UserForm):
    """One form: who, which addresses, which mail server."""

    addresses = forms.CharField(
        label=_("Addresses"),
        widget=forms.Textarea(attrs={"rows": 3, "cols": 50}),
        help_text=_("One a line. The first one is the sign-in name."),
    )
    imap = _ServerField("imap", label=_("IMAP server"), help_text=_SERVER_HELP)
    smtp = _ServerField("smtp", label=_("SMTP server"), help_text=_SERVER_HELP)
    mail_user = forms.CharField(
        label=_("User on the mail server"),
        required=False,
        max_length=254,
        help_text=_("Leave empty when it is the address."),
    )
    mail_password = forms.CharField(
        label=_("Password on the mail server"),
        required=False,
        max_length=256,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=_("Leave empty: the person is then asked for it once, when they accept."),
    )
    use_master = forms.BooleanField(
        label=_("Sign in to the mail server with its master user"),
        required=False,
        help_text=_("No password is kept. Needs SEALPOST_IMAP_MASTER_USER."),
    )

    class Meta:
        model = User
        fields = ["display_name"]

    def clean_addresses(self) -> tuple[str, ...]:
        return provision.parse_addresses(str(self.cleaned_data["addresses"]).splitlines())

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("use_master") and not settings.IMAP_MASTER_USER:
            raise ValidationError(
                _("No master user is set. Set SEALPOST_IMAP_MASTER_USER, or give a password.")
            )
        if cleaned.get("use_master"):
            self._check_master("imap", cleaned.get("imap"), settings.IMAP_DEFAULT)
            self._check_master("smtp", cleaned.get("smtp"), settings.SMTP_DEFAULT)
        return cleaned

    def _check_master(
        self, kind: discovery.Kind, typed: discovery.Server | None, default: str
    ) -> None:
        host, port = "", 0
        if typed is not None:
            host, port = typed.host, typed.port
        elif default:
            host, port, _tls = discovery.parse_server(default, kind)
        user = str(self.cleaned_data.get("mail_user") or "").strip()
        validate_master(kind, host, port, user, self.cleaned_data.get("addresses") or ())

    def wanted(self) -> provision.Wanted:
        cleaned = self.cleaned_data
        user = str(cleaned.get("mail_user") or "").strip()
        return provision.Wanted(
            name=str(cleaned["display_name"]),
            addresses=cleaned["addresses"],
            imap=cleaned["imap"],
            smtp=cleaned["smtp"],
            mail_user=user,
            mail_password=str(cleaned.get("mail_password") or ""),
            use_master=bool(cleaned.get("use_master")),
        )


class ChangeMailAccountForm(MailAccountForm):
    """Servers, and a new password; the old one is never shown, and sent nowhere else: with another
    server it is forgotten, and its owner asked for it."""

    new_password = forms.CharField(
        label=_("New password on the mail server"),
        required=False,
        max_length=256,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=_(
            "Leave empty to keep the one that is sealed here, if any. With another server it is "
            "not kept: type it, or the person is asked for it."
        ),
    )

    class Meta:
        model = MailAccount
        fields = [
            "imap_host", "imap_port", "imap_tls", "imap_user",
            "smtp_host", "smtp_port", "smtp_tls", "smtp_user", "login",
        ]  # fmt: skip

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for kind in ("imap", "smtp"):
            host, tls = cleaned.get(f"{kind}_host"), cleaned.get(f"{kind}_tls")
            if host and tls:
                try:
                    validate_tls_for_host(host, tls)
                except ValidationError as error:
                    self.add_error(f"{kind}_tls", error)
        return cleaned

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's own, not in its stubs
        if self.instance.login == MailAccount.Login.MASTER:
            try:
                self.instance.check_master()
            except ValidationError as error:
                self.add_error("login", error)

    def save(self, commit: bool = True) -> MailAccount:
        password = self.cleaned_data.get("new_password")
        if SERVERS.intersection(self.changed_data):
            self.instance.credential = None
        if password:
            self.instance.set_password(str(password).encode())
            self.instance.verified_at = None
        return super().save(commit)
