"""Headers of static files, which are answered before the site's own policies are reached."""

from __future__ import annotations

from typing import Final
from wsgiref.headers import Headers

FILE_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
)
"""A file opened by itself, an SVG for example, runs nothing."""

FRAME_POLICY: Final = (
    "sandbox allow-scripts; default-src 'none'; script-src 'self'; "
    "style-src 'self' 'unsafe-inline'; img-src data: blob: 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
"""The editor takes in quoted mail. It has no origin, whatever page puts it into a frame, and only
pages of ours may."""


def add_headers(headers: Headers, path: str, url: str) -> None:
    """For WhiteNoise: what every static file is answered with."""
    page = path.endswith(".html")
    headers["Content-Security-Policy"] = FRAME_POLICY if page else FILE_POLICY
    headers["X-Frame-Options"] = "SAMEORIGIN" if page else "DENY"
