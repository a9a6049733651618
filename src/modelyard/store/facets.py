"""Facets: by which values the latest versions of models can be told apart, and how many have each."""

import threading
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import func, select

from modelyard.store import tables
from modelyard.store.database import Database

FACETS: Final = ("task", "category", "format", "precision", "licence", "architecture")
_MOST: Final = 50  # values of a facet that are kept, the frequent ones

Values = dict[str, tuple[tuple[str, int], ...]]


class Facets:
    """The facets of one database. Counting reads every listing, so what was counted is told for ``kept`` seconds."""

    def __init__(
        self, database: Database, *, kept: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._kept = kept
        self._clock = clock
        self._lock = threading.Lock()
        self._counted: tuple[float, Values] | None = None

    def values(self) -> Values:
        """By the name of a facet its values with their counts, the most frequent first."""
        with self._lock:  # of many who come at once one counts
            if self._counted is None or self._clock() - self._counted[0] > self._kept:
                self._counted = (self._clock(), self._count())
            return self._counted[1]

    def _count(self) -> Values:
        listings, found = tables.listings, Values()
        with self._database.session() as session:
            for name in FACETS:
                column, many = listings.c[name], func.count().label("many")
                query = select(column, many).where(listings.c.latest, column.is_not(None)).group_by(column)
                rows = session.execute(query.order_by(many.desc(), column).limit(_MOST)).all()
                found[name] = tuple((str(value), int(count)) for value, count in rows)
        return found
