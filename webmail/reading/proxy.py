"""Remote images, when the reader asked for them: fetched by the server, which tells the sender
nothing of the reader but that somebody here looked.

The address is signed and lives for minutes, so that this is no open proxy; it needs no cookie,
because the sandboxed document that shows the image has no origin to send one from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from webmail.lib import fetch
from webmail.reading.safe_types import raster_type

if TYPE_CHECKING:
    from webmail.accounts.models import User

_SALT: Final = "sealpost remote image"

LIFETIME_SECONDS: Final = 15 * 60
SIZE_LIMIT: Final = 5 * 1024 * 1024
TIMEOUT_SECONDS: Final = 8.0


def address(url: str, user: User) -> str:
    """Our address for a remote image."""
    token = signing.dumps({"u": url, "p": user.hex}, salt=_SALT, compress=True)
    return f"{reverse('reading:remote')}?{urlencode({'a': token})}"


@require_GET
def answer(request: HttpRequest) -> HttpResponse:
    """The image, or an empty answer: a page of ours has no place inside a mail."""
    try:
        wanted = signing.loads(request.GET.get("a", ""), salt=_SALT, max_age=LIFETIME_SECONDS)
    except signing.BadSignature:
        return HttpResponse(status=403)
    try:
        # The servers that an administrator named are there for revocation lists: no mail may have
        # us ask them for anything.
        data = fetch.get(
            str(wanted["u"]), limit=SIZE_LIMIT, timeout=TIMEOUT_SECONDS, public_only=True
        )
    except fetch.FetchError:
        return HttpResponse(status=404)
    media_type = raster_type(data)
    if media_type is None:
        return HttpResponse(status=415)
    response = HttpResponse(data, content_type=media_type)
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    # The document that asks has an opaque origin: same-origin would refuse it.
    response["Cross-Origin-Resource-Policy"] = "cross-origin"
    response["Cache-Control"] = f"private, max-age={LIFETIME_SECONDS}"
    return response
