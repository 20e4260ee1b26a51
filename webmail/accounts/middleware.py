"""``request.holder``: who may use keys in this request, from the session and the unlock cookie."""

from __future__ import annotations

import time
import zoneinfo
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.utils import timezone, translation

from webmail.accounts import sign_in
from webmail.accounts.models import User
from webmail.accounts.request import ours
from webmail.agent import door
from webmail.agent.door import KeyHolderSession
from webmail.lib.numbers import whole

BACKGROUND_HEADER: Final = "X-Sealpost-Background"
"""Scripts that ask by themselves (new mail, countdown) send it: asking does not keep unlocked."""

STRANGERS_LIMIT: Final = 64 * 1024
"""Bytes of a form; sign-in, recovery and invitation are a few hundred."""


class UnlockedSessionMiddleware:
    """Sets ``request.holder`` and ``request.lock_state``; ends what has expired or was revoked.

    * Not signed in: both None.
    * Signed in and unlocked: a :class:`KeyHolderSession` and the seconds left.
    * Signed in, locked (idle, too old, locked elsewhere, cookie gone): both None.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        ours(request).holder = None
        ours(request).lock_state = None
        background = BACKGROUND_HEADER in request.headers
        user = request.user
        if user.is_authenticated:
            assert isinstance(user, User)
            if self._is_over(request, user, background=background):
                sign_in.sign_out(request)
            else:
                self._find_holder(request, user, background=background)
        with words_and_time_of(request), door.background(background):
            response = self.get_response(request)
        if ours(request).holder is None and settings.UNLOCK_COOKIE_NAME in request.COOKIES:
            sign_in.delete_unlock_cookie(response)
        if request.user.is_authenticated:
            # Pages hold what only this person may see: not for shared caches, nor for "back"
            # after signing out.
            response.headers.setdefault("Cache-Control", "no-store, private")
        return response

    def _is_over(self, request: HttpRequest, user: User, *, background: bool) -> bool:
        """True when the sign-in is too old, this browser was revoked, or no vault was opened."""
        if sign_in.BROWSER_SESSION not in request.session:
            # Django's own sign-in is for staff without a mailbox: a password that somebody set
            # there must not open anybody's mail.
            return user.activated_at is not None
        since = time.time() - int(request.session.get(sign_in.SIGNED_IN_AT, 0))
        if since > settings.SESSION_COOKIE_AGE:
            return True
        browser = sign_in.browser_of(request).first()
        if browser is None or browser.revoked_at is not None:
            return True
        now = timezone.now()
        if now - browser.seen_at > sign_in.SEEN_EVERY and not background:
            sign_in.browser_of(request).update(seen_at=now)
        return False

    def _find_holder(self, request: HttpRequest, user: User, *, background: bool) -> None:
        session = request.session.get(sign_in.KEY_SESSION)
        if session is None:
            return
        secret = sign_in.read_unlock_cookie(request)
        if secret is None:
            return
        holder = KeyHolderSession(user=user.hex, session=session, secret=secret)
        state = door.lock_state(holder, touch=not background)
        if state is None or min(state.idle_left_s, state.absolute_left_s) <= 0:
            sign_in.lock(request)
            return
        ours(request).holder = holder
        ours(request).lock_state = state


class StrangersBodyMiddleware:
    """Before ``CsrfViewMiddleware``, which reads a whole form into memory to find its token: only
    whoever is signed in may send attachments."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_arguments: object) -> None:
        length = whole(request.META.get("CONTENT_LENGTH") or "0")
        fits = length is not None and length <= STRANGERS_LIMIT
        if not fits and not request.user.is_authenticated:
            raise RequestDataTooBig("nobody is signed in")


@contextmanager
def words_and_time_of(request: HttpRequest) -> Iterator[None]:
    """The person's language and time zone for the length of one request."""
    user = request.user
    if isinstance(user, User):
        if user.language:
            translation.activate(user.language)
        try:
            timezone.activate(zoneinfo.ZoneInfo(user.time_zone))
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):  # the system's list shrank
            timezone.deactivate()
    try:
        yield
    finally:
        timezone.deactivate()
