"""Pages for what went wrong: one sentence, what to do, and an id that is also in the log.

Templates ``400.html``, ``403.html``, ``404.html``, ``500.html``; context: ``sentence``, ``hint``,
``error_id``, ``status``.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from webmail.accounts.request import ours


class ErrorIdMiddleware:
    """Gives every request an id; it is shown and logged only when something fails."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        ours(request).error_id = secrets.token_hex(4)
        return self.get_response(request)


def _page(request: HttpRequest, status: HTTPStatus, sentence: str, hint: str) -> HttpResponse:
    context = {
        "sentence": sentence,
        "hint": hint,
        "status": status.value,
        "error_id": getattr(request, "error_id", ""),
    }
    return render(request, f"{status.value}.html", context, status=status.value)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(
        request,
        HTTPStatus.BAD_REQUEST,
        _("The server did not understand what this page sent."),
        _("Go back, reload the page and try again."),
    )


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(
        request,
        HTTPStatus.FORBIDDEN,
        _("You may not open this."),
        _("If you should be able to, ask your administrator."),
    )


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _page(
        request,
        HTTPStatus.NOT_FOUND,
        _("There is nothing at this address."),
        _("It may have been moved or deleted. Go to your inbox and look there."),
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """Needs neither the session nor the database: either may be what failed."""
    context = {
        "sentence": _("Something went wrong here, not with you."),
        "hint": _("Try again in a moment. If it stays, give this number to your administrator."),
        "status": 500,
        "error_id": getattr(request, "error_id", ""),
    }
    return HttpResponse(render_to_string("500.html", context), status=500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _page(
        request,
        HTTPStatus.FORBIDDEN,
        _("This page was open for too long, or came from another place."),
        _("Reload it and send the form again; cookies of this site must be allowed."),
    )


def staff_locked_out(request: HttpRequest, *_args: Any, **_kwargs: Any) -> HttpResponse:
    """What ``/admin/`` answers after too many wrong passwords (django-axes)."""
    return _page(
        request,
        HTTPStatus.FORBIDDEN,
        _("Too many wrong passwords."),
        _("Wait 15 minutes and try again."),
    )
