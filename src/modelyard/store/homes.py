"""Homes that share one database: which there are, where they are reached, and which are gone."""

import builtins
from collections.abc import Collection

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

    All times are of the database's own clock: those of the machines may differ, or jump.
    """

    def __init__(self, database: Database, *, silence: float) -> None:
        self._database = database
        self._silence = silence

    def tell(self, id: str, host: str, url: str | None, node_url: str | None) -> None:
        """The control plane of the home ``id`` lives."""
        now = self._database.time()
        place = {"host": host[:255], "url": url, "node_url": node_url, "seen": now}
        with self._database.begin(f"home {id}") as session:
            known = session.execute(update(homes).where(homes.c.id == id).values(place))
            if known.rowcount == 0:
                session.execute(insert(homes).values(id=id, created=now, **place))

    def list(self) -> builtins.list[HomeEntry]:
        """All that there ever were, the oldest first."""
        now = self._database.time()
        with self._database.session() as session:
            rows = session.execute(select(homes).order_by(homes.c.created, homes.c.id)).mappings().all()
        return [HomeEntry(**row, gone=row["seen"] < now - self._silence) for row in rows]

    def gone(self) -> Collection[str]:
        """Ids of those whose control plane has said nothing for too long."""
        return {home.id for home in self.list() if home.gone}
