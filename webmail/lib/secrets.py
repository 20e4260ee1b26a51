"""Read secrets from the environment or from files, loudly."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from django.core.exceptions import ImproperlyConfigured

KEY_BYTES = 32
HOW_TO_MAKE = "Make one: openssl rand -base64 32"


def _decode(name: str, text: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImproperlyConfigured(f"{name} is not base64. {HOW_TO_MAKE}") from error
    if len(key) != KEY_BYTES:
        raise ImproperlyConfigured(
            f"{name} holds {len(key)} bytes instead of {KEY_BYTES}. {HOW_TO_MAKE}"
        )
    return key


def secret_bytes(env: Any, name: str) -> bytes:
    """One 32-byte secret in base64 from ``NAME`` or ``NAME_FILE``. Raises ImproperlyConfigured."""
    text = env.str(name, default="")
    if not text:
        raise ImproperlyConfigured(f"{name} is not set. Name its file in {name}_FILE.")
    return _decode(name, text)


def secret_ring(env: Any, name: str) -> list[bytes]:
    """Several 32-byte secrets, one base64 line each; the first is the current one."""
    lines = [line for line in env.str(name, default="").split() if line]
    if not lines:
        raise ImproperlyConfigured(f"{name} is not set. Name its file in {name}_FILE.")
    return [_decode(name, line) for line in lines]
