"""The body of a mail as a document of its own.

Three layers, each sufficient alone: the sanitiser (``message.html``), this response's own
Content-Security-Policy with ``sandbox``, and the sandbox attribute of the frame that shows it.
Images of the mail itself are written into the document, because a sandboxed document has no origin
and sends no cookies; remote ones, when asked for, come through our proxy by a signed address.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any, Final

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html

from crypto_agent.protocol import ProtocolError
from webmail.message import html, text
from webmail.message.html import SafeHtml
from webmail.reading import proxy
from webmail.reading.open_message import Attachment, Body, OpenedMessage, open_parts
from webmail.reading.safe_types import raster_type

if TYPE_CHECKING:
    from webmail.accounts.models import User
    from webmail.agent.door import KeyHolderSession

INLINE_LIMIT: Final = 20
"""Images written into one document."""

INLINE_BYTES: Final = 8 * 1024 * 1024
"""Of all images of one document together."""


def policy(*, images: str = "") -> str:
    """The Content-Security-Policy of a body document; ``images`` is one more source of images."""
    sources = f"data: {images}".strip()
    return (
        "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; "
        f"style-src 'unsafe-inline'; img-src {sources}; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'self'"
    )


def respond(document: str, *, status: int = 200, images: str = "") -> HttpResponse:
    """``document`` with the headers that keep it harmless, also when it is opened by itself."""
    response = HttpResponse(document, status=status, content_type="text/html; charset=utf-8")
    response["Content-Security-Policy"] = policy(images=images)
    response["X-Content-Type-Options"] = "nosniff"
    response["X-Frame-Options"] = "SAMEORIGIN"
    response["Referrer-Policy"] = "no-referrer"
    response["Cross-Origin-Resource-Policy"] = "same-origin"
    response["Cache-Control"] = "no-store, private"
    return response


def safe_body(
    body: Body, *, inline: dict[str, str] | None = None, remote: Callable[[str], str] | None = None
) -> SafeHtml:
    """One part made safe."""
    if not body.is_html:
        return text.to_html(body.text)
    return html.sanitise(body.text, inline=inline, remote=remote if body.remote_allowed else None)


def remote_blocked(opened: OpenedMessage) -> int:
    """How many remote images the shown parts ask for."""
    return sum(safe_body(body).remote_blocked for body in opened.bodies if body.is_html)


def body_response(
    request: HttpRequest,
    *,
    holder: KeyHolderSession | None,
    user: User,
    opened: OpenedMessage,
    body: Body,
    remote: bool,
) -> HttpResponse:
    """The document of one part, with remote images only when asked for and allowed."""
    with_remote = remote and body.remote_allowed
    safe = safe_body(
        body,
        inline=inline_images(holder, user, opened, body),
        remote=_proxied(request, user) if with_remote else None,
    )
    images = request.build_absolute_uri(reverse("reading:remote")) if with_remote else ""
    return respond(html.document(safe), images=images)


def sentence_response(sentence: str, *, status: int) -> HttpResponse:
    """A sentence of ours in the frame's place."""
    body = format_html('<p class="mail-note">{}</p>', sentence)
    return respond(html.document(SafeHtml(str(body), "", 0, False)), status=status)


def _proxied(request: HttpRequest, user: User) -> Callable[[str], str]:
    def address(url: str) -> str:
        return request.build_absolute_uri(proxy.address(url, user))

    return address


def inline_images(
    holder: KeyHolderSession | None, user: User, opened: OpenedMessage, body: Body
) -> dict[str, str]:
    """Content-ID → data: address, for raster images of this mail that the part refers to.

    An image is only drawn into a part of the same protection: a sealed picture is never put where a
    stranger's unprotected text decides what is around it.
    """
    if not body.is_html or "cid:" not in body.text.lower():
        return {}
    wanted: list[Attachment] = [
        each
        for each in opened.attachments
        if each.content_id
        and each.content_id in body.text
        and each.protection == body.protection
        and each.is_image
    ][:INLINE_LIMIT]
    if not wanted:
        return {}
    try:
        parts: dict[str, dict[str, Any]] = open_parts(
            holder, user, opened.message, [each.id for each in wanted]
        )
    except ProtocolError:
        return {}  # the text is worth more than its pictures
    found: dict[str, str] = {}
    total = 0
    for each in wanted:
        data = bytes(parts[each.id]["data"])
        media_type = raster_type(data)
        total += len(data)
        if media_type is None or total > INLINE_BYTES or len(data) > html.DATA_LIMIT * 3 // 4:
            continue
        encoded = base64.b64encode(data).decode("ascii")
        found[each.content_id] = f"data:{media_type};base64,{encoded}"
    return found


# .mail-part: a negative margin must not lay a mail over our lines, nor over another part.
PRINT_STYLE: Final = """
.mail-print { margin: 0 0 16px; border-bottom: 1px solid #888; padding-bottom: 12px; }
.mail-print dt { float: left; clear: left; width: 7em; color: #555; }
.mail-print dd { margin: 0 0 2px 7.5em; }
.mail-part { overflow: hidden; contain: paint; }
"""


def print_document(lines: list[tuple[str, str]], bodies: list[SafeHtml]) -> str:
    """A document for printing: our lines as text, then the parts without their style sheets, which
    could otherwise redraw our lines."""
    head = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in lines)
    parts = (f'<div class="mail-part">{each.body}</div>' for each in bodies)
    body = f'<dl class="mail-print">{head}</dl>' + "<hr>".join(parts)
    return html.document(SafeHtml(body, PRINT_STYLE, 0, False))
