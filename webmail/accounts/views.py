"""Sign-in, lock, unlock, password, recovery, settings, sessions, key activity.

``error`` in a context is None or ``{"sentence": str, "hint": str}``.
"""

from __future__ import annotations

import time
import uuid
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.core.paginator import InvalidPage
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from crypto_agent.protocol import ErrorCode, ProtocolError
from webmail.accounts import activity
from webmail.accounts import sign_in as sign_in_acts
from webmail.accounts.forms import SettingsForm
from webmail.accounts.gates import SeeOther, is_fragment, signed_in
from webmail.accounts.models import User
from webmail.accounts.passwords import check_new_password, names_of
from webmail.accounts.request import ours
from webmail.accounts.secret_body import SecretRequest, secret_fields
from webmail.accounts.sign_in import Refused
from webmail.agent import door

STATUS = {"slow_down": HTTPStatus.TOO_MANY_REQUESTS, "unavailable": HTTPStatus.SERVICE_UNAVAILABLE}
"""All other refusals are 422: the form was understood and not accepted."""


def error_of(refused: Refused | None) -> dict[str, str] | None:
    return None if refused is None else {"sentence": refused.sentence, "hint": refused.hint}


def status_of(refused: Refused | None) -> int:
    if refused is None:
        return HTTPStatus.OK
    return STATUS.get(refused.code, HTTPStatus.UNPROCESSABLE_ENTITY)


def refused_page(
    request: HttpRequest, template: str, context: dict[str, Any], refused: Refused | None
) -> HttpResponse:
    """The form again, with what was wrong."""
    response = render(
        request, template, {**context, "error": error_of(refused)}, status=status_of(refused)
    )
    if refused is not None and refused.wait:
        response["Retry-After"] = str(refused.wait)
    return response


def safe_path(request: HttpRequest, wanted: str) -> str:
    """``wanted`` when it is a path of this site, otherwise the inbox (no open redirect)."""
    if wanted.startswith("/") and url_has_allowed_host_and_scheme(wanted, allowed_hosts=None):
        return wanted
    return reverse(settings.LOGIN_REDIRECT_URL)


def current_user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


# --------------------------------------------------------------------------- in and out


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@secret_fields("password")
def sign_in(request: SecretRequest) -> HttpResponse:
    """``accounts/sign_in.html``: ``next``, ``address``, ``error``.

    POST: address, password, next.
    """
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    address = request.POST.get("address", "")
    refused: Refused | None = None
    if request.method == "POST":
        try:
            holder = sign_in_acts.sign_in(request, address, request.secrets["password"])
        except Refused as refusal:
            refused = refusal
        else:
            response = SeeOther(safe_path(request, wanted))
            sign_in_acts.set_unlock_cookie(response, holder)
            return response
    elif isinstance(request.user, User) and request.user.activated_at is not None:
        return SeeOther(safe_path(request, wanted))
    context = {"next": wanted, "address": address}
    return refused_page(request, "accounts/sign_in.html", context, refused)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    sign_in_acts.sign_out(request)
    response = SeeOther(reverse("accounts:sign_in"))
    sign_in_acts.delete_unlock_cookie(response)
    return response


@require_POST
@signed_in
def lock(request: HttpRequest) -> HttpResponse:
    """Lock this browser's session now; the person stays where they are (POST ``next``)."""
    sign_in_acts.lock(request)
    return _stay(request)


@require_POST
@signed_in
def lock_all(request: HttpRequest) -> HttpResponse:
    """Panic: keys away from every session; with POST ``sign_out=1`` other browsers sign out too."""
    user = current_user(request)
    others = request.POST.get("sign_out") == "1"
    sign_in_acts.lock_everywhere(user, sign_out_others=others)
    request.session.pop(sign_in_acts.KEY_SESSION, None)
    ours(request).holder = None
    if others:
        update_session_auth_hash(request, user)
        sign_in_acts.browser_of(request).update(revoked_at=None)
    messages.success(request, _("All sessions are locked. Your password opens them again."))
    return _stay(request)


