"""What is written down, and what people see when something breaks."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

import pytest
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from webmail import urls
from webmail.lib.quiet_log import QuietFormatter, quiet


@pytest.mark.parametrize(
    ("text", "must_go"),
    [
        ("login of alice@acme.example failed", "alice"),
        ("Key (address)=(alice@acme.example) already exists", "alice"),
        ("to=<Alice.Adams+x@mail.acme.example>", "Adams"),
        ("用户@例子.公司 signs in", "用户"),
        ("Not Found: /welcome/AbC-_123456/", "AbC"),
        ("GET /mail/1/?q=salary+bob&page=2", "salary"),
        ("DETAIL:  Key (subject)=(Salaries 2026) exists.", "Salaries"),
    ],
)
def test_what_must_not_be_written_is_taken_out(text: str, must_go: str) -> None:
    assert must_go in text
    assert must_go not in quiet(text)


def test_ordinary_lines_stay_as_they_are() -> None:
    line = "worker took 12 tasks from 10.0.0.1:5672 in 0.5 s, queue agent.node1"
    assert quiet(line) == line


def test_tracebacks_are_cleaned_too() -> None:
    try:
        raise ValueError("no such person: alice@acme.example")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "broke", (), sys.exc_info())
    line = QuietFormatter("{message}", style="{").format(record)
    assert "ValueError" in line
    assert "alice" not in line


def test_every_handler_writes_through_the_quiet_formatter() -> None:
    handlers = settings.LOGGING["handlers"].values()
    assert {handler["formatter"] for handler in handlers} == {"line"}
    formatter = settings.LOGGING["formatters"]["line"]["()"]
    assert formatter == f"{QuietFormatter.__module__}.{QuietFormatter.__qualname__}"
    assert not logging.getLogger("django").handlers


def test_names_tried_at_the_administrators_door_are_not_logged() -> None:
    assert not logging.getLogger("axes.attempts").isEnabledFor(logging.WARNING)


# --------------------------------------------------------------------------- error pages


def breaks(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("secret of alice@acme.example")


@pytest.fixture
def a_site_that_breaks(monkeypatch: pytest.MonkeyPatch) -> Client:
    from django.urls import clear_url_caches

    clear_url_caches()
    monkeypatch.setattr(urls, "urlpatterns", [path("breaks/", breaks), *urls.urlpatterns])
    client = Client(raise_request_exception=False)
    yield client  # type: ignore[misc]
    clear_url_caches()


@pytest.mark.django_db
def test_an_error_shows_a_number_that_is_also_in_the_log(
    a_site_that_breaks: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = a_site_that_breaks.get("/breaks/")
    page = answer.content.decode()
    assert answer.status_code == 500
    assert "alice" not in page
    assert "RuntimeError" not in page
    lines = [
        QuietFormatter("{message}", style="{").format(record)
        for record in caplog.records
        if record.name == "django.request"
    ]
    number = re.search(r"\[error ([0-9a-f]{8})\]", lines[0])
    assert number is not None
    assert number[1] in page
    assert "RuntimeError" in lines[0]
    assert "alice" not in lines[0]


@pytest.mark.django_db
@pytest.mark.parametrize("where", ["/nothing/here/", "/sign-in/", "/healthz", "/welcome/x/"])
def test_every_answer_carries_the_browser_side_defences(where: str) -> None:
    answer = Client().get(where)
    policy = answer["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'self'" in policy or "frame-ancestors 'none'" in policy
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"


@pytest.mark.django_db
def test_no_page_of_ours_has_inline_script_or_style() -> None:
    for where in ("/sign-in/", "/recover/", "/nothing/", "/welcome/x/"):
        page: Any = Client().get(where).content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)", page)
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page)


@pytest.mark.django_db
def test_the_site_says_that_it_is_well() -> None:
    answer = Client().get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")
