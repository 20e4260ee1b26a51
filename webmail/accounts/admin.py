"""People in Django admin: add, invite, lock, disable. Made for 100,000 of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters

from webmail.accounts import invitations, provision, sign_in
from webmail.accounts.admin_forms import AddPersonForm, ChangeMailAccountForm
from webmail.accounts.capped_paginator import CappedPaginator
from webmail.accounts.models import Address, Invitation, MailAccount, User

if TYPE_CHECKING:
    UserAdminBase = admin.ModelAdmin[User]
    AddressInlineBase = admin.TabularInline[Address, User]
    AccountInlineBase = admin.StackedInline[MailAccount, User]
else:
    UserAdminBase = admin.ModelAdmin
    AddressInlineBase = admin.TabularInline
    AccountInlineBase = admin.StackedInline

INVITATIONS_AT_ONCE = 200
"""Links on one page; more are a matter for the command line."""


class AddressInline(AddressInlineBase):
    """Fixed once certificates name them; a person who is not activated yet may get others."""

    model = Address
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_add_permission(request, obj) and _is_new(obj)

    # Django gives an inline's checks the parent, which its stubs do not know.
    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and _is_new(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and _is_new(obj)


def _is_new(user: User | None) -> bool:
    return user is None or user.activated_at is None


class MailAccountInline(AccountInlineBase):
    model = MailAccount
    form = ChangeMailAccountForm
    can_delete = False
    readonly_fields = ("source", "verified_at")


@admin.register(User)
class UserAdmin(UserAdminBase):
    list_display = ("username", "display_name", "state", "mail_server", "is_staff", "last_login")
    list_display_links = ("username", "display_name")
    list_filter = ("is_active", "is_staff", ("activated_at", admin.EmptyFieldListFilter))
    list_select_related = ("mail_account",)
    list_per_page = 100
    show_full_result_count = False
    paginator = CappedPaginator
    ordering = ("username",)
    search_fields = ("username",)
    search_help_text = gettext_lazy("Beginning of an address, or a part of the name")
    actions = ["show_invitations", "lock_now", "disable", "enable"]
    inlines = (AddressInline, MailAccountInline)
    readonly_fields = ("username", "state", "created_at", "activated_at", "last_login")
    fieldsets = (
        (None, {"fields": ("display_name", "username", "state", "is_active")}),
        (gettext_lazy("Dates"), {"fields": ("created_at", "activated_at", "last_login")}),
        (
            gettext_lazy("Administration"),
            {"classes": ("collapse",), "fields": ("is_staff", "is_superuser", "groups")},
        ),
    )
    add_fieldsets = (
        (None, {"fields": ("display_name", "addresses")}),
        (
            gettext_lazy("Mail server"),
            {"fields": ("imap", "smtp", "mail_user", "mail_password", "use_master")},
        ),
    )

    # ------------------------------------------------------------------ list

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        newest = Invitation.objects.filter(user=OuterRef("pk"), used_at=None, withdrawn_at=None)
        return (
            super()
            .get_queryset(request)
            .annotate(
                invited_until=Subquery(newest.order_by("-created_at").values("expires_at")[:1])
            )
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        """By the beginning of an address, which has an index, or by a part of the name."""
        term = search_term.strip()
        if not term:
            return queryset, False
        by_address = Address.objects.filter(address__startswith=term.lower()).values("user_id")
        return (
            queryset.filter(
                Q(username__startswith=term.lower())
                | Q(display_name__icontains=term)
                | Q(pk__in=by_address)
            ),
            False,
        )

    @admin.display(description=gettext_lazy("state"))
    def state(self, user: User) -> str:
        if not user.is_active:
            return _("disabled")
        if user.activated_at is not None:
            return _("active")
        if user.is_staff and user.has_usable_password():
            return _("administrator without mailbox")
        until = getattr(user, "invited_until", None)
        if until is None:
            return _("not invited")
        return _("invited") if until > timezone.now() else _("invitation expired")

    @admin.display(description=gettext_lazy("mail server"))
    def mail_server(self, user: User) -> str:
        account = getattr(user, "mail_account", None)
        return account.imap_host if account else ""

    # ------------------------------------------------------------------ add and change

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        return self.add_fieldsets if obj is None else super().get_fieldsets(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        if obj is None:
            return ()
        rights = () if request.user.is_superuser else ("is_staff", "is_superuser", "groups")
        return (*super().get_readonly_fields(request, obj), *rights)

    def get_inlines(self, request: HttpRequest, obj: User | None) -> Any:
        return () if obj is None else super().get_inlines(request, obj)

    def get_form(
        self, request: HttpRequest, obj: User | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is None:
            kwargs["form"] = AddPersonForm
            kwargs["fields"] = AddPersonForm.Meta.fields
        return super().get_form(request, obj, change, **kwargs)

    @method_decorator(sensitive_post_parameters())
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> Any:
        if object_id is None:
            # Without the transaction around all of it: discovery asks the network for seconds, and
            # nobody else could write meanwhile. ``add_person`` has its own, around its rows.
            return self._changeform_view(request, object_id, form_url, extra_context)  # type: ignore[attr-defined]  # Django's own, not in its stubs
        return super().changeform_view(request, object_id, form_url, extra_context)

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> User:
        """Adding makes all rows at once; what follows in Django's own order finds them made."""
        if change:
            user: User = super().save_form(request, form, change)
            return user
        added = provision.add_person(form.wanted())
        self._say_what_was_found(request, added)
        form.save_m2m = lambda: None
        return added.user

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            return
        before = User.objects.filter(pk=obj.pk).values_list("is_active", flat=True).first()
        super().save_model(request, obj, form, change)
        if before and not obj.is_active:
            transaction.on_commit(partial(sign_in.lock_everywhere, obj, sign_out_others=True))

    def _say_what_was_found(self, request: HttpRequest, added: provision.Added) -> None:
        account = added.user.mail_account
        for attempt in added.attempts:
            messages.info(request, f"{attempt.source}: {attempt.outcome}")
        if not account.imap_host or not account.smtp_host:
            messages.warning(
                request,
                _("Not every mail server was found. Open the person and type the missing one."),
            )

    def response_add(
        self, request: HttpRequest, obj: User, post_url_continue: str | None = None
    ) -> HttpResponse:
        link = invitations.invite(obj, invited_by=_inviter(request))
        return self._invitations_page(request, [(obj, link)])

    def _invitations_page(
        self, request: HttpRequest, links: list[tuple[User, str]]
    ) -> TemplateResponse:
        """Shown once, straight in this answer: no link is stored anywhere."""
        context = {
            **self.admin_site.each_context(request),
            "title": _("Invitations"),
            "links": [{"person": str(user), "address": user.username, "url": url}
                      for user, url in links],
            "opts": self.opts,
        }  # fmt: skip
        response = TemplateResponse(request, "admin/accounts/invitations.html", context)
        response["Cache-Control"] = "no-store, private"
        return response

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Deleting a person deletes their keys, and with them everything ever encrypted to them:
        disabling is for people who leave."""
        return obj is not None and _is_new(obj) and super().has_delete_permission(request, obj)

    # ------------------------------------------------------------------ actions

    @admin.action(
        description=gettext_lazy("New invitation link (ends the earlier one)"),
        permissions=["change"],
    )
    def show_invitations(self, request: HttpRequest, queryset: QuerySet[User]) -> Any:
        waiting = queryset.filter(
            activated_at=None, is_active=True, addresses__primary=True
        ).distinct()
        people = list(waiting[: INVITATIONS_AT_ONCE + 1])
        if len(people) > INVITATIONS_AT_ONCE:
            messages.error(
                request,
                _("Choose at most %(count)d people at once.") % {"count": INVITATIONS_AT_ONCE},
            )
            return None
        if not people:
            messages.warning(
                request, _("Nobody chosen can be invited: they have their keys, or are disabled.")
            )
            return None
        inviter = _inviter(request)
        return self._invitations_page(
            request, [(user, invitations.invite(user, invited_by=inviter)) for user in people]
        )

    @admin.action(description=gettext_lazy("Lock now, everywhere"), permissions=["change"])
    def lock_now(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        count = 0
        for user in queryset.filter(activated_at__isnull=False).iterator():
            sign_in.lock_everywhere(user, sign_out_others=False)
            count += 1
        messages.success(request, _("%(count)d people are locked.") % {"count": count})

    @admin.action(
        description=gettext_lazy("Disable: lock, sign out, refuse sign-in"), permissions=["change"]
    )
    def disable(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        if queryset.filter(pk=cast(User, request.user).pk).exists():
            raise PermissionDenied(_("You cannot disable yourself."))
        people = list(queryset.filter(is_active=True))
        queryset.update(is_active=False)
        for user in people:
            sign_in.lock_everywhere(user, sign_out_others=True)
        messages.success(request, _("%(count)d people are disabled.") % {"count": len(people)})

    @admin.action(description=gettext_lazy("Enable"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        count = queryset.filter(is_active=False).update(is_active=True)
        messages.success(request, _("%(count)d people are enabled.") % {"count": count})


def _inviter(request: HttpRequest) -> User | None:
    return request.user if isinstance(request.user, User) else None
