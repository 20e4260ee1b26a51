"""Signing in is opening the vault: there is no other check of a password in the web.

Three acts: :func:`sign_in` (a browser becomes this person's), :func:`unlock` (the same browser may
use the keys again), :func:`lock`. The secret C that the agent hands out goes into the browser's
cookie and nowhere else.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import time
import uuid
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.contrib.auth import login, logout
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from crypto_agent.protocol import SESSION_SECRET_BYTES, ErrorCode, ProtocolError, derive
from webmail.accounts import throttle
from webmail.accounts.addresses import normalise
from webmail.accounts.models import BrowserSession, User
from webmail.accounts.request import ours
from webmail.agent import door
from webmail.agent.door import KeyHolderSession
from webmail.agent.sentences import explain

KEY_SESSION: Final = "key_session"
"""Name in the Django session: the hex id of the agent's session, absent while locked."""
BROWSER_SESSION: Final = "browser_session"
SIGNED_IN_AT: Final = "signed_in_at"

_BACKEND: Final = "django.contrib.auth.backends.ModelBackend"
REFUSAL_SECONDS: Final = 0.75
"""Argon2id takes a quarter of a second; under load refusals may still take longer than this."""
SEEN_EVERY: Final = timedelta(minutes=1)
"""How exact "last seen" is; a write per request would be one too many."""


class Refused(Exception):
    """Sign-in or unlock did not happen. ``sentence`` and ``hint`` are for the person."""

    def __init__(self, code: str, sentence: str, hint: str = "", *, wait: int = 0) -> None:
        super().__init__(code)
        self.code = code
        self.sentence = sentence
        self.hint = hint
        self.wait = wait


# --------------------------------------------------------------------------- whose vault


def find_user(name: str, *, even_disabled: bool = False) -> User | None:
    """The active person with a vault whose address (any of them) ``name`` is."""
    try:
        address = normalise(name)
    except ValidationError:
        return None
    found = User.objects.filter(Q(username=address) | Q(addresses__address=address))
    if not even_disabled:
        found = found.filter(is_active=True)
    return found.filter(activated_at__isnull=False).distinct().first()


def decoy_id(name: str) -> str:
    """The id under which a name that is nobody's is tried: always the same one for a name, so
    that its brakes in the agent behave as those of a person."""
    secret = derive(settings.DEPLOYMENT_SECRET, "decoy of " + name.strip().casefold())
    return uuid.UUID(bytes=secret[:16], version=4).hex


# --------------------------------------------------------------------------- the three acts


def sign_in(request: HttpRequest, name: str, password: bytearray) -> KeyHolderSession:
    """Open the vault of ``name`` and make this browser theirs. Raises :class:`Refused`."""
    user = find_user(name, even_disabled=True)
    holder = open_vault(request, user, name, password, way="password")
    assert user is not None  # nobody opens a decoy
    if not user.is_active:
        # Said only to whoever knows the password; others learn nothing of the account.
        door.lock(user.hex, session=holder.session)
        raise Refused(
            "disabled",
            _("Your account is disabled."),
            _("Ask your administrator to enable it. Your mail is kept."),
        )
    begin_session(request, user, holder)
    return holder


def unlock(request: HttpRequest, password: bytearray) -> KeyHolderSession:
    """Open the vault of the person who is signed in here. Raises :class:`Refused`."""
    user = request.user
    assert isinstance(user, User)
    holder = open_vault(request, user, user.username, password, way="password")
    request.session.cycle_key()
    request.session[KEY_SESSION] = holder.session
    browser_of(request).update(key_session=holder.session, seen_at=timezone.now())
    ours(request).holder = holder
    return holder


def open_vault(
    request: HttpRequest, user: User | None, name: str, secret: bytearray, *, way: str
) -> KeyHolderSession:
    """One guess at a vault under all brakes. Nobody's name takes the same path and the same time.

    Raises :class:`Refused` with code "wrong", "slow_down" or "unavailable".
    """
    started = time.monotonic()
    subject = user.hex if user is not None else decoy_id(name)
    with_brakes(request, subject)
    try:
        holder = door.unlock(subject, way=way, secret=secret)
    except ProtocolError as error:
        if error.code == ErrorCode.WRONG_PASSWORD:
            even_out(started)
        raise refusal(error, way=way, signed_in=request.user.is_authenticated) from error
    release_brakes(request, subject)
    return holder


def with_brakes(request: HttpRequest, subject: str) -> None:
    """Take a token per name and per network address. Raises :class:`Refused` (slow_down)."""
    network = throttle.network_of(request)
    wait = max(
        throttle.take(throttle.BY_NETWORK, network), throttle.take(throttle.BY_NAME, subject)
    )
    if wait:
        raise slow_down(wait)


def release_brakes(request: HttpRequest, subject: str) -> None:
    throttle.give_back(throttle.BY_NETWORK, throttle.network_of(request))
    throttle.give_back(throttle.BY_NAME, subject)


def slow_down(wait: int) -> Refused:
    minutes = math.ceil(wait / 60)
    return Refused(
        "slow_down",
        _("Too many tries."),
        _("Wait %(minutes)d min and try again. Nothing is lost.") % {"minutes": minutes},
        wait=wait,
    )


def even_out(started: float) -> None:
    """Wait until a refusal is as old as all refusals are.

    The agent spends the same time on nobody's name; what is left are the audit row and other small
    differences, which must not tell who has a mailbox here.
    """
    time.sleep(max(0.0, REFUSAL_SECONDS - (time.monotonic() - started)))


