"""Homes that share one database: which there are, where they are reached, and which are gone."""

import builtins
import threading
from collections.abc import Callable, Collection

from sqlalchemy import insert, select, update

from modelyard.core.struct import Noun
from modelyard.store.database import Database
from modelyard.store.tables import homes


class HomeEntry(Noun):
    """One home of a team. ``url`` is its control plane's, ``node_url`` its node's; ``seen`` is when its control
    plane last said that it lives, ``gone`` whether that is too long ago. Times are seconds since the epoch."""

    id: str
    host: str
    created: float
    seen: float
    url: str | None = None
    node_url: str | None = None
    gone: bool = False


class Homes:
    """The homes of one database. One that has said nothing for ``silence`` seconds is gone.

    All times are of the database's own clock (``clock``): those of the machines may differ, or jump.
    """

    def __init__(
        self, database: Database, *, silence: float, clock: Callable[[], float] | None = None
    ) -> None:
        self._database = database
        self._silence = silence
        self._clock = clock or database.time
        self._lock = threading.Lock()
        self._told: tuple[float, float] | None = None  # since when without a gap, and when last

    def tell(self, id: str, host: str, url: str | None, node_url: str | None) -> None:
        """The control plane of the home ``id``, which is this one, lives."""
        now = self._clock()
        place = {"host": host[:255], "url": url, "node_url": node_url, "seen": now}
        with self._database.begin(f"home {id}") as session:
            known = session.execute(update(homes).where(homes.c.id == id).values(place))
            if known.rowcount == 0:
                session.execute(insert(homes).values(id=id, created=now, **place))
        with self._lock:
            since = now if self._told is None or now - self._told[1] > self._silence / 2 else self._told[0]
            self._told = since, now

    def list(self) -> builtins.list[HomeEntry]:
        """All that there ever were, the oldest first."""
        now = self._clock()
        with self._database.session() as session:
            rows = session.execute(select(homes).order_by(homes.c.created, homes.c.id)).mappings().all()
        return [HomeEntry(**row, gone=row["seen"] < now - self._silence) for row in rows]

    def eldest(self) -> str | None:
        """Of those whose control planes live the one that there was first: for what one of them is to do."""
        return next((home.id for home in self.list() if not home.gone), None)

    def gone(self) -> Collection[str]:
        """Ids of those whose control plane has said nothing for too long, though it could have.

        Nobody could while the database was away, nor while all machines were off: who has not itself been
        telling it for that long, without a gap, takes nobody for gone.
        """
        now = self._clock()
        with self._lock:
            told = self._told
        if told is None or now - told[0] < self._silence or now - told[1] > self._silence / 2:
            return ()
        return {home.id for home in self.list() if home.gone}
