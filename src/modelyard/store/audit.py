"""Audit: who changed what, when and why. Rows are added in the transaction of the change itself."""

import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, insert, select, update

from modelyard.core.struct import Noun
from modelyard.store.database import Database
from modelyard.store.nouns import without_nul
from modelyard.store.tables import audit, counters

# The subject of all that changes what nodes are to serve: one at a time, since each counts the generation up.
WANTED: Final = "wanted"


class AuditEntry(Noun):
    """One change. ``time`` is seconds since the epoch; ``what`` is ``noun.verb``."""

    id: int
    time: float
    who: str
    what: str
    subject: str
    why: str = ""


class Audit:
    """The audit rows of one database."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def record(self, who: str, what: str, subject: str, why: str, session: Connection) -> None:
        """Add a row in the transaction ``session`` (of ``Database.begin``)."""
        row = {"time": self._clock(), "who": who, "what": what, "subject": subject, "why": without_nul(why)}
        session.execute(insert(audit).values(row))

    def record_wanted(self, who: str, what: str, subject: str, why: str, session: Connection) -> None:
        """As :meth:`record`, of a change of what nodes are to serve: the generation grows with it.

        The transaction is one about :data:`WANTED`."""
        generation = counters.c.name == "generation"
        session.execute(update(counters).where(generation).values(value=counters.c.value + 1))
        self.record(who, what, subject, why, session)

    def list(self, limit: int) -> list[AuditEntry]:
        """The latest entries, the newest first."""
        with self._database.session() as session:
            rows = session.execute(select(audit).order_by(audit.c.id.desc()).limit(limit))
            return [AuditEntry(**row) for row in rows.mappings()]
