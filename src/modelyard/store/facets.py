"""Facets: by which values the latest versions of models can be told apart, and how many have each."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from sqlalchemy import select

from modelyard.store import tables
from modelyard.store.database import Database

FACETS: Final = ("task", "category", "format", "precision", "licence", "architecture")
_MOST: Final = 50  # values of a facet that are told, the frequent ones
_SHARE: Final = 0.01  # of the time may be spent on counting

Values = dict[str, tuple[tuple[str, int], ...]]


class Facets:
    """The facets of one database.

    Counting reads every listing. What was counted is told again for a hundred times as long as that took (a small
    registry is counted anew each time, one of 100,000 versions twice a minute), and while one counts the others are
    told what was before. Each project has its own counts.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._counted: dict[str | None, tuple[float, Values]] = {}  # by project: until when, and what

    def values(self, project: str | None = None) -> Values:
        """By the name of a facet its values with their counts, the most frequent first; of one project when it is
        named."""
        known = self._counted.get(project)
        if known is not None and (self._clock() < known[0] or not self._lock.acquire(blocking=False)):
            return known[1]
        if known is None:
            self._lock.acquire()
        try:
            if known is None and (told := self._counted.get(project)) is not None:
                return told[1]  # somebody was faster
            begun = self._clock()
            counted = self._count(project)
            now = self._clock()
            self._counted[project] = (now + (now - begun) / _SHARE, counted)
            return counted
        finally:
            self._lock.release()

    def _count(self, project: str | None) -> Values:
        query = select(*(tables.listings.c[name] for name in FACETS)).where(tables.listings.c.latest)
        if project is not None:
            own = select(tables.models.c.id).where(tables.models.c.project == project)
            query = query.where(tables.listings.c.model_id.in_(own))
        with self._database.session() as session:
            rows = session.execute(query).all()
        return {
            name: tuple(
                sorted(
                    Counter(row[place] for row in rows if row[place] is not None).items(),
                    key=lambda each: (-each[1], each[0]),
                )[:_MOST]
            )
            for place, name in enumerate(FACETS)
        }
