"""What may be served as what. Whatever a browser could run is served as bytes to be saved."""

from __future__ import annotations

import re
from typing import Final

from django.http import HttpResponse
from django.utils.http import content_disposition_header

_RASTER: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)

DOWNLOAD_TYPES: Final = frozenset(
    {
        "application/pdf",
        "application/zip",
        "application/msword",
        "application/vnd.ms-excel",
        "application/vnd.ms-powerpoint",
        "application/rtf",
        "text/csv",
        "text/plain",
        "text/calendar",
        "text/vcard",
        "message/rfc822",
    }
)
"""Told to the browser so that it can offer the right program; everything else is octet-stream."""

_OFFICE: Final = re.compile(
    r"application/vnd\.(?:openxmlformats-officedocument|oasis\.opendocument)\.[a-z.-]{1,80}"
)

_RESERVED: Final = re.compile(r"(?i)(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)")

NAME_LENGTH: Final = 150


def raster_type(data: bytes) -> str | None:
    """The image type by its first bytes, whatever the mail says; None for anything else."""
    for magic, media_type in _RASTER:
        if data.startswith(magic):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def file_name(name: str, fallback: str) -> str:
    """A name to save under: no path, no control characters, no device names, not hidden."""
    last = re.split(r"[/\\]", name.replace("\0", ""))[-1]
    plain = re.sub(r"[\x00-\x1f\x7f<>:\"|?*\u202a-\u202e\u2066-\u2069]", "_", last).strip(" .")
    if not plain or set(plain) <= {"_", "."}:
        return fallback
    if _RESERVED.match(plain):
        plain = f"_{plain}"
    if len(plain) > NAME_LENGTH:
        stem, dot, extension = plain.rpartition(".")
        keep = f".{extension}" if dot and len(extension) <= 10 else ""
        plain = (stem if keep else plain)[: NAME_LENGTH - len(keep)] + keep
    return plain


def download(data: bytes, *, name: str, media_type: str, fallback: str) -> HttpResponse:
    """``data`` as a file to save."""
    known = media_type in DOWNLOAD_TYPES or _OFFICE.fullmatch(media_type)
    response = HttpResponse(data, content_type=media_type if known else "application/octet-stream")
    response["Content-Disposition"] = (
        content_disposition_header(True, file_name(name, fallback)) or "attachment"
    )
    return _harmless(response)


def picture(data: bytes) -> HttpResponse | None:
    """``data`` shown in place when it is a raster image, else None."""
    media_type = raster_type(data)
    if media_type is None:
        return None
    return _harmless(HttpResponse(data, content_type=media_type))


def _harmless(response: HttpResponse) -> HttpResponse:
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cross-Origin-Resource-Policy"] = "same-origin"
    response["Cache-Control"] = "no-store, private"
    return response
