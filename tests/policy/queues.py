"""Schedulers, entries and laws as the tests of the scheduler want them."""

from modelyard.policy.latency import LatencyModel
from modelyard.policy.scheduler import Limits, Scheduler
from modelyard.policy.work import Entry


def entry(rows: int = 1, deadline: float = 100.0, **rest: object) -> Entry:
    return Entry(rows, deadline, **rest)


def queue(batch: int = 4, queue: int = 8, **rest: object) -> Scheduler[Entry]:
    """A scheduler that has tried all sizes already."""
    shape = str(rest.pop("shape", "rows"))
    scheduler: Scheduler[Entry] = Scheduler(Limits(batch, queue, **rest), shape)
    scheduler.tried = 1e9
    return scheduler


def law(a: float, b: float, c: float = 0.0) -> LatencyModel:
    """A model that has learnt this law."""
    model = LatencyModel()
    for size in range(1, 40):
        padded, squares = 10.0 * size, 100.0 * size * size
        model.observe(padded, squares, padded, a + b * padded + c * squares)
    return model