def _stay(request: HttpRequest) -> HttpResponse:
    if is_fragment(request):
        response = HttpResponse(status=HTTPStatus.NO_CONTENT)
        response["HX-Refresh"] = "true"
    else:
        response = SeeOther(safe_path(request, request.POST.get("next", "")))
    if ours(request).holder is None:
        sign_in_acts.delete_unlock_cookie(response)
    return response


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@secret_fields("password")
@signed_in
def unlock(request: SecretRequest) -> HttpResponse:
    """Unlock in place. POST: password, back_to.

    HTMX gets ``accounts/_unlock.html`` (``back_to``, ``error``) when refused, and
    ``accounts/_unlocked.html`` (``back_to``) with the event ``unlocked`` when done. Without
    JavaScript: ``accounts/locked.html``, then a redirect to ``back_to``.
    """
    wanted = request.POST.get("back_to") or request.GET.get("back_to") or ""
    fragment = is_fragment(request)
    refused: Refused | None = None
    if request.method == "POST":
        try:
            holder = sign_in_acts.unlock(request, request.secrets["password"])
        except Refused as refusal:
            refused = refusal
        else:
            if fragment:
                context = {"back_to": safe_path(request, wanted) if wanted else ""}
                response = render(request, "accounts/_unlocked.html", context)
                response["HX-Trigger"] = "unlocked"
            else:
                response = SeeOther(safe_path(request, wanted))
            sign_in_acts.set_unlock_cookie(response, holder)
            return response
    template = "accounts/_unlock.html" if fragment else "accounts/locked.html"
    return refused_page(request, template, {"back_to": wanted}, refused)


# --------------------------------------------------------------------------- password


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@secret_fields("secret", "new_password", "new_password_again")
@signed_in
def password(request: SecretRequest) -> HttpResponse:
    """``accounts/password.html``: ``way``, ``error``. POST: way ("password" | "recovery"), secret,
    new_password, new_password_again, new_recovery ("1").

    Done: ``accounts/password_changed.html`` with ``recovery_code`` (text, or "" for none). All
    other sessions are locked and signed out.
    """
    user = current_user(request)
    way = "recovery" if request.POST.get("way") == "recovery" else "password"
    if request.method != "POST":
        return refused_page(request, "accounts/password.html", {"way": way}, None)
    try:
        code = _change(request, user, way=way, new_recovery="new_recovery" in request.POST)
        response = render(request, "accounts/password_changed.html", {"recovery_code": code})
        _open_with_new_password(request, user, response)
    except Refused as refused:
        return refused_page(request, "accounts/password.html", {"way": way}, refused)
    return response


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@secret_fields("recovery_code", "new_password", "new_password_again")
def recover(request: SecretRequest) -> HttpResponse:
    """``accounts/recover.html``: ``address``, ``error``. POST: address, recovery_code,
    new_password, new_password_again.

    The code is used up: done shows a new one on ``accounts/password_changed.html``.
    """
    address = request.POST.get("address", "")
    if request.method != "POST":
        return refused_page(request, "accounts/recover.html", {"address": address}, None)
    try:
        user = sign_in_acts.find_user(address)
        request.secrets["secret"] = request.secrets["recovery_code"]
        code = _change(request, user, way="recovery", new_recovery=True, name=address)
        assert user is not None  # nobody changes the password of a decoy
        response = render(request, "accounts/password_changed.html", {"recovery_code": code})
        _open_with_new_password(request, user, response)
    except Refused as refused:
        return refused_page(request, "accounts/recover.html", {"address": address}, refused)
    return response


