"""A job in progress: its stages, its events, and whether it may go on."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from modelyard.core.errors import Cancelled
from modelyard.core.job import Job
from modelyard.store.jobs import Jobs


class Stopped(Exception):
    """The process ends, or another one owns the job now: leave everything as it is."""


class Run:
    """What a stage sees of its job. Used by one thread; ``stop`` may come from another."""

    def __init__(self, job: Job, jobs: Jobs, owner: str, notify: Callable[[str], None]) -> None:
        self.job = job
        self._jobs = jobs
        self._owner = owner
        self._notify = notify
        self._stop = threading.Event()
        self._stage: str | None = None
        self._brought: dict[str, dict[str, Any]] = {
            event.stage: event.data
            for event in jobs.events(job.id, 0)
            if event.kind == "stage_done" and event.stage is not None
        }

    def stop(self) -> None:
        """Let :meth:`check` raise Stopped from now on."""
        self._stop.set()

    def check(self) -> None:
        """Raise Cancelled when somebody cancelled the job, Stopped when this thread must let it go."""
        if self._stop.is_set():
            raise Stopped
        if self._jobs.get(self.job.id).state == "cancelled":
            raise Cancelled("The job was cancelled.")

    def brought(self, stage: str) -> dict[str, Any] | None:
        """What ``stage`` brought when it was done in this or an earlier life of the job."""
        return self._brought.get(stage)

    @contextmanager
    def stage(self, name: str, message: str = "") -> Iterator[dict[str, Any]]:
        """Enter a stage; what is put in the dictionary is recorded when it is done."""
        self.check()
        self._stage = name
        self._jobs.enter(self.job.id, name, owner=self._owner)
        self._event("stage_started", message)
        result: dict[str, Any] = {}
        yield result
        self._event("stage_done", str(result.pop("message", "")), data=result)
        self._brought[name] = result

    def progress(self, message: str, current: float | None = None, total: float | None = None) -> None:
        """One line of what goes on within the stage."""
        self._event("progress", message, current=current, total=total)

    def warning(self, message: str) -> None:
        """Something that the user should know though the job goes on."""
        self._event("warning", message)

    def _event(
        self,
        kind: str,
        message: str,
        *,
        current: float | None = None,
        total: float | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        self._jobs.event(self.job.id, kind, self._stage, message, current, total, data or {})
        self._notify(self.job.id)
