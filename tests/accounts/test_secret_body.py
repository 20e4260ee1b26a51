"""The password reaches the view as bytes, and nothing else ever holds it."""

from __future__ import annotations

import io
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.core.exceptions import BadRequest, RequestDataTooBig
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.http.request import RawPostDataException
from django.middleware.csrf import CsrfViewMiddleware
from hypothesis import given
from hypothesis import strategies as st

from webmail.accounts.secret_body import (
    BODY_LIMIT,
    SecretBodyMiddleware,
    multipart_fields,
    secret_fields,
    urlencoded_fields,
)

FORM = "application/x-www-form-urlencoded"
PASSWORD = "käse & brot + 100%"


def a_request(body: bytes, content_type: str = FORM, **more: Any) -> WSGIRequest:
    return WSGIRequest(
        {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/sign-in/",
            "CONTENT_TYPE": content_type,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "443",
            "wsgi.url_scheme": "https",
            **more,
        }
    )


@secret_fields("password")
def keep_what_it_gets(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


def through_middleware(request: WSGIRequest) -> dict[str, Any]:
    """What the view sees, copied before the middleware overwrites it."""
    seen: dict[str, Any] = {}

    def view(request: HttpRequest) -> HttpResponse:
        middleware.process_view(request, keep_what_it_gets, (), {})
        seen["password"] = bytes(request.secrets["password"])  # type: ignore[attr-defined]
        seen["reference"] = request.secrets["password"]  # type: ignore[attr-defined]
        seen["post"] = request.POST.dict()
        return HttpResponse("ok")

    middleware = SecretBodyMiddleware(view)
    middleware(request)
    return seen


@pytest.mark.parametrize("kind", ["urlencoded", "multipart"])
def test_the_view_gets_the_password_as_bytes_and_the_rest_as_text(kind: str) -> None:
    fields = {"address": "alice@acme.example", "password": PASSWORD, "next": "/mail/1/"}
    if kind == "urlencoded":
        request = a_request(urlencode(fields).encode())
    else:
        mark = "----WebKitFormBoundaryabc"
        parts = "".join(
            f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        body = (parts + f"--{mark}--\r\n").encode()
        request = a_request(body, f"multipart/form-data; boundary={mark}")
    seen = through_middleware(request)
    assert seen["password"] == PASSWORD.encode()
    assert seen["post"] == {"address": "alice@acme.example", "next": "/mail/1/"}


def test_the_password_is_overwritten_when_the_view_has_answered() -> None:
    seen = through_middleware(a_request(urlencode({"password": PASSWORD}).encode()))
    assert seen["password"] == PASSWORD.encode()
    assert set(seen["reference"]) == {0}


def test_neither_post_nor_body_of_the_request_holds_the_password() -> None:
    request = a_request(urlencode({"password": PASSWORD, "next": "/"}).encode())
    request.secrets = {}  # type: ignore[attr-defined]
    SecretBodyMiddleware(lambda _: HttpResponse()).process_view(request, keep_what_it_gets, (), {})
    assert "password" not in request.POST
    assert not request.FILES
    with pytest.raises((RawPostDataException, AttributeError)):
        assert request.body


def test_a_view_without_the_mark_is_left_alone() -> None:
    request = a_request(b"password=visible")
    middleware = SecretBodyMiddleware(lambda _: HttpResponse())
    middleware.process_view(request, lambda request: HttpResponse(), (), {})
    assert request.POST["password"] == "visible"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"password": "x"}', "application/json"),
        (b"x", "multipart/form-data"),
        (b"--a\r\nContent-Disposition: form-data", "multipart/form-data; boundary=a"),
        (b"&".join(b"a%d=1" % number for number in range(60)), FORM),
    ],
)
def test_what_is_no_form_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(BadRequest):
        through_middleware(a_request(body, content_type))


def test_a_large_body_is_refused_before_it_is_read() -> None:
    request = a_request(b"x", CONTENT_LENGTH=str(BODY_LIMIT + 1))
    with pytest.raises(RequestDataTooBig):
        through_middleware(request)


def test_a_body_that_somebody_read_before_is_refused_loudly() -> None:
    request = a_request(b"password=x")
    assert request.POST["password"] == "x"
    with pytest.raises(BadRequest):
        through_middleware(request)


def test_passwords_are_taken_from_the_form_before_the_csrf_check_reads_it() -> None:
    order = settings.MIDDLEWARE
    csrf = f"{CsrfViewMiddleware.__module__}.{CsrfViewMiddleware.__qualname__}"
    assert order.index("webmail.accounts.secret_body.SecretBodyMiddleware") < order.index(csrf)


@given(st.lists(st.tuples(st.text(min_size=1, max_size=8), st.text(max_size=20)), max_size=8))
def test_urlencoded_forms_are_read_as_browsers_write_them(fields: list[tuple[str, str]]) -> None:
    body = bytearray(urlencode(fields).encode())
    read = [(name, value.decode()) for name, value in urlencoded_fields(body)]
    assert read == fields


@given(st.binary(max_size=300))
def test_no_body_whatever_breaks_the_readers(body: bytes) -> None:
    list(urlencoded_fields(bytearray(body)))
    try:
        list(multipart_fields(bytearray(b"--b\r\n" + body), b"b"))
    except BadRequest:
        pass
