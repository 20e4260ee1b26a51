"""Identity levels in words (CA/Browser Forum S/MIME requirements, as V1 to V4)."""

from __future__ import annotations

from typing import Final

from django.utils.translation import gettext_lazy as _

LEVEL_WORDS: Final = {
    "V1": _("address checked"),
    "V2": _("person checked"),
    "V3": _("organisation checked"),
    "V4": _("organisation and person checked"),
}


def level_words(level: str) -> str:
    """An unknown policy proves the address and nothing more."""
    return str(LEVEL_WORDS.get(level, LEVEL_WORDS["V1"]))
