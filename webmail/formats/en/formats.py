"""English, with 24 hours and the month in letters: readable in Boston as in Berlin."""

from __future__ import annotations

from typing import Final

DATE_FORMAT: Final = "j M Y"
TIME_FORMAT: Final = "H:i"
DATETIME_FORMAT: Final = "j M Y, H:i"
SHORT_DATE_FORMAT: Final = "j M Y"
SHORT_DATETIME_FORMAT: Final = "j M Y, H:i"
MONTH_DAY_FORMAT: Final = "j F"
YEAR_MONTH_FORMAT: Final = "F Y"
