"""Facets: by which values the listings that are wanted can be told apart, and how many have each."""

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace
from sqlalchemy import Connection, func, select

from modelyard.core.listing import Wanted
from modelyard.store import tables
from modelyard.store.conditions import all_of
from modelyard.store.database import Database

# Those of which a listing has one value; of tags and figures it may have many.
FACETS: Final = ("task", "category", "format", "precision", "licence", "architecture")
_MOST: Final = 50  # values of a facet that are told, the frequent ones
_SHARE: Final = 0.01  # of the time may be spent on counting
_KEPT: Final = 64  # searches whose counts are remembered

Values = dict[str, tuple[tuple[str, int], ...]]


class Facets:
    """The facets of one database.

    Counting reads every listing that is wanted. What was counted is told again for a hundred times as long as that took
    (a small registry is counted anew each time, one of 100,000 versions twice a minute), and while one counts the others
    are told what was before. Each search has its own counts.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        # By what is wanted, the least recently counted first: until when, and what.
        self._counted: OrderedDict[Wanted, tuple[float, Values]] = OrderedDict()

    def values(self, wanted: Wanted | None = None) -> Values:
        """By the name of a facet (:data:`FACETS`, ``tag`` and ``metric``: the names of figures) its values with their
        counts, the most frequent first. What
        is counted is what would be found if the value were chosen: all else that is ``wanted`` holds; another value of
        the same facet does not count, but other tags and figures do. Raises what a search for it does."""
        wanted = replace(wanted or Wanted(), sort="newest")
        known = self._counted.get(wanted)
        if known is not None and (self._clock() < known[0] or not self._lock.acquire(blocking=False)):
            return known[1]
        if known is None:
            self._lock.acquire()
        try:
            if known is None and (told := self._counted.get(wanted)) is not None:
                return told[1]  # somebody was faster
            begun = self._clock()
            counted = self._count(wanted)
            now = self._clock()
            self._counted[wanted] = (now + (now - begun) / _SHARE, counted)
            self._counted.move_to_end(wanted)
            while len(self._counted) > _KEPT:
                self._counted.popitem(last=False)
            return counted
        finally:
            self._lock.release()

    def _count(self, wanted: Wanted) -> Values:
        chosen = [name for name in FACETS if getattr(wanted, name) is not None]
        free = [name for name in FACETS if name not in chosen]
        with self._database.session() as session:
            found = _counts(session, wanted, free)
            for name in chosen:
                found |= _counts(session, replace(wanted, **{name: None}), [name])
            found["tag"] = _tags(session, wanted)
            found["metric"] = _metrics(session, wanted)
        return {name: found[name] for name in (*FACETS, "tag", "metric")}


def _tags(session: Connection, wanted: Wanted) -> tuple[tuple[str, int], ...]:
    """The tags of the listings that are all of it."""
    listings, tags = tables.listings, tables.card_tags
    many = func.count()
    query = (
        select(tags.c.tag, many)
        .join(listings, listings.c.model_id == tags.c.model_id)
        .where(*all_of(session, wanted, listings.c.version_id).conditions)
        .group_by(tags.c.tag)
        .order_by(many.desc(), tags.c.tag)
        .limit(_MOST)
    )
    return tuple((row[0], row[1]) for row in session.execute(query))


def _metrics(session: Connection, wanted: Wanted) -> tuple[tuple[str, int], ...]:
    """The names of the figures of the listings that are all of it."""
    listings, figures = tables.listings, tables.figures
    many = func.count()
    query = (
        select(figures.c.name, many)
        .join(listings, listings.c.version_id == figures.c.version_id)
        .where(
            figures.c.highest, *all_of(session, wanted, listings.c.version_id).conditions
        )  # once a version
        .group_by(figures.c.name)
        .order_by(many.desc(), figures.c.name)
        .limit(_MOST)
    )
    return tuple((row[0], row[1]) for row in session.execute(query))


def _counts(session: Connection, wanted: Wanted, names: list[str]) -> Values:
    """The values of the facets ``names`` among the listings that are all of it."""
    if not names:
        return {}
    query = select(*(tables.listings.c[name] for name in names))
    rows = session.execute(
        query.where(*all_of(session, wanted, tables.listings.c.version_id).conditions)
    ).all()
    return {
        name: tuple(
            sorted(
                Counter(row[place] for row in rows if row[place] is not None).items(),
                key=lambda each: (-each[1], each[0]),
            )[:_MOST]
        )
        for place, name in enumerate(names)
    }
