"""Accept an invitation, keep the recovery code, see that the mailbox answers."""

from __future__ import annotations

import zoneinfo
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from crypto_agent.protocol import ProtocolError
from webmail.accounts import invitations, sign_in, throttle
from webmail.accounts.gates import SeeOther, signed_in
from webmail.accounts.invitations import State
from webmail.accounts.models import Invitation, MailAccount, User
from webmail.accounts.passwords import LEAST, check_new_password, names_of
from webmail.accounts.secret_body import SecretRequest, secret_fields
from webmail.accounts.sign_in import Refused
from webmail.accounts.views import refused_page
from webmail.agent.sentences import explain
from webmail.mailbox.imap import MailServerError
from webmail.onboarding import activate, mailbox_login


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@secret_fields("password", "password_again")
def invitation(request: SecretRequest, token: str) -> HttpResponse:
    """``onboarding/welcome.html``: ``person``, ``addresses``, ``invited_by``, ``organisation``,
    ``least`` (characters), ``error``. POST: password, password_again.

    Accepted: ``onboarding/recovery.html`` with ``recovery_code``, ``address``, ``continue_url``.
    Not to be used: ``onboarding/gone.html`` with ``sentence``, ``hint``, status 410 (409 while
    another window is at it).
    """
    wait = throttle.take(throttle.BY_INVITATION, throttle.network_of(request))
    if wait:
        return _gone(request, *_slow(), status=HTTPStatus.TOO_MANY_REQUESTS)
    found, state = invitations.find(token)
    if found is None or state is not State.OPEN:
        return _refuse(request, state)
    throttle.give_back(throttle.BY_INVITATION, throttle.network_of(request))
    context = {
        "person": found.user.display_name or found.user.username,
        "addresses": [row.address for row in found.user.addresses.all()],
        "invited_by": str(found.invited_by) if found.invited_by else "",
        "least": LEAST,
    }
    if request.method != "POST":
        return refused_page(request, "onboarding/welcome.html", context, None)
    try:
        activated = _accept(request, found)
    except Refused as refused:
        return refused_page(request, "onboarding/welcome.html", context, refused)
    except activate.Taken:
        _found, state = invitations.find(token)
        return _refuse(request, State.BUSY if state is State.OPEN else state)
    sign_in.begin_session(request, found.user, activated.holder)
    response = render(
        request,
        "onboarding/recovery.html",
        {
            "recovery_code": activated.recovery_code,
            "address": found.user.username,
            "continue_url": reverse("onboarding:ready"),
        },
    )
    sign_in.set_unlock_cookie(response, activated.holder)
    return response


def _accept(request: SecretRequest, found: Invitation) -> activate.Activated:
    password = request.secrets["password"]
    check_new_password(password, request.secrets["password_again"], names_of(found.user))
    zone = request.POST.get("time_zone", "")
    if zone in zoneinfo.available_timezones():
        found.user.time_zone = zone
    try:
        return activate.accept(found, password)
    except ProtocolError as error:
        sentence, hint = explain(error.code)
        raise Refused(
            "unavailable",
            _("Your mailbox could not be prepared. %(sentence)s") % {"sentence": sentence},
            _("This invitation still works. %(hint)s") % {"hint": hint},
        ) from error


def _slow() -> tuple[str, str]:
    return _("Too many tries."), _("Wait a few minutes and open the link again.")


def _refuse(request: HttpRequest, state: State) -> HttpResponse:
    ask = _("Ask your administrator for a new invitation.")
    words = {
        State.UNKNOWN: (
            _("This invitation link is not known here."),
            _("Copy the whole link from your invitation. If it still fails: %(ask)s")
            % {"ask": ask},
        ),
        State.USED: (
            _("This invitation was used already."),
            _("Sign in with your address and the password you chose."),
        ),
        State.EXPIRED: (_("This invitation has expired."), ask),
        State.WITHDRAWN: (_("This invitation was replaced by a newer one or withdrawn."), ask),
        State.BUSY: (
            _("This invitation is being used in another window right now."),
            _("Go on there, or try again in two minutes."),
        ),
    }
    sentence, hint = words[state]
    status = HTTPStatus.CONFLICT if state is State.BUSY else HTTPStatus.GONE
    return _gone(request, sentence, hint, status=status)


