"""How versions end: deprecated (do not begin to use it), deleted (restorable for a while), gone."""

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, insert, or_, select

from modelyard.core.errors import Conflict
from modelyard.core.model import Mark, Version
from modelyard.store import tables
from modelyard.store.audit import Audit
from modelyard.store.database import Database
from modelyard.store.nouns import unpack_object
from modelyard.store.relist import mark_latest, relist
from modelyard.store.version_rows import DELETED, DEPRECATED, find, noun, subject


class Retirement:
    """The marks of one database's versions."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._audit = Audit(database, clock)

    def deprecate(self, model: str, which: int | str | None, *, who: str, why: str) -> Version:
        """Say that nobody should begin to use a version, in place of what was said before. Raises NotFound."""
        with self._database.begin(subject(model)) as session:
            row = find(session, model, which)
            self._mark(session, row, DEPRECATED, Mark(time=self._clock(), who=who, why=why))
            self._audit.record(who, "version.deprecate", _told(row), why, session)
            return noun(find(session, model, row.number))

    def undeprecate(self, model: str, which: int | str | None, *, who: str, why: str = "") -> Version:
        """Take that back; nothing happens when it was not said. Raises NotFound."""
        with self._database.begin(subject(model)) as session:
            row = find(session, model, which)
            if row.deprecated_time is not None:
                unmark(session, row.id, DEPRECATED)
                self._audit.record(who, "version.undeprecate", _told(row), why, session)
            return noun(find(session, model, row.number))

    def delete(self, model: str, number: int, *, grace: float, who: str, why: str = "") -> Version:
        """Delete a version that nothing uses. Until ``grace`` seconds later it can be restored.

        One that is deleted already stays so, with the grace that it has. Raises NotFound, and Conflict that names
        the endpoints, aliases, jobs and versions made from it that use it.
        """
        with self._database.begin() as session:
            row = find(session, model, number)
            if row.deleted_time is None:
                used = users(session, row)
                if used:
                    raise Conflict(
                        f"{_told(row)} is used by {_listed(used)}; let go of it there first.",
                        field="version",
                    )
                now = self._clock()
                self._mark(session, row, DELETED, Mark(time=now, who=who, why=why, until=now + grace))
                self._audit.record(who, "version.delete", _told(row), why, session)
            return noun(find(session, model, number))

    def restore(self, model: str, number: int, *, who: str, why: str = "") -> Version:
        """Take a deletion back; nothing happens for a version that is not deleted. Raises NotFound also for
        one whose grace is over and that was collected."""
        with self._database.begin(subject(model)) as session:
            row = find(session, model, number)
            if row.deleted_time is not None:
                unmark(session, row.id, DELETED)
                self._audit.record(who, "version.restore", _told(row), why, session)
            return noun(find(session, model, number))

    def collect(self, now: float) -> int:
        """Forget the deleted versions whose grace is over by ``now``; how many there were.

        One that another version was made from waits for that one, also where that is deleted, so that what is restored knows its parent.
        """
        marks = tables.marks
        due = (
            select(marks.c.version_id)
            .where(marks.c.mark == DELETED, marks.c.until <= now)
            .where(~exists().where(tables.lineage.c.parent_id == marks.c.version_id))
        )
        collected = 0
        while True:
            with self._database.session() as session:
                if session.execute(due.limit(1)).first() is None:
                    return collected
            with self._database.begin() as session:
                ids = session.execute(due.limit(100)).scalars().all()
                for id in ids:
                    model, number, model_id = session.execute(
                        select(tables.models.c.name, tables.versions.c.number, tables.models.c.id)
                        .join(tables.versions)
                        .where(tables.versions.c.id == id)
                    ).one()
                    session.execute(delete(tables.versions).where(tables.versions.c.id == id))
                    mark_latest(session, model_id)
                    self._audit.record("system", "version.collect", f"{model}/{number}", "", session)
                collected += len(ids)

    @staticmethod
    def _mark(session: Connection, row: Row[Any], mark: str, said: Mark) -> None:
        marks = tables.marks
        session.execute(delete(marks).where(marks.c.version_id == row.id, marks.c.mark == mark))
        session.execute(
            insert(marks).values(
                version_id=row.id, mark=mark, time=said.time, who=said.who, why=said.why, until=said.until
            )
        )
        relist(session, row.id)


def unmark(session: Connection, version_id: int, mark: str) -> None:
    """Take a mark away."""
    marks = tables.marks
    session.execute(delete(marks).where(marks.c.version_id == version_id, marks.c.mark == mark))
    relist(session, version_id)


def users(session: Connection, row: Row[Any]) -> list[str]:
    """What uses the version of a row of ``version_rows.VERSIONS``, in words."""
    return [
        *(f"the endpoint {name}" for name in endpoints_of(session, row.model, row.number)),
        *(
            f"the alias {name}"
            for name in session.execute(
                select(tables.aliases.c.name)
                .where(tables.aliases.c.version_id == row.id)
                .order_by(tables.aliases.c.name)
            ).scalars()
        ),
        *(f"the job {id}" for id in _jobs_of(session, row.model, row.number)),
        *(f"{child}, which was made from it," for child in children_of(session, row.id)),
    ]


def endpoints_of(session: Connection, model: str, version: int | None = None) -> list[str]:
    """The endpoints that have a version (None: any) of a model under way or under traffic; retired and failed revisions do not count."""
    deployments, traffic, endpoints = tables.deployments, tables.traffic, tables.endpoints
    query = (
        select(endpoints.c.name)
        .join(deployments, deployments.c.endpoint_id == endpoints.c.id)
        .join(traffic, traffic.c.endpoint_id == endpoints.c.id)
        .where(
            deployments.c.model == model,
            or_(
                deployments.c.id == traffic.c.wanted,
                deployments.c.id == traffic.c.serving,
                deployments.c.state.in_(("pending", "starting", "ready")),
            ),
        )
        .distinct()
        .order_by(endpoints.c.name)
    )
    if version is not None:
        query = query.where(deployments.c.version == version)
    return list(session.execute(query).scalars())


def children_of(session: Connection, version_id: int) -> list[str]:
    """The versions made from one that are not deleted, as ``model/number``."""
    gone = exists().where(
        tables.marks.c.version_id == tables.lineage.c.version_id, tables.marks.c.mark == DELETED
    )
    query = (
        select(tables.models.c.name, tables.versions.c.number)
        .join(tables.versions, tables.versions.c.model_id == tables.models.c.id)
        .join(tables.lineage, tables.lineage.c.version_id == tables.versions.c.id)
        .where(tables.lineage.c.parent_id == version_id, ~gone)
        .order_by(tables.models.c.name, tables.versions.c.number)
    )
    return [f"{row.name}/{row.number}" for row in session.execute(query)]


def _jobs_of(session: Connection, model: str, number: int) -> list[str]:
    """Jobs under way that were asked to deploy the version, or have registered it and go on with it."""
    jobs, events = tables.jobs, tables.job_events
    query = select(jobs.c.id, jobs.c.number, jobs.c.parameters_json).where(
        jobs.c.state.in_(("queued", "running"))
    )
    found: list[str] = []
    for job in session.execute(query.order_by(jobs.c.number)).all():
        told = unpack_object(job.parameters_json) or {}
        if told.get("model") != model:
            continue
        version = told.get("version")
        if version is None:
            rows = session.execute(
                select(events.c.event_json).where(events.c.job_number == job.number)
            ).scalars()
            registered = [unpack_object(row) or {} for row in rows]
            version = next(
                (
                    each["data"].get("version")
                    for each in registered
                    if each.get("kind") == "stage_done" and each.get("stage") == "register"
                ),
                None,
            )
        if version == number:
            found.append(job.id)
    return found


def _told(row: Row[Any]) -> str:
    return f"{row.model}/{row.number}"


def _listed(used: list[str]) -> str:
    more = f" and {len(used) - 8} more" if len(used) > 8 else ""
    return ", ".join(used[:8]).rstrip(",") + more
