"""What a new password must be, decided without ever making text of it."""

from __future__ import annotations

import gzip
import hashlib
import hmac
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from django.contrib.auth import password_validation
from django.utils.translation import gettext as _

from crypto_agent.protocol import wipe
from webmail.accounts.models import User
from webmail.accounts.sign_in import Refused

LEAST: Final = 12
"""Characters. It wraps the vault key of a stolen database: Argon2id makes each guess dear, twelve
characters make them many (NIST SP 800-63B-4 §3.1.1 asks for 15 where it is the only factor, 8 where
not; the rate limits and the missing hash stand in between)."""

MOST: Final = 1024
"""Octets; the agent refuses longer ones."""

_FEW: Final = 5
"""Fewer different characters than this is a pattern, not a password."""


def check_new_password(password: bytearray, again: bytearray, names: Sequence[str]) -> None:
    """Raises :class:`Refused` with the sentence for the person. ``names``: what it must not be.

    Of somebody who did not prove yet who they are, ``names`` holds nothing but what they typed: an
    answer that knows more would tell a stranger who has a mailbox here, and their name.
    """
    if not hmac.compare_digest(password, again):
        raise Refused("differ", _("The two passwords differ."), _("Type the same one twice."))
    length = _characters(password)
    if length < LEAST:
        raise Refused(
            "short",
            _("This password is too short: at least %(least)d characters.") % {"least": LEAST},
            _("Several words with blanks between them are easy to remember and hard to guess."),
        )
    if len(password) > MOST:
        raise Refused("long", _("This password is too long."), _("1,024 bytes are the most."))
    lowered = _lowered(password)
    try:
        if len(set(lowered)) < _FEW or _is_common(lowered) or _is_own_name(lowered, names):
            raise Refused(
                "common",
                _("This password is easy to guess."),
                _("Choose one that is in no list and does not contain your name or address."),
            )
    finally:
        wipe(lowered)


def _characters(password: bytearray) -> int:
    """Characters in UTF-8: every octet that does not continue one (RFC 3629 §3)."""
    return sum(1 for octet in password if octet & 0xC0 != 0x80)


def _lowered(password: bytearray) -> bytearray:
    lowered = bytearray(len(password))
    for index, octet in enumerate(password):
        lowered[index] = octet + 32 if 65 <= octet <= 90 else octet
    return lowered


def _is_common(lowered: bytearray) -> bool:
    digest = hashlib.sha256(lowered).digest()
    return digest in _common_digests()


@cache
def _common_digests() -> frozenset[bytes]:
    """SHA-256 of the entries of Django's list of common passwords that are long enough to pass."""
    path = Path(password_validation.__file__).parent / "common-passwords.txt.gz"
    with gzip.open(path, "rb") as file:
        words = (line.strip() for line in file)
        return frozenset(hashlib.sha256(word).digest() for word in words if len(word) >= LEAST)


def names_of(user: User) -> list[str]:
    return [user.display_name, user.username, user.username.partition("@")[0]]


def _is_own_name(lowered: bytearray, names: Sequence[str]) -> bool:
    return any(
        len(name) >= _FEW and lowered.find(name.lower().encode()) >= 0 and
        len(lowered) - len(name.encode()) < _FEW
        for name in names
    )  # fmt: skip
