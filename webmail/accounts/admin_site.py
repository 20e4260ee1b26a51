"""Django admin as this site runs it: stock, with one more condition for people with a mailbox."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.contrib.admin.apps import AdminConfig
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache

OTHERS: Final = {"auth": _("Groups of administrators"), "axes": _("Wrong administrator passwords")}


class SealpostAdminSite(AdminSite):
    site_header = _("Sealpost administration")
    site_title = _("Sealpost administration")
    index_title = _("What do you want to look after?")
    empty_value_display = "–"

    def has_permission(self, request: HttpRequest) -> bool:
        """A person with a mailbox who administers must be unlocked: a desk left alone locks, and
        with it this page."""
        return super().has_permission(request) and not _is_locked(request)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """The apps of others under the names of what they do here."""
        apps: list[Any] = super().get_app_list(request, app_label)
        for app in apps:
            app["name"] = OTHERS.get(app["app_label"], app["name"])
        return sorted(apps, key=lambda app: (app["app_label"] in OTHERS, app["app_label"]))

    # Typed as Any by Django's stubs.
    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if super().has_permission(request) and _is_locked(request):
            back_to = request.GET.get("next") or reverse("admin:index")
            query = urlencode({"back_to": back_to})
            return HttpResponseRedirect(f"{reverse('accounts:unlock')}?{query}")
        answer: HttpResponse = never_cache(super().login)(request, extra_context)
        return answer


def _is_locked(request: HttpRequest) -> bool:
    has_mailbox = getattr(request.user, "activated_at", None) is not None
    return has_mailbox and getattr(request, "holder", None) is None


class SealpostAdminConfig(AdminConfig):
    default_site = "webmail.accounts.admin_site.SealpostAdminSite"
