"""Mail addresses as certificates carry them: shape, comparable form, and when two are the same.

Pure functions of text. An address is ``local@domain``; nothing here knows display names.
"""

from __future__ import annotations

import codecs
import re
from enum import Enum
from typing import Final

import idna
import idna.uts46data

codecs.lookup("punycode")  # like uts46data: idna would load it in the midst of an operation

ADDRESS_LIMIT: Final = 254
"""RFC 5321 §4.5.3.1.3: a path is at most 256 octets including its angle brackets."""
LOCAL_LIMIT: Final = 64
"""RFC 5321 §4.5.3.1.1."""

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_LOCAL: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class AddressError(ValueError):
    """Text that is not an address we would compare or certify. Holds no content."""


class Match(Enum):
    """How far two addresses agree."""

    EXACT = "exact"
    LOCAL_CASE = "local_case"
    """Only the case of ASCII letters in the local part differs (RFC 8550 §3: SHOULD match)."""
    NONE = "none"


def holds_control(text: str) -> bool:
    """Whether text carries NUL, CR, LF or any other control character: an injection attempt."""
    return any(ord(letter) < 0x20 or 0x7F <= ord(letter) <= 0x9F for letter in text)


def canonical_domain(domain: str) -> str:
    """The domain in lower-case A-labels (RFC 5890). Raises AddressError."""
    if not domain or holds_control(domain):
        raise AddressError("domain")
    if domain.isascii():
        lowered = domain.lower()
    else:
        try:
            lowered = idna.encode(domain, uts46=True).decode("ascii").lower()
        except (idna.IDNAError, UnicodeError) as error:
            raise AddressError("domain") from error
    if len(lowered) > ADDRESS_LIMIT or not all(
        _LABEL.fullmatch(label) for label in lowered.split(".")
    ):
        raise AddressError("domain")
    return lowered


def split_address(address: str) -> tuple[str, str]:
    """``(local part as written, domain in A-labels)``. Raises AddressError.

    Only dot-atoms (RFC 5322 §3.2.3, RFC 6532 §3.2): quoted local parts are legal mail but hide
    separators from people, and no public CA certifies them.
    """
    if len(address) > ADDRESS_LIMIT or holds_control(address):
        raise AddressError("address")
    local, separator, domain = address.rpartition("@")
    if not separator or not _LOCAL.fullmatch(local) or len(local.encode()) > LOCAL_LIMIT:
        raise AddressError("address")
    return local, canonical_domain(domain)


def canonical_address(address: str) -> str:
    """``local@domain`` with the domain in lower-case A-labels. Raises AddressError."""
    local, domain = split_address(address)
    return f"{local}@{domain}"


def _ascii_lower(text: str) -> str:
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


def match_addresses(one: str, other: str) -> Match:
    """RFC 8550 §3: domains case-insensitively (MUST); local parts too (SHOULD), but we say so.

    Non-ASCII local parts are compared code point by code point (RFC 9598 §5): no case folding, no
    normalisation. Whatever is not an address matches nothing.
    """
    try:
        local_one, domain_one = split_address(one)
        local_other, domain_other = split_address(other)
    except AddressError:
        return Match.NONE
    if domain_one != domain_other:
        return Match.NONE
    if local_one == local_other:
        return Match.EXACT
    if _ascii_lower(local_one) == _ascii_lower(local_other):
        return Match.LOCAL_CASE
    return Match.NONE
