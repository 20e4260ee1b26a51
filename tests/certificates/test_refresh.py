"""Revocation lists and issuer certificates, fetched from a real server through the guarded door."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.utils import timezone

from launcher.foreign import ForeignAuthority
from webmail.certificates import material, refresh
from webmail.certificates.models import Intermediate, RevocationList

pytestmark = pytest.mark.django_db


class Publisher(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Publisher

    def do_GET(self) -> None:
        known = self.headers.get("If-None-Match")
        self.server.asked.append((self.path, known))
        body = self.server.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        tag = f'"{len(body)}-{hash(body)}"'
        self.send_response(304 if known == tag else 200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", "0" if known == tag else str(len(body)))
        self.end_headers()
        if known != tag:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def publisher(settings: Any) -> Iterator[Publisher]:
    running = Publisher()
    threading.Thread(target=running.serve_forever, daemon=True).start()
    settings.FETCH_ALLOWED_HOSTS = [f"127.0.0.1:{running.server_port}"]
    material.forget()
    yield running
    running.shutdown()
    running.server_close()


def due_again() -> None:
    RevocationList.objects.update(due_at=timezone.now() - timedelta(seconds=1))


def test_a_list_is_fetched_once_kept_and_asked_for_conditionally(
    publisher: Publisher, outside: ForeignAuthority
) -> None:
    publisher.files["/list.crl"] = outside.crl()
    url = publisher.url("/list.crl")
    assert refresh.request([url, url]) == 1
    assert refresh.request([url]) == 0
    assert refresh.refresh_due() == 1
    row = RevocationList.objects.get()
    assert row.kind == "crl"
    assert row.problem == ""
    assert row.next_update is not None
    assert row.due_at > timezone.now()
    assert bytes(row.der or b"") in material.trust_material(None)["crls"]
    assert refresh.refresh_due() == 0, "not due"
    due_again()
    assert refresh.refresh_due() == 1
    assert [known is not None for _path, known in publisher.asked] == [False, True]
    assert RevocationList.objects.get().der == row.der


def test_pem_and_issuer_certificates_are_understood(
    publisher: Publisher, outside: ForeignAuthority
) -> None:
    issuer = x509.load_pem_x509_certificate(outside.chain.read_bytes())
    publisher.files["/ca.crt"] = issuer.public_bytes(Encoding.DER)
    publisher.files["/ca.pem"] = outside.chain.read_bytes()
    refresh.request([publisher.url("/ca.crt"), publisher.url("/ca.pem")])
    refresh.refresh_due()
    assert set(RevocationList.objects.values_list("kind", flat=True)) == {"issuer"}
    [row] = Intermediate.objects.all()
    assert bytes(row.der) in material.trust_material(None)["intermediates"]
    # Met somewhere, it helps to build a path; it is never an anchor.
    assert bytes(row.der) not in material.trust_material(None)["anchors"]


def test_what_is_neither_is_not_kept_and_asked_for_later_and_later(publisher: Publisher) -> None:
    publisher.files["/junk"] = b"<html>"
    refresh.request([publisher.url("/junk"), publisher.url("/missing")])
    assert refresh.refresh_due() == 2
    pauses = []
    for _ in range(3):
        pauses.append((RevocationList.objects.first().due_at - timezone.now()).total_seconds())
        due_again()
        refresh.refresh_due()
    assert pauses == sorted(pauses)
    for row in RevocationList.objects.all():
        assert row.der is None
        assert row.problem
        assert row.failures == 4


def test_a_failed_fetch_keeps_the_list_we_have(
    publisher: Publisher, outside: ForeignAuthority
) -> None:
    publisher.files["/list.crl"] = outside.crl()
    refresh.request([publisher.url("/list.crl")])
    refresh.refresh_due()
    kept = RevocationList.objects.get().der
    publisher.files["/list.crl"] = b"broken"
    due_again()
    refresh.refresh_due()
    row = RevocationList.objects.get()
    assert row.der == kept
    assert row.problem


def test_an_older_list_does_not_replace_a_newer_one(
    publisher: Publisher, outside: ForeignAuthority
) -> None:
    publisher.files["/list.crl"] = outside.crl()
    refresh.request([publisher.url("/list.crl")])
    refresh.refresh_due()
    later = timezone.now() + timedelta(hours=1)
    RevocationList.objects.update(this_update=later, etag="")
    due_again()
    refresh.refresh_due()
    row = RevocationList.objects.get()
    assert row.this_update == later
    assert "older" in row.problem


def test_inner_addresses_in_certificates_are_not_even_written_down(settings: Any) -> None:
    urls = [
        "http://127.0.0.1:9/x",
        "ldap://x.example/",
        "file:///etc/passwd",
        "http://a@b.example/",
    ]
    assert refresh.request(urls) == 0
    assert not RevocationList.objects.exists()


def test_our_own_lists_are_read_from_the_database_not_fetched(settings: Any) -> None:
    settings.ORIGIN = "http://mail.example.org"
    assert refresh.request(["http://mail.example.org/pki/v1.crl"]) == 0
    assert refresh.request(["http://mail.example.org.evil.example/v1.crl"]) == 1


def test_lists_that_nobody_met_for_a_month_are_not_fetched_any_more(publisher: Publisher) -> None:
    refresh.request([publisher.url("/list.crl")])
    due_again()
    RevocationList.objects.update(asked_at=timezone.now() - timedelta(days=31))
    assert refresh.refresh_due() == 0
    RevocationList.objects.update(asked_at=timezone.now() - timedelta(days=61))
    refresh.refresh_due()
    assert not RevocationList.objects.exists()


def test_strangers_cannot_fill_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "ROWS_LIMIT", 3)
    assert refresh.request(f"http://crl{n}.example/" for n in range(100)) == 3
    assert RevocationList.objects.count() == 3