def refusal(error: ProtocolError, *, way: str = "password", signed_in: bool = False) -> Refused:
    """The agent's code as a sentence that does not tell an unknown name from a wrong secret.

    ``signed_in``: nobody was asked for a name, hence the sentence speaks of the secret alone.
    """
    if error.code == ErrorCode.RATE_LIMITED:
        return slow_down(15 * 60)
    if error.code != ErrorCode.WRONG_PASSWORD:
        sentence, hint = explain(error.code)
        return Refused("unavailable", sentence, hint)
    if signed_in:
        if way == "recovery":
            return Refused(
                "wrong",
                _("This is not your recovery code."),
                _("A code that was replaced by a newer one opens nothing any more."),
            )
        return Refused(
            "wrong",
            _("This is not your password."),
            _("Check whether Caps Lock is on. With your recovery code you can set a new password."),
        )
    if way == "recovery":
        return Refused(
            "wrong",
            _("This address and recovery code do not belong together."),
            _("Check both. A code that was replaced by a newer one opens nothing any more."),
        )
    return Refused(
        "wrong",
        _("This address and password do not belong together."),
        _(
            "Check both, and whether Caps Lock is on. "
            "With your recovery code you can set a new password."
        ),
    )


def begin_session(request: HttpRequest, user: User, holder: KeyHolderSession) -> None:
    """A new Django session for this person; whatever this browser had before ends."""
    end_key_session(request)
    logout(request)  # a fresh session id, with nothing in it (session fixation)
    login(request, user, backend=_BACKEND)
    browser = BrowserSession.objects.create(
        user=user,
        key_session=holder.session,
        label=browser_label(request.headers.get("User-Agent", "")),
        network_address=throttle.client_ip(request) or None,
    )
    request.session[KEY_SESSION] = holder.session
    request.session[BROWSER_SESSION] = browser.pk.hex
    request.session[SIGNED_IN_AT] = int(timezone.now().timestamp())
    ours(request).holder = holder


def lock(request: HttpRequest) -> None:
    """The keys of this browser's session are gone; the person stays signed in."""
    end_key_session(request)
    request.session.pop(KEY_SESSION, None)
    browser_of(request).update(key_session="")
    ours(request).holder = None


def sign_out(request: HttpRequest) -> None:
    """Lock, then forget this browser."""
    end_key_session(request)
    browser_of(request).delete()
    logout(request)
    ours(request).holder = None


def browser_of(request: HttpRequest) -> QuerySet[BrowserSession]:
    """The row of the browser that asks; empty for staff who came through Django's own sign-in."""
    browser = request.session.get(BROWSER_SESSION)
    return BrowserSession.objects.filter(pk=browser) if browser else BrowserSession.objects.none()


def end_key_session(request: HttpRequest) -> None:
    session = request.session.get(KEY_SESSION)
    if session and request.user.is_authenticated:
        door.lock(request.user.pk.hex, session=session)


def revoke(browser: BrowserSession) -> None:
    """Sign out another browser: its keys now, itself at its next request."""
    if browser.key_session:
        door.lock(browser.user_id.hex, session=browser.key_session)
    BrowserSession.objects.filter(pk=browser.pk).update(key_session="", revoked_at=timezone.now())


def lock_everywhere(user: User, *, sign_out_others: bool) -> None:
    """Panic: every session of this person loses its keys now, and its sign-in when asked."""
    door.lock(user.hex)
    user.browser_sessions.update(key_session="")
    if sign_out_others:
        user.browser_sessions.update(revoked_at=timezone.now())
        user.end_all_browser_sessions()


# --------------------------------------------------------------------------- the cookie


def set_unlock_cookie(response: HttpResponse, holder: KeyHolderSession) -> None:
    """C for the browser: HttpOnly, Secure, SameSite=Strict, this host only, gone with the browser.

    ``Secure`` holds on http://localhost too: browsers treat it as a secure context.
    """
    response.set_cookie(
        settings.UNLOCK_COOKIE_NAME,
        base64.urlsafe_b64encode(holder.secret).decode("ascii"),
        path="/",
        secure=True,
        httponly=True,
        samesite="Strict",
    )


def delete_unlock_cookie(response: HttpResponse) -> None:
    response.delete_cookie(settings.UNLOCK_COOKIE_NAME, path="/", samesite="Strict")


def read_unlock_cookie(request: HttpRequest) -> bytes | None:
    """C from the browser, or None when there is none or it is not one."""
    text = request.COOKIES.get(settings.UNLOCK_COOKIE_NAME, "")
    try:
        secret = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return secret if len(secret) == SESSION_SECRET_BYTES else None


# --------------------------------------------------------------------------- words


_BROWSERS: Final = (
    ("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"), ("Chrom", "Chrome"),
    ("Safari", "Safari"),
)  # fmt: skip
_SYSTEMS: Final = (
    ("Windows", "Windows"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"),
    ("Mac OS", "macOS"), ("Linux", "Linux"),
)  # fmt: skip


def browser_label(user_agent: str) -> str:
    """ "Firefox on Linux": enough to recognise one's own browser, not enough to trace it."""
    user_agent = re.sub(r"[^\x20-\x7e]", "", user_agent[:400])
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), _("A browser"))
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    if not system:
        return browser
    return _("%(browser)s on %(system)s") % {"browser": browser, "system": system}
