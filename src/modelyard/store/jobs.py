"""Jobs: durable runs with a lease, and their events. What a dead process left is claimed by another."""

import builtins
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, insert, select, update

from modelyard.core.access import DEFAULT_PROJECT
from modelyard.core.errors import Cancelled, Conflict, NotFound
from modelyard.core.job import Job, JobEvent, JobState
from modelyard.store.database import Database
from modelyard.store.nouns import new_id, pack, unpack, unpack_object
from modelyard.store.owner import CLAIM, is_alive
from modelyard.store.tables import job_events, jobs

_LIVING: Final = ("queued", "running")


def _of(job: str) -> str:
    """The subject of all that is written about a job."""
    return f"job {job}"


class Jobs:
    """The jobs of one database.

    A running job has an owner (a process and the number of its claim; see ``owner``) and a lease until
    which nobody else takes it. Methods that take an optional ``owner`` do nothing for one who has lost
    the job. Where several homes share the database a job is of ``home``: it is claimed there, and by
    another home only when :class:`~modelyard.store.homes.Homes` says that this one is gone.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float] = time.time,
        is_alive: Callable[[str], bool | None] = is_alive,
        *,
        home: str | None = None,
        gone: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._database = database
        self._clock = clock
        self._is_alive = is_alive
        self._home = home
        self._gone = gone

    def create(
        self,
        kind: str,
        subject: str,
        stages: Sequence[str],
        parameters: Mapping[str, object],
        *,
        project: str = DEFAULT_PROJECT,
    ) -> Job:
        """A job that waits for somebody to claim it."""
        now = self._clock()
        job = Job(
            id=new_id(),
            kind=kind,
            subject=subject,
            state="queued",
            stages=tuple(stages),
            parameters=dict(parameters),
            created=now,
            updated=now,
        )
        with self._database.begin(_of(job.id)) as session:
            session.execute(
                insert(jobs).values(
                    id=job.id,
                    kind=kind,
                    subject=subject,
                    state=job.state,
                    stages_json=pack(job.stages),
                    parameters_json=pack(job.parameters),
                    created=now,
                    updated=now,
                    home=self._home,
                    project=project,
                )
            )
        return job

    def get(self, id: str) -> Job:
        """Raises NotFound."""
        with self._database.session() as session:
            return _noun(self._require(session, id))

    def list(
        self,
        limit: int,
        state: JobState | None = None,
        *,
        here: bool = False,
        project: str | None = None,
    ) -> builtins.list[Job]:
        """The latest jobs, the newest first; of one state, of one project when it is named; with ``here`` this
        home's."""
        query = select(jobs).order_by(jobs.c.number.desc()).limit(limit)
        if here and self._home is not None:
            query = query.where(jobs.c.home == self._home)
        if state is not None:
            query = query.where(jobs.c.state == state)
        if project is not None:
            query = query.where(jobs.c.project == project)
        with self._database.session() as session:
            return [_noun(row) for row in session.execute(query)]

    def claim(self, owner: str, now: float, lease: float) -> Job | None:
        """Take the oldest job that waits, or whose owner is dead or has let its lease run out.

        ``lease`` is in seconds. The job is running and the owner's when this returns; None when
        there is nothing to do.
        """
        living = select(jobs).where(jobs.c.state.in_(_LIVING)).order_by(jobs.c.number)
        with self._database.session() as session:
            rows = session.execute(living).all()
        if not rows:
            return None
        homes = self._claimable()
        for row in rows:
            if not self._is_free(row, now, homes):
                continue
            with self._database.begin(_of(row.id)) as session:
                row = self._require(session, row.id)
                if row.state not in _LIVING or not self._is_free(row, now, homes):
                    continue  # somebody was faster
                values = {
                    "state": "running",
                    "owner": owner,
                    "lease": now + lease,
                    "updated": self._clock(),
                    "home": self._home,
                }
                session.execute(update(jobs).where(jobs.c.number == row.number).values(values))
                return _noun(self._require(session, row.id))
        return None

    def renew(self, job_id: str, owner: str, now: float, lease: float) -> bool:
        """Keep a job for ``lease`` more seconds; False when it is not the owner's any more."""
        with self._database.begin(_of(job_id)) as session:
            changed = session.execute(
                update(jobs)
                .where(jobs.c.id == job_id, jobs.c.owner == owner, jobs.c.state == "running")
                .values(lease=now + lease)
            )
            return changed.rowcount == 1

    def hold(self, session: Connection, job_id: str, owner: str) -> None:
        """Raises Conflict unless the job is ``owner``'s, which it then stays until the transaction ends."""
        row = session.execute(
            select(jobs).where(jobs.c.id == job_id).with_for_update(read=True)
        ).one_or_none()
        if row is None or row.state != "running" or row.owner != owner:
            raise Conflict(f"The job {job_id} was cancelled, or is another process's by now.")

    def enter(self, job_id: str, stage: str, *, owner: str | None = None) -> None:
        """The job is in ``stage`` now. Raises NotFound; Cancelled when it was cancelled; Conflict when it
        has ended, is not running, knows no such stage, or is another owner's."""
        with self._database.begin(_of(job_id)) as session:
            row = self._require(session, job_id)
            if row.state == "cancelled":
                raise Cancelled("The job was cancelled.")
            if row.state != "running" or (owner is not None and row.owner != owner):
                raise Conflict(f"The job {job_id} is {row.state}, or another process runs it.")
            if stage not in unpack(row.stages_json, tuple[str, ...]):
                raise Conflict(f"The job {job_id} has no stage {stage!r}.")
            values = {"stage": stage, "updated": self._clock()}
            session.execute(update(jobs).where(jobs.c.number == row.number).values(values))

    def event(
        self,
        job_id: str,
        kind: str,
        stage: str | None = None,
        message: str = "",
        current: float | None = None,
        total: float | None = None,
        data: Mapping[str, object] | None = None,
        *,
        owner: str | None = None,
        time: float | None = None,
    ) -> JobEvent:
        """Add to the job's story, also after it was cancelled: what was done by then stays known.

        ``kind`` is stage_started, progress, stage_done or warning: how a job ends is told by
        :meth:`finish`, :meth:`fail` and :meth:`cancel`. ``time`` is for who says the same again because
        he could not know whether it was kept: it is told once. Raises NotFound; Conflict when another
        owner has the job by now.
        """
        if kind not in ("stage_started", "progress", "stage_done", "warning"):
            raise ValueError(f"{kind!r} is not an event that a stage can tell")
        with self._database.begin(_of(job_id)) as session:
            row = self._require(session, job_id)
            if owner is not None and row.owner != owner and row.state != "cancelled":
                raise Conflict(f"The job {job_id} is another process's by now.")
            return self._tell(session, row, kind, stage, message, current, total, data, time)

    def events(self, job_id: str, after: int) -> builtins.list[JobEvent]:
        """The events whose sequence is greater than ``after``, in order. Raises NotFound."""
        with self._database.session() as session:
            number = self._require(session, job_id).number
            query = select(job_events.c.event_json).where(
                job_events.c.job_number == number, job_events.c.sequence > after
            )
            rows = session.execute(query.order_by(job_events.c.sequence)).scalars()
            return [unpack(row, JobEvent) for row in rows]

    def finish(self, job_id: str, result: Mapping[str, object], *, owner: str | None = None) -> bool:
        """The job is done; False when it had ended already or is another owner's. Raises NotFound."""
        return self._end(job_id, owner, "done", result=dict(result))

    def fail(self, job_id: str, error_body: Mapping[str, object], *, owner: str | None = None) -> bool:
        """The job has failed with an error body; False as in :meth:`finish`. Raises NotFound."""
        return self._end(job_id, owner, "failed", error=dict(error_body))

    def cancel(self, job_id: str) -> None:
        """End a job; who runs it finds out. Raises NotFound, and Conflict when it has ended otherwise."""
        if not self._end(job_id, None, "cancelled") and (state := self.get(job_id).state) != "cancelled":
            raise Conflict(f"The job {job_id} is {state}; there is nothing to cancel.")

    def release_all(self, owner: str) -> int:
        """Let go of every job of ``owner``, whichever its claim, so that the next one need not wait; how many
        there were."""
        own = (jobs.c.owner == owner) | jobs.c.owner.startswith(f"{owner}{CLAIM}", autoescape=True)
        with self._database.begin(f"jobs of {owner}") as session:
            changed = session.execute(
                update(jobs)
                .where(own, jobs.c.state == "running")
                .values(state="queued", owner=None, lease=None)
            )
            return changed.rowcount

    def interrupted(self) -> builtins.list[Job]:
        """Running jobs whose owner is dead, the oldest first."""
        with self._database.session() as session:
            rows = session.execute(select(jobs).where(jobs.c.state == "running").order_by(jobs.c.number))
            return [_noun(row) for row in rows if self._is_alive(row.owner or "") is False]

    def _claimable(self) -> Collection[str | None] | None:
        """The homes whose jobs may be claimed here; None: all there are."""
        return None if self._home is None else {None, self._home, *self._gone()}

    def _is_free(self, row: Row[Any], now: float, homes: Collection[str | None] | None) -> bool:
        if homes is not None and row.home not in homes:
            return False
        if row.state == "queued" or row.owner is None or row.lease is None:
            return True
        return row.lease <= now or self._is_alive(row.owner) is False

    def _end(
        self,
        job_id: str,
        owner: str | None,
        state: Literal["done", "failed", "cancelled"],
        result: dict[str, object] | None = None,
        error: dict[str, object] | None = None,
    ) -> bool:
        """State and last event in one transaction: who sees the one finds the other."""
        with self._database.begin(_of(job_id)) as session:
            row = self._require(session, job_id)
            if row.state not in _LIVING or (owner is not None and row.owner != owner):
                return False
            values = {
                "state": state,
                "owner": None,
                "lease": None,
                "updated": self._clock(),
                "result_json": None if result is None else pack(result),
                "error_json": None if error is None else pack(error),
            }
            session.execute(update(jobs).where(jobs.c.number == row.number).values(values))
            message = str(error.get("error", "")) if error is not None else ""
            self._tell(
                session, row, state, row.stage, message, data=result if result is not None else error
            )
            return True

    def _tell(
        self,
        session: Connection,
        row: Row[Any],
        kind: Literal["stage_started", "progress", "stage_done", "warning", "done", "failed", "cancelled"],
        stage: str | None,
        message: str,
        current: float | None = None,
        total: float | None = None,
        data: Mapping[str, object] | None = None,
        time: float | None = None,
    ) -> JobEvent:
        newest = select(job_events).where(job_events.c.job_number == row.number)
        last = session.execute(newest.order_by(job_events.c.sequence.desc()).limit(1)).one_or_none()
        if last is not None and time is not None:
            told = unpack(last.event_json, JobEvent)
            if (told.time, told.kind, told.stage, told.message) == (time, kind, stage, message):
                return told
        event = JobEvent(
            job=row.id,
            sequence=(last.sequence if last is not None else 0) + 1,
            time=self._clock() if time is None else time,
            kind=kind,
            stage=stage,
            message=message,
            current=current,
            total=total,
            data=dict(data or {}),
        )
        session.execute(
            insert(job_events).values(
                job_number=row.number, sequence=event.sequence, event_json=pack(event)
            )
        )
        return event

    @staticmethod
    def _require(session: Connection, id: str) -> Row[Any]:
        row = session.execute(select(jobs).where(jobs.c.id == id)).one_or_none()
        if row is None:
            raise NotFound(f"There is no job {id!r}.", field="job")
        return row


def _noun(row: Row[Any]) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        subject=row.subject,
        state=row.state,
        stages=unpack(row.stages_json, tuple[str, ...]),
        stage=row.stage,
        parameters=unpack_object(row.parameters_json) or {},
        result=unpack_object(row.result_json),
        error=unpack_object(row.error_json),
        created=row.created,
        updated=row.updated,
    )
