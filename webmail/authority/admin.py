"""The authority in the admin: look at everything, revoke certificates of people."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from webmail.authority.models import (
    AuthorityCertificate,
    Crl,
    IssuedCertificate,
    RevocationReason,
)
from webmail.authority.revoke import revoke
from webmail.lib.look_only import LookOnly

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django_stubs_ext import StrOrPromise

    AuthorityAdmin = ModelAdmin[AuthorityCertificate]
    IssuedAdmin = ModelAdmin[IssuedCertificate]
    CrlAdminBase = ModelAdmin[Crl]
else:
    AuthorityAdmin = IssuedAdmin = CrlAdminBase = admin.ModelAdmin

SAMPLE = 10
"""Certificates named on the page that asks whether to revoke; the rest is counted."""


@admin.register(AuthorityCertificate)
class AuthorityCertificateAdmin(LookOnly, AuthorityAdmin):
    list_display = ["name", "kind", "subject", "not_after", "file"]
    exclude = ["der"]

    @admin.display(description=_("file"))
    def file(self, row: AuthorityCertificate) -> str:
        return format_html(
            '<a href="{}">{}.crt</a>', reverse("authority:certificate", args=[row.name]), row.name
        )


@admin.register(Crl)
class CrlAdmin(LookOnly, CrlAdminBase):
    list_display = ["issuer", "number", "entries", "this_update", "next_update"]
    list_filter = ["issuer"]
    list_select_related = ["issuer"]
    exclude = ["der"]


class ValidityFilter(admin.SimpleListFilter):
    title = _("validity")
    parameter_name = "validity"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, StrOrPromise]]:
        return [
            ("usable", _("usable now")),
            ("soon", _("expires within 30 days")),
            ("expired", _("expired")),
            ("revoked", _("revoked")),
        ]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[IssuedCertificate]
    ) -> QuerySet[IssuedCertificate]:
        now = timezone.now()
        valid = queryset.filter(status=IssuedCertificate.Status.VALID)
        match self.value():
            case "usable":
                return valid.filter(not_after__gt=now)
            case "soon":
                soon = now + dt.timedelta(days=30)
                return valid.filter(not_after__gt=now, not_after__lte=soon)
            case "expired":
                return valid.filter(not_after__lte=now)
            case "revoked":
                return queryset.filter(status=IssuedCertificate.Status.REVOKED)
        return queryset


class RevocationForm(forms.Form):
    reason = forms.ChoiceField(label=_("Reason"), choices=RevocationReason.choices)


@admin.register(IssuedCertificate)
class IssuedCertificateAdmin(LookOnly, IssuedAdmin):
    list_display = ["address", "purpose", "level", "state", "not_after", "issued_at", "serial"]
    list_filter = [ValidityFilter, "purpose", "level", "reason"]
    search_fields = ["address", "=serial", "=fingerprint"]
    search_help_text = _("Address, serial number or SHA-256")
    list_per_page = 50
    show_full_result_count = False  # counting a large table twice for every search
    ordering = ["-id"]
    exclude = ["der"]
    actions = ["revoke_selected"]

    @admin.display(description=_("state"), ordering="status")
    def state(self, row: IssuedCertificate) -> str:
        if row.status == IssuedCertificate.Status.REVOKED:
            return str(_("revoked"))
        return str(_("expired") if row.not_after <= timezone.now() else _("valid"))

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("authority.change_issuedcertificate")

    @admin.action(description=_("Revoke selected certificates …"), permissions=["revoke"])
    def revoke_selected(
        self, request: HttpRequest, queryset: QuerySet[IssuedCertificate]
    ) -> HttpResponse | None:
        """Ask first, with the reason; then revoke, and say how many."""
        valid = queryset.filter(status=IssuedCertificate.Status.VALID)
        confirmed = request.POST.get("confirmed") == "yes"
        form = RevocationForm(request.POST if confirmed else None)
        if confirmed and form.is_valid():
            count = revoke(valid, RevocationReason(form.cleaned_data["reason"]))
            self.message_user(
                request,
                ngettext(
                    "%(count)d certificate revoked; the new revocation list follows in a moment.",
                    "%(count)d certificates revoked; the new revocation list follows in a moment.",
                    count,
                )
                % {"count": count},
                messages.SUCCESS,
            )
            return None
        rows = list(valid)
        if not rows:
            self.message_user(
                request, _("The selected certificates are revoked already."), messages.INFO
            )
            return None
        return TemplateResponse(
            request,
            "admin/authority/revoke.html",
            {
                **self.admin_site.each_context(request),
                "title": _("Revoke certificates"),
                "opts": self.model._meta,
                "count": len(rows),
                "sample": rows[:SAMPLE],
                "more": max(0, len(rows) - SAMPLE),
                "selected": [row.pk for row in rows],
                "checkbox_name": ACTION_CHECKBOX_NAME,
                "form": form,
            },
        )
