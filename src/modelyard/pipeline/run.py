"""A job in progress: its stages, its events, and whether it may go on."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection

from modelyard.core.errors import Cancelled
from modelyard.core.job import Job
from modelyard.store.database import DatabaseAway
from modelyard.store.jobs import Jobs

_T = TypeVar("_T")
_ASKED = 5.0  # seconds after which a database that is away is asked again, at the latest


class Stopped(Exception):
    """The process ends, or another one owns the job now: leave everything as it is."""


class Run:
    """What a stage sees of its job. Used by one thread; ``stop`` may come from another.

    A database that is away is waited for: that it went is no failure of the job.
    """

    def __init__(self, job: Job, jobs: Jobs, owner: str, notify: Callable[[str], None]) -> None:
        self.job = job
        self._jobs = jobs
        self.owner = owner
        self._notify = notify
        self._stop = threading.Event()
        self._stage: str | None = None
        self._known: dict[str, dict[str, Any]] | None = None

    def stop(self) -> None:
        """Let :meth:`check` raise Stopped from now on."""
        self._stop.set()

    def check(self) -> None:
        """Raise Cancelled when somebody cancelled the job, Stopped when this thread must let it go."""
        if self._stop.is_set():
            raise Stopped
        if self.kept(lambda: self._jobs.get(self.job.id)).state == "cancelled":
            raise Cancelled("The job was cancelled.")

    def kept(self, call: Callable[[], _T]) -> _T:
        """What ``call`` answers, asked again while the database is away. Raises Stopped when it is let go."""
        while True:
            try:
                return call()
            except DatabaseAway as error:
                if self._stop.wait(min(error.retry_after or 1.0, _ASKED)):
                    raise Stopped from error

    def fence(self, session: Connection) -> None:
        """Raise Conflict, in a transaction that the job makes, when it is not this run's any more."""
        self._jobs.hold(session, self.job.id, self.owner)

    def brought(self, stage: str) -> dict[str, Any] | None:
        """What ``stage`` brought when it was done in this or an earlier life of the job."""
        return self._brought().get(stage)

    def forget(self, *stages: str) -> None:
        """Do these again, though an earlier life of the job has: what they brought is elsewhere."""
        for stage in stages:
            self._brought().pop(stage, None)

    @contextmanager
    def stage(self, name: str, message: str = "") -> Iterator[dict[str, Any]]:
        """Enter a stage; what is put in the dictionary is recorded when it is done."""
        self.check()
        self._stage = name
        self.kept(lambda: self._jobs.enter(self.job.id, name, owner=self.owner))
        self._event("stage_started", message)
        result: dict[str, Any] = {}
        yield result
        self._event("stage_done", str(result.pop("message", "")), data=result)
        self._brought()[name] = result

    def progress(self, message: str, current: float | None = None, total: float | None = None) -> None:
        """One line of what goes on within the stage."""
        self._event("progress", message, current=current, total=total)

    def warning(self, message: str) -> None:
        """Something that the user should know though the job goes on."""
        self._event("warning", message)

    def _brought(self) -> dict[str, dict[str, Any]]:
        if self._known is None:
            self._known = {
                event.stage: event.data
                for event in self.kept(lambda: self._jobs.events(self.job.id, 0))
                if event.kind == "stage_done" and event.stage is not None
            }
        return self._known

    def _event(
        self,
        kind: str,
        message: str,
        *,
        current: float | None = None,
        total: float | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        told = time.time()  # the same when it is told again: whether it was kept is not known then
        self.kept(
            lambda: self._jobs.event(
                self.job.id,
                kind,
                self._stage,
                message,
                current,
                total,
                data or {},
                owner=self.owner,
                time=told,
            )
        )
        self._notify(self.job.id)
