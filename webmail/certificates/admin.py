"""Admin pages: trusted roots may be added; everything else is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from webmail.certificates import facts, judging, material
from webmail.certificates.models import Certificate, Intermediate, RevocationList, TrustedRoot

if TYPE_CHECKING:
    RootForm = forms.ModelForm[TrustedRoot]
    RootAdmin = admin.ModelAdmin[TrustedRoot]
    AnyAdmin = admin.ModelAdmin[Any]
else:  # Django's classes take no parameters at run time
    RootForm, RootAdmin, AnyAdmin = forms.ModelForm, admin.ModelAdmin, admin.ModelAdmin


class TrustedRootForm(RootForm):
    """Paste or upload one root certificate; it is checked before anything trusts it."""

    pasted = forms.CharField(
        label=_("Certificate as text"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 12, "cols": 70}),
        help_text=_("From -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----."),
    )
    uploaded = forms.FileField(
        label=_("or as a file"), required=False, help_text=_("PEM or DER (.pem, .crt, .cer, .der).")
    )

    class Meta:
        model = TrustedRoot
        fields = ["enabled", "note"]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if self.instance._state.adding:
            self._read(cleaned)
        return cleaned

    def _read(self, cleaned: dict[str, Any]) -> None:
        uploaded: UploadedFile | None = cleaned.get("uploaded")
        pasted = str(cleaned.get("pasted") or "").strip()
        if bool(uploaded) == bool(pasted):
            raise forms.ValidationError(_("Paste one certificate or choose one file."))
        data = uploaded.read(facts.SIZE_LIMIT + 1) if uploaded else pasted.encode()
        try:
            root = facts.read(facts.from_pem_or_der(data))
        except facts.NotACertificate as error:
            raise forms.ValidationError(
                _("This is not one certificate in PEM or DER. Export it again as a single file.")
            ) from error
        if not root.is_authority:
            raise forms.ValidationError(
                _("This certificate belongs to a person or server. Choose the authority's root.")
            )
        if not root.self_issued:
            raise forms.ValidationError(
                _("This is an intermediate certificate. Choose the root that issued it.")
            )
        if root.not_after <= timezone.now():
            raise forms.ValidationError(
                _("This root has expired. Ask the authority for its new one.")
            )
        if TrustedRoot.objects.filter(sha256=root.sha256).exists():
            raise forms.ValidationError(_("This root is in the list already. Enable it there."))
        self.instance.sha256 = root.sha256
        self.instance.der = root.der
        self.instance.subject = root.subject
        self.instance.not_before = root.not_before
        self.instance.not_after = root.not_after


@admin.register(TrustedRoot)
class TrustedRootAdmin(RootAdmin):
    form = TrustedRootForm
    list_display = ["subject", "enabled", "not_after", "note"]
    list_filter = ["enabled"]
    search_fields = ["subject", "sha256", "note"]
    readonly_fields = ["subject", "sha256", "not_before", "not_after", "created_at"]

    def get_fields(self, request: HttpRequest, obj: TrustedRoot | None = None) -> Any:
        if obj is None:
            return ["pasted", "uploaded", "enabled", "note"]
        return [*self.readonly_fields, "enabled", "note"]

    def save_model(
        self, request: HttpRequest, obj: TrustedRoot, form: forms.ModelForm[Any], change: bool
    ) -> None:
        super().save_model(request, obj, form, change)
        material.forget()
        judging.forget()

    def delete_model(self, request: HttpRequest, obj: TrustedRoot) -> None:
        super().delete_model(request, obj)
        material.forget()
        judging.forget()


class _ReadOnlyAdmin(AnyAdmin):
    """To look, not to change: these rows are made from mail and from the network."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Certificate)
class CertificateAdmin(_ReadOnlyAdmin):
    list_display = ["subject", "level", "source", "key", "not_after"]
    list_filter = ["source", "level"]
    search_fields = ["subject", "sha256", "serial", "addresses__address"]
    exclude = ["der", "capabilities"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(RevocationList)
class RevocationListAdmin(_ReadOnlyAdmin):
    list_display = ["url", "kind", "this_update", "next_update", "fetched_at", "problem"]
    list_filter = ["kind"]
    search_fields = ["url", "issuer"]
    exclude = ["der"]


@admin.register(Intermediate)
class IntermediateAdmin(_ReadOnlyAdmin):
    list_display = ["subject", "not_after", "used_at", "url"]
    search_fields = ["subject", "sha256"]
    exclude = ["der"]
