"""CompressedData (RFC 3274): reading, with a cap that is reached before the memory is."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Final

from crypto_agent.cms import der, oids
from crypto_agent.cms.content_info import close_content, open_content
from crypto_agent.cms.errors import DAMAGED, TOO_COMPLEX, UNSUPPORTED, CmsError
from crypto_agent.cms.tlv import Octets

SIZE_LIMIT: Final = 100 * 1024 * 1024
"""Octets of decompressed content."""

RATIO_LIMIT: Final = 25
"""How many times the message may grow. Text shrinks 3 to 10 times, a bomb 1,000 times."""

RATIO_FLOOR: Final = 1024 * 1024
"""Octets that are always allowed: small repetitive mail compresses better than any ratio."""


@dataclass(frozen=True)
class Decompressed:
    content: bytes = field(repr=False)
    content_type: str
    """Dotted OID; id-data in mail."""


def decompress(data: Octets, *, limit: int = SIZE_LIMIT) -> Decompressed:
    """The content of a CompressedData ContentInfo.

    Raises CmsError: cms.too_complex for a bomb, cms.damaged, cms.unsupported.
    """
    _, cursor = open_content(data, oids.COMPRESSED_DATA)
    cursor.enter()
    cursor.small_integer()
    if cursor.algorithm().name != oids.ZLIB_COMPRESS:
        raise CmsError(UNSUPPORTED)
    cursor.enter()
    content_type = cursor.oid()
    cursor.enter(der.CONTEXT_CONSTRUCTED)
    chunks = cursor.chunks()
    cursor.leave()
    cursor.leave()
    cursor.leave()
    close_content(cursor)

    size = sum(map(len, chunks))
    room = min(limit, max(RATIO_FLOOR, size * RATIO_LIMIT))
    work = zlib.decompressobj()
    found: list[bytes] = []
    try:
        for chunk in chunks:
            piece = work.decompress(chunk, room + 1)
            room -= len(piece)
            if room < 0 or work.unconsumed_tail:
                raise CmsError(TOO_COMPLEX)
            found.append(piece)
        rest = work.flush()
    except zlib.error as error:
        raise CmsError(DAMAGED) from error
    if not work.eof:
        raise CmsError(DAMAGED)
    if len(rest) > room:
        raise CmsError(TOO_COMPLEX)
    return Decompressed(b"".join([*found, rest]), content_type)