def _change(
    request: SecretRequest, user: User | None, *, way: str, new_recovery: bool, name: str = ""
) -> str:
    """Re-wrap the vault key; the new recovery code or "". Raises Refused."""
    new = request.secrets["new_password"]
    names = [name, name.partition("@")[0]]
    if user is not None and user == request.user:
        names = names_of(user)
    check_new_password(new, request.secrets["new_password_again"], names)
    subject = user.hex if user is not None else sign_in_acts.decoy_id(name)
    started = time.monotonic()
    sign_in_acts.with_brakes(request, subject)
    try:
        result = door.change_password(
            subject,
            way=way,
            secret=request.secrets["secret"],
            new_password=new,
            new_recovery=new_recovery,
        )
    except ProtocolError as error:
        if error.code == ErrorCode.WRONG_PASSWORD:
            sign_in_acts.even_out(started)
        known = request.user.is_authenticated
        raise sign_in_acts.refusal(error, way=way, signed_in=known) from error
    sign_in_acts.release_brakes(request, subject)
    return str(result.get("recovery_code") or "")


def _open_with_new_password(request: SecretRequest, user: User, response: HttpResponse) -> None:
    """Everything that the old password opened is shut; this browser goes on with the new one."""
    sign_in_acts.lock_everywhere(user, sign_out_others=True)
    holder = sign_in_acts.open_vault(
        request, user, user.username, request.secrets["new_password"], way="password"
    )
    sign_in_acts.begin_session(request, user, holder)
    sign_in_acts.set_unlock_cookie(response, holder)


# --------------------------------------------------------------------------- settings


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def settings_page(request: HttpRequest) -> HttpResponse:
    """``accounts/settings.html``: ``form``, ``addresses``, ``mail_account``."""
    user = current_user(request)
    form = SettingsForm(request.POST or None, instance=user)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, _("Saved."))
        return SeeOther(reverse("accounts:settings"))
    context = {
        "form": form,
        "addresses": list(user.addresses.all()),
        "mail_account": getattr(user, "mail_account", None),
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if form.errors else HTTPStatus.OK
    return render(request, "accounts/settings.html", context, status=status)


@never_cache
@require_safe
@signed_in
def sessions(request: HttpRequest) -> HttpResponse:
    """``accounts/sessions.html``: ``sessions`` of {id, label, network_address, created_at, seen_at,
    unlocked, current}."""
    user = current_user(request)
    current = request.session.get(sign_in_acts.BROWSER_SESSION)
    rows = [
        {
            "id": row.pk,
            "label": row.label,
            "network_address": row.network_address,
            "created_at": row.created_at,
            "seen_at": row.seen_at,
            "unlocked": bool(row.key_session) and door.is_session_unlocked(row.key_session),
            "current": row.pk.hex == current,
        }
        for row in user.browser_sessions.filter(revoked_at=None)[:100]
    ]
    return render(request, "accounts/sessions.html", {"sessions": rows})


@require_POST
@signed_in
def revoke_session(request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
    """Sign one browser out, its keys first."""
    user = current_user(request)
    browser = user.browser_sessions.filter(pk=session_id, revoked_at=None).first()
    if browser is None:
        raise Http404
    if browser.pk.hex == request.session.get(sign_in_acts.BROWSER_SESSION):
        return sign_out(request)
    sign_in_acts.revoke(browser)
    messages.success(request, _("That browser is signed out."))
    return SeeOther(reverse("accounts:sessions"))


@never_cache
@require_safe
@signed_in
def key_activity(request: HttpRequest) -> HttpResponse:
    """``accounts/key_activity.html``: ``page`` (has ``rows`` of {at, operation, words, key,
    session, outcome, mine}, ``number``, ``has_previous``, ``has_next``) and ``chain`` ({"whole":
    bool, "sentence": str})."""
    user = current_user(request)
    try:
        page = activity.page_of(user, request.GET.get("page", "1"))
    except InvalidPage as error:
        raise Http404 from error
    context = {"page": page, "chain": activity.check_chain(user)}
    return render(request, "accounts/key_activity.html", context)
