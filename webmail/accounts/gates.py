"""Who may enter a view."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, ParamSpec
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_vary_headers

from webmail.accounts.models import User
from webmail.accounts.request import ours

Parameters = ParamSpec("Parameters")
View = Callable[..., HttpResponse]


def is_fragment(request: HttpRequest) -> bool:
    """True when HTMX asks for a piece of a page; going back in history it wants the whole."""
    headers = request.headers
    return (
        headers.get("HX-Request") == "true" and headers.get("HX-History-Restore-Request") != "true"
    )


class SeeOther(HttpResponseRedirect):
    """After a POST: go there with GET (RFC 9110 §15.4.4)."""

    status_code = HTTPStatus.SEE_OTHER


def signed_in(view: View) -> View:
    """Only a person with a mailbox; others go to the sign-in page and come back afterwards.

    An HTMX request is answered by 401 with ``HX-Redirect``, which loads the sign-in page whole.
    """

    @wraps(view)
    def gate(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        user = request.user
        if isinstance(user, User) and user.activated_at is not None:
            return view(request, *args, **kwargs)
        if is_fragment(request):
            response = HttpResponse(status=HTTPStatus.UNAUTHORIZED)
            response["HX-Redirect"] = _sign_in_url(request.headers.get("HX-Current-URL", ""))
            return response
        return HttpResponseRedirect(_sign_in_url(request.get_full_path()))

    return gate


def _sign_in_url(back_to: str) -> str:
    path = reverse("accounts:sign_in")
    if back_to.startswith(("http://", "https://")):
        back_to = "/" + back_to.partition("://")[2].partition("/")[2]
    return f"{path}?{urlencode({'next': back_to})}" if back_to not in ("", "/") else path


def unlocked(view: View) -> View:
    """Only with keys at hand; otherwise the unlock form in place, status 423 (RFC 4918 §11.3).

    Whole pages get ``accounts/locked.html``, HTMX the fragment ``accounts/_unlock.html``; both are
    given ``back_to``, where the person wanted to go. Implies :func:`signed_in`.
    """

    @wraps(view)
    def gate(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if ours(request).holder is not None:
            return view(request, *args, **kwargs)
        return locked_answer(request)

    return signed_in(gate)


def locked_answer(request: HttpRequest) -> HttpResponse:
    """The unlock form as the answer to this request; also for views that find out later."""
    fragment = is_fragment(request)
    back_to = request.get_full_path() if request.method == "GET" else ""
    response = render(
        request,
        "accounts/_unlock.html" if fragment else "accounts/locked.html",
        {"back_to": back_to, "error": None},
        status=HTTPStatus.LOCKED,
    )
    patch_vary_headers(response, ["HX-Request"])
    return response
