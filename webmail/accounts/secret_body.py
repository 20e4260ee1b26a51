"""Passwords from the raw request body, as bytes that can be overwritten.

Django turns every form field into ``str``, which cannot be wiped and lives as long as the request
and its garbage. A view that takes a password says so::

    @secret_fields("password")
    def sign_in(request): ...
        request.secrets["password"]   # bytearray, overwritten when the view has answered

:class:`SecretBodyMiddleware` then reads the body itself, *before* ``CsrfViewMiddleware`` looks for
its token. Named fields become ``bytearray``; only the others reach ``request.POST``. So Django's
own CSRF check works unchanged, with and without JavaScript, and ``request.POST`` and
``request.body`` never see a password.

``docs/password-in-memory.md`` tells what remains in memory nonetheless: the buffers of the HTTP
server are not ours to overwrite.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar, cast

from django.core.exceptions import BadRequest, RequestDataTooBig
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.datastructures import MultiValueDict

from crypto_agent.protocol import wipe

BODY_LIMIT: Final = 16 * 1024
"""Bytes; a form with passwords holds a few short fields."""

FIELD_LIMIT: Final = 40
"""Fields of one form; ours have fewer than ten."""

_BOUNDARY: Final = re.compile(r'boundary="?([A-Za-z0-9\'()+_,./:=? -]{1,70})"?', re.IGNORECASE)
"""RFC 2046 §5.1.1: 1 to 70 characters of this set."""

_NAME: Final = re.compile(rb'name="([^"\r\n]{1,80})"', re.IGNORECASE)

MARK: Final = "secret_fields"
"""Attribute of a marked view; decorators around it carry it on (``functools.wraps``)."""

View = TypeVar("View", bound=Callable[..., HttpResponse])


class SecretRequest(HttpRequest):
    """What a view marked with :func:`secret_fields` is given (for type checkers)."""

    secrets: dict[str, bytearray]


def secret_fields(*names: str) -> Callable[[View], View]:
    """Mark a view: these form fields reach it in ``request.secrets`` only."""

    def mark(view: View) -> View:
        vars(view)[MARK] = frozenset(names)
        return view

    return mark


class SecretBodyMiddleware:
    """Stands before ``CsrfViewMiddleware``; does nothing for views that are not marked."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        secrets: dict[str, bytearray] = {}
        cast(SecretRequest, request).secrets = secrets
        try:
            return self.get_response(request)
        finally:
            for secret in secrets.values():
                wipe(secret)
            secrets.clear()

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> None:
        names = getattr(view, MARK, None)
        if names is None or request.method != "POST":
            return
        body = read_body(request)
        try:
            fill_request(request, body, names)
        finally:
            wipe(body)


def read_body(request: HttpRequest) -> bytearray:
    """The whole body. Raises RequestDataTooBig, and BadRequest when it was read before."""
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError as error:
        raise BadRequest("no length") from error
    if length > BODY_LIMIT:
        raise RequestDataTooBig("This form holds too much.")
    if hasattr(request, "_post") or hasattr(request, "_body"):
        raise BadRequest("the body was read too early")  # a middleware before us looked at POST
    body = bytearray()
    while len(body) < length:
        chunk = request.read(length - len(body))
        if not chunk:
            break
        body += chunk
        wipe(chunk)  # CPython hands it out as immutable bytes, and we are its only holder
        del chunk
    return body


def fill_request(request: HttpRequest, body: bytearray, names: frozenset[str]) -> None:
    """Spread the fields of ``body`` over ``request.secrets`` and ``request.POST``."""
    content_type = request.content_type
    if content_type == "application/x-www-form-urlencoded":
        fields = urlencoded_fields(body)
    elif content_type == "multipart/form-data":
        match = _BOUNDARY.search(request.META.get("CONTENT_TYPE", ""))
        if match is None:
            raise BadRequest("no boundary")
        fields = multipart_fields(body, match[1].encode("ascii"))
    else:
        raise BadRequest("not a form")
    post = QueryDict(mutable=True, encoding="utf-8")
    secrets = cast(SecretRequest, request).secrets
    for count, (name, value) in enumerate(fields):
        if count >= FIELD_LIMIT:
            raise BadRequest("too many fields")
        if name in names:
            if name in secrets:
                wipe(secrets[name])
            secrets[name] = value
        else:
            post.appendlist(name, value.decode("utf-8", "replace"))
    for name in names:
        secrets.setdefault(name, bytearray())
    request.POST = post  # type: ignore[assignment]  # immutable two lines below
    request._files = MultiValueDict()  # type: ignore[attr-defined]  # Django's own, not in its stubs
    post._mutable = False


def urlencoded_fields(body: bytearray) -> Iterator[tuple[str, bytearray]]:
    """Fields of application/x-www-form-urlencoded (URL Standard §5.1), values as bytes."""
    position = 0
    while position < len(body):
        end = body.find(b"&", position)
        end = len(body) if end < 0 else end
        equals = body.find(b"=", position, end)
        split = end if equals < 0 else equals
        if end > position:
            name = _percent_decode(body, position, split).decode("utf-8", "replace")
            yield name, _percent_decode(body, min(split + 1, end), end)
        position = end + 1


def _percent_decode(body: bytearray, start: int, end: int) -> bytearray:
    # Sized once: a growing bytearray would leave its earlier, shorter copies behind.
    decoded = bytearray(end - start)
    length, position = 0, start
    while position < end:
        byte = body[position]
        if byte == 0x2B:  # "+"
            byte = 0x20
        elif byte == 0x25 and position + 2 < end:  # "%"
            high, low = _HEX.get(body[position + 1]), _HEX.get(body[position + 2])
            if high is not None and low is not None:
                byte = high * 16 + low
                position += 2
        decoded[length] = byte
        length += 1
        position += 1
    del decoded[length:]
    return decoded


_HEX: Final = {ord(digit): int(digit, 16) for digit in "0123456789abcdefABCDEF"}


def multipart_fields(body: bytearray, boundary: bytes) -> Iterator[tuple[str, bytearray]]:
    """Fields of multipart/form-data (RFC 7578 §4), values as bytes; files are not expected."""
    mark = b"--" + boundary
    position = body.find(mark)
    while position >= 0:
        start = position + len(mark)
        if body[start : start + 2] == b"--":
            return
        head_end = body.find(b"\r\n\r\n", start)
        following = body.find(b"\r\n" + mark, start)
        if head_end < 0 or following < 0:
            raise BadRequest("a part does not end")
        name = _NAME.search(body[start:head_end])
        if name is not None:
            value = bytearray(max(0, following - head_end - 4))
            value[:] = memoryview(body)[head_end + 4 : max(following, head_end + 4)]
            yield name[1].decode("utf-8", "replace"), value
        position = following + 2