def _gone(request: HttpRequest, sentence: str, hint: str, *, status: HTTPStatus) -> HttpResponse:
    context = {"sentence": sentence, "hint": hint}
    return render(request, "onboarding/gone.html", context, status=status)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@secret_fields("mail_password")
@signed_in
def ready(request: SecretRequest) -> HttpResponse:
    """``onboarding/ready.html``: ``address``, ``checks``, ``certificates``, ``inbox_url``,
    ``mail_form`` (None, or {needs_password, imap_host, error}).

    POST confirmed=1 (the recovery code is kept) comes back here with GET; POST mail_password tries
    the mailbox's password and keeps it when it works. ``?change=1`` asks for it although it works.
    """
    user = request.user
    assert isinstance(user, User)
    account: MailAccount | None = getattr(user, "mail_account", None)
    problem: MailServerError | None = None
    if request.method == "POST":
        if request.secrets["mail_password"] and account is not None:
            try:
                mailbox_login.save_password(account, request.secrets["mail_password"])
            except MailServerError as error:
                problem = error
        if problem is None:
            return SeeOther(reverse("onboarding:ready"))
    elif account is not None and account.imap_host and account.has_login:
        try:
            mailbox_login.try_login(account)
        except MailServerError as error:
            problem = error
    context = {
        "address": user.username,
        "checks": _checks(account, problem),
        "certificates": _certificates(user),
        "inbox_url": reverse("reading:home"),
        "mail_form": _mail_form(request, account, problem),
    }
    status = HTTPStatus.OK
    if request.method == "POST":
        status = HTTPStatus.UNPROCESSABLE_ENTITY
    return render(request, "onboarding/ready.html", context, status=status)


def _checks(account: MailAccount | None, problem: MailServerError | None) -> list[dict[str, Any]]:
    certificate = {"words": _("Your certificates are ready"), "ok": True, "detail": ""}
    if account is None or not account.imap_host:
        detail = _("Ask your administrator to enter the mail server.")
        return [certificate, {"words": _("No mail server is known"), "ok": False, "detail": detail}]
    found = {"words": _("Mail server found"), "ok": True, "detail": account.imap_host}
    if problem is not None:
        opened = {"words": _("The mailbox did not open"), "ok": False, "detail": problem.sentence}
    elif account.has_login:
        opened = {"words": _("The mailbox opens"), "ok": True, "detail": account.imap_user}
    else:
        opened = {"words": _("The mailbox needs its password"), "ok": None, "detail": ""}
    return [certificate, found, opened]


def _mail_form(
    request: HttpRequest, account: MailAccount | None, problem: MailServerError | None
) -> dict[str, Any] | None:
    if account is None or not account.imap_host or account.login == MailAccount.Login.MASTER:
        return None
    if account.has_login and problem is None and request.GET.get("change") != "1":
        return None
    error = None
    if problem is not None:
        error = {"sentence": problem.sentence, "hint": ""}
        if request.method == "POST" and problem.code == "refused_login":
            error = {
                "sentence": _("The mail server does not accept this password."),
                "hint": _("Check it and try again. What was saved before was not changed."),
            }
    return {"needs_password": True, "imap_host": account.imap_host, "error": error}


def _certificates(user: User) -> list[dict[str, Any]]:
    # All are V1 (webmail.authority.issue): the authority checks addresses, nothing else.
    rows = user.own_certificates.select_related("certificate")
    return [
        {
            "purpose": row.purpose,
            "level_words": _("address checked"),
            "not_after": row.certificate.not_after,
        }
        for row in rows
    ]
