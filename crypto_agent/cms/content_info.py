"""What a CMS object is, told from its outermost element (RFC 5652 §3)."""

from __future__ import annotations

from typing import Final, Literal

from crypto_agent.cms import der, oids
from crypto_agent.cms.errors import UNSUPPORTED, CmsError
from crypto_agent.cms.tlv import Cursor, Octets

Kind = Literal["signed", "enveloped", "auth-enveloped", "compressed", "data", "other"]

_KINDS: Final[dict[str, Kind]] = {
    oids.SIGNED_DATA: "signed",
    oids.ENVELOPED_DATA: "enveloped",
    oids.AUTH_ENVELOPED_DATA: "auth-enveloped",
    oids.COMPRESSED_DATA: "compressed",
    oids.DATA: "data",
}


def kind(data: Octets) -> Kind | None:
    """Which content type a ContentInfo names, or None when it is no ContentInfo at all.

    Looks at the first octets only: a ``.p7m`` whose ``smime-type`` is missing or wrong is treated
    as what it is.
    """
    cursor = Cursor(data)
    try:
        cursor.enter()
        name = cursor.oid()
    except CmsError:
        return None
    return _KINDS.get(name, "other")


def open_content(data: Octets, *names: str) -> tuple[str, Cursor]:
    """A cursor inside a ContentInfo's content, which must be of one of the types ``names``.

    After reading, the caller leaves twice with :func:`close_content`. Raises CmsError (damaged,
    unsupported).
    """
    cursor = Cursor(data)
    cursor.enter()
    name = cursor.oid()
    if name not in names:
        raise CmsError(UNSUPPORTED)
    cursor.enter(der.CONTEXT_CONSTRUCTED)
    return name, cursor


def close_content(cursor: Cursor) -> None:
    """Leave the content and the ContentInfo. Raises CmsError (damaged) when more than padding
    follows."""
    cursor.leave()
    cursor.leave()
    cursor.finish(padding=True)


def content_info(name: str, pieces: der.Pieces) -> bytes:
    """ContentInfo DER around ``pieces``."""
    inner = der.wrap(der.CONTEXT_CONSTRUCTED, pieces)
    return b"".join(der.wrap(der.SEQUENCE, [der.oid(name), *inner]))
