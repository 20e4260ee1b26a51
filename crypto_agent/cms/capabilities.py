"""SMIMECapabilities (RFC 8551 §2.5.2): what we announce, and what a correspondent announced."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from crypto_agent.cms import der, oids
from crypto_agent.cms.errors import CmsError
from crypto_agent.cms.tlv import Cursor

CAPABILITY_LIMIT: Final = 64
"""Entries read; honest clients announce 5 to 15."""

OWN: Final = der.sequence(
    # RFC 8551 §2.5.2: in order of preference; §2.5.2 and RFC 3565 §4.2: AES without parameters
    der.algorithm(oids.AES_256_GCM),
    der.algorithm(oids.AES_128_GCM),
    der.algorithm(oids.AES_256_CBC),
    der.algorithm(oids.AES_128_CBC),
    der.algorithm(oids.CHACHA20_POLY1305),
    der.algorithm(oids.CEK_HKDF_SHA256),  # RFC 9709 §5
    der.algorithm("1.3.132.1.11.1", der.algorithm(oids.AES_256_WRAP)),  # RFC 5753 §8
    der.algorithm("1.2.840.113549.1.9.16.3.19", der.algorithm(oids.AES_256_WRAP)),  # RFC 8418 §4
)
"""What we can open, as the attribute's value."""


def read(encoded: bytes | None) -> frozenset[str]:
    """Dotted OIDs of the algorithms in a SMIMECapabilities value. Unreadable means none."""
    found: set[str] = set()
    if not encoded:
        return frozenset()
    try:
        cursor = Cursor(encoded)
        cursor.enter()
        while not cursor.at_end():
            if len(found) >= CAPABILITY_LIMIT:
                return frozenset()
            cursor.enter()
            found.add(cursor.oid())
            while not cursor.at_end():
                cursor.skip()
            cursor.leave()
        cursor.leave()
        cursor.finish()
    except CmsError:
        return frozenset()
    return frozenset(found)


def all_read_gcm(announced: Iterable[bytes | None]) -> bool:
    """Whether every recipient said that they open AES-256-GCM; silence counts as no.

    ``announced``: one SMIMECapabilities value per recipient, taken only from signatures that hold.
    """
    values = list(announced)
    return bool(values) and all(oids.AES_256_GCM in read(value) for value in values)
