"""Job: a durable run of the pipeline, and the events that progress is drawn from."""

from typing import Literal

from modelyard.core.struct import Noun

JobState = Literal["queued", "running", "done", "failed", "cancelled"]


class JobEvent(Noun):
    """One line of a job's story. ``sequence`` counts from 1 within the job.

    ``stage`` is one of the job's ``stages``; ``current``/``total`` are in units that ``message``
    names, for a bar.
    """

    job: str
    sequence: int
    time: float
    kind: Literal["stage_started", "progress", "stage_done", "warning", "done", "failed", "cancelled"]
    stage: str | None = None
    message: str = ""
    current: float | None = None
    total: float | None = None
    data: dict[str, object] = {}


class Job(Noun):
    """A durable run. ``result`` is there when it is done, ``error`` (an error body) when failed."""

    id: str
    kind: str
    subject: str
    state: JobState
    stages: tuple[str, ...]
    stage: str | None = None
    parameters: dict[str, object] = {}
    result: dict[str, object] | None = None
    error: dict[str, object] | None = None
    created: float = 0.0
    updated: float = 0.0
