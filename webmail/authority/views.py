"""The public files under /pki/: CA certificates and revocation lists, for every mail program."""

from __future__ import annotations

import hashlib

from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.http import http_date
from django.views.decorators.http import condition, require_safe

from webmail.authority.models import AuthorityCertificate, Crl

CERTIFICATE_TYPE = "application/pkix-cert"
"""RFC 2585 §4.1."""
LIST_TYPE = "application/pkix-crl"
"""RFC 2585 §4.2."""
CERTIFICATE_AGE = 86_400
LIST_AGE = 600
"""Ten minutes: a revocation must not hide behind a proxy's cache for long."""


def _answer(data: bytes, content_type: str, age: int) -> HttpResponse:
    response = HttpResponse(data, content_type=content_type)
    response["Cache-Control"] = f"public, max-age={age}"
    return response


def _find_certificate(name: str) -> AuthorityCertificate:
    try:
        return AuthorityCertificate.objects.get(name=name)
    except AuthorityCertificate.DoesNotExist as error:
        raise Http404 from error


def _certificate_tag(request: HttpRequest, name: str) -> str | None:
    row = AuthorityCertificate.objects.filter(name=name).values_list("fingerprint", flat=True)
    found = row.first()
    return f'"{found}"' if found else None


@require_safe
@condition(etag_func=_certificate_tag)
def certificate(request: HttpRequest, name: str) -> HttpResponse:
    """A certificate of the authority, DER. 404 when there is none of that name."""
    found = _find_certificate(name)
    return _answer(bytes(found.der), CERTIFICATE_TYPE, CERTIFICATE_AGE)


@require_safe
def revocation_list(request: HttpRequest, name: str) -> HttpResponse:
    """The current revocation list of the named CA, DER. 404 when there is none."""
    found = Crl.objects.filter(issuer__name=name).order_by("-number").first()
    if found is None:
        raise Http404
    data = bytes(found.der)
    tag = f'"{hashlib.sha256(data).hexdigest()}"'
    if request.headers.get("If-None-Match") == tag:
        response = HttpResponse(status=304)
    else:
        left = int((found.next_update - timezone.now()).total_seconds())
        response = _answer(data, LIST_TYPE, max(0, min(LIST_AGE, left)))
        response["Expires"] = http_date(found.next_update.timestamp())
        response["Last-Modified"] = http_date(found.this_update.timestamp())
    response["ETag"] = tag
    return response
