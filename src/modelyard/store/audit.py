"""Audit: who changed what, when and why. Rows are added in the transaction of the change itself."""

import re
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection, insert, or_, select, union_all, update

from modelyard.core.audit import AuditEntry
from modelyard.store.database import Database
from modelyard.store.nouns import without_nul
from modelyard.store.tables import audit, counters, endpoints, models, remotes

# The subject of all that changes what nodes are to serve: one at a time, since each counts the generation up.
WANTED: Final = "wanted"
_OF_ENDPOINTS: Final = frozenset({"endpoint", "deployment", "remotes"})


class Audit:
    """The audit rows of one database."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def record(
        self,
        who: str,
        what: str,
        subject: str,
        why: str,
        session: Connection,
        *,
        project: str | None = None,
    ) -> None:
        """Add a row in the transaction ``session`` (of ``Database.begin``), before what it tells of is gone.

        It is of the project of the model or the endpoint that it is about, else of ``project``."""
        row = {
            "time": self._clock(),
            "who": who,
            "what": what,
            "subject": subject,
            "why": without_nul(why),
            "project": project or _project_of(session, what, subject),
        }
        session.execute(insert(audit).values(row))

    def record_wanted(
        self,
        who: str,
        what: str,
        subject: str,
        why: str,
        session: Connection,
        *,
        project: str | None = None,
    ) -> None:
        """As :meth:`record`, of a change of what nodes are to serve: the generation grows with it.

        The transaction is one about :data:`WANTED`."""
        generation = counters.c.name == "generation"
        session.execute(update(counters).where(generation).values(value=counters.c.value + 1))
        self.record(who, what, subject, why, session, project=project)

    def list(self, limit: int, *, project: str | None = None, about: str | None = None) -> list[AuditEntry]:
        """The latest entries (of one project, and ``about`` one subject, when it is named), the newest first. What is
        about ``fraud/3`` or ``fraud@production`` is about ``fraud`` too."""
        query = select(audit).order_by(audit.c.id.desc()).limit(limit)
        if project is not None:
            query = query.where(audit.c.project == project)
        if about is not None:
            parts = [audit.c.subject.startswith(about + mark, autoescape=True) for mark in "/@"]
            query = query.where(or_(audit.c.subject == about, *parts))
        with self._database.session() as session:
            return [AuditEntry(**row) for row in session.execute(query).mappings()]


def _project_of(session: Connection, what: str, subject: str) -> str | None:
    """The project of what ``subject`` names: an endpoint, or a model (``fraud/3``, ``fraud@production``)."""
    if what.partition(".")[0] in _OF_ENDPOINTS:
        named = union_all(
            select(endpoints.c.project).where(endpoints.c.name == subject),
            select(remotes.c.project).where(remotes.c.endpoint == subject),
        )
    else:
        name = re.split("[/@]", subject, maxsplit=1)[0]
        named = select(models.c.project).where(models.c.name == name)
    return session.execute(named.limit(1)).scalar()
