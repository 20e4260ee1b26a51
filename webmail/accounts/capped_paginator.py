"""Lists of any length without counting them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.core.paginator import Paginator
from django.utils.functional import cached_property

if TYPE_CHECKING:
    AnyPaginator = Paginator[Any]
else:
    AnyPaginator = Paginator

COUNT_LIMIT: Final = 5_000
"""Fifty pages. Who looks for one of 100,000 people searches, and does not leaf."""


class CappedPaginator(AnyPaginator):
    """Counts up to :data:`COUNT_LIMIT` rows and stops there; later rows are found by searching."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by().values("pk")[:COUNT_LIMIT].count())
