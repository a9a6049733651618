"""Jobs: durable runs of the pipeline with the events that progress is drawn from, and durable predictions."""

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


class PredictionJob(Noun):
    """A prediction, or a batch of them, whose caller does not wait for it; the node keeps and computes it.

    ``path`` is where it was posted to. ``progress`` is from 0 to 1 where it is known, ``message`` what the
    model says of it. ``status`` is the answer's HTTP status and ``size`` its bytes once the job is done,
    ``error`` an error body when it failed. ``attempts`` counts how often it was begun: a node that ends goes on
    with its jobs when it is there again. Times are seconds since the epoch; it is forgotten at ``expires``.
    """

    id: str
    endpoint: str
    path: str
    state: JobState
    created: float
    started: float | None = None
    ended: float | None = None
    expires: float | None = None
    attempts: int = 0
    progress: float | None = None
    message: str = ""
    status: int | None = None
    size: int = 0
    error: dict[str, object] | None = None

    @property
    def over(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.state in ("done", "failed", "cancelled")
