"""One piece of waiting work, and what a batch of them costs by the adapter's shape.

    shape       padded cost P of a batch        squares Q              useful part of P
    rows        rows                            0                      rows
    ragged      Σ rows·length                   Σ rows·length²         Σ rows·length
    padded      rows × longest                  rows × longest²        Σ rows·length
    quadratic   rows × longest²                 0                      Σ rows·length²

``P`` and ``Q`` are what the law of :mod:`modelyard.policy.latency` is learnt over.
"""

from collections.abc import Sequence
from typing import NamedTuple

LEVELS = 9  # priority levels; larger numbers are less urgent
DEFAULT_LEVEL = 5
BULK = LEVELS + 1  # the level of what nobody waits for at the other end of a connection
ANY = 1 << 30


class Entry:
    """One piece of work in the queue; a caller derives its own from it.

    ``rows`` of ``length`` (the longest, in the adapter's unit) make its cost. ``priority`` is 1 for the
    most urgent level, larger numbers follow, 0 is the level in the middle. ``client`` is who shares
    fairly with others. ``bulk`` puts it below all levels (:mod:`modelyard.policy.due`). ``ride`` is the largest number of entries of a batch that this one may be part
    of: halved each time an executor dies under it, so that an entry that kills its executor is soon
    alone, and its mates are safe; ``deaths_alone`` counts those.
    """

    __slots__ = (
        "arrived",
        "client",
        "deadline",
        "deaths_alone",
        "done",
        "key",
        "length",
        "level",
        "ride",
        "rows",
        "spared",
        "units",
        "waiting",
    )

    def __init__(
        self,
        rows: int,
        deadline: float,
        *,
        length: int = 1,
        client: str = "",
        priority: int = 0,
        bulk: bool = False,
    ) -> None:
        self.rows = rows
        self.length = length
        self.deadline = deadline
        self.client = client
        self.level = BULK if bulk else DEFAULT_LEVEL if priority == 0 else min(priority, LEVELS)
        self.units: float = rows  # its useful cost; the scheduler sets it by its shape
        self.key = 0.0  # its place in its level's line
        self.arrived = 0.0
        self.ride = ANY
        self.deaths_alone = 0
        self.spared = 0  # deaths under it that seemed to come from outside
        self.waiting = False  # counted as one that waits
        self.done = False  # answered, expired or cancelled: never computed again


class Measure(NamedTuple):
    """What one batch costs: padded, squares, and the part of ``padded`` that is not padding."""

    padded: float
    squares: float
    useful: float


def measure(shape: str, batch: Sequence[Entry]) -> Measure:
    """The cost of ``batch`` by ``shape``."""
    if shape == "rows":
        rows = 0
        for entry in batch:
            rows += entry.rows
        return Measure(rows, 0.0, rows)
    rows = sum(entry.rows for entry in batch)
    useful = sum(entry.units for entry in batch)
    if shape == "ragged":
        return Measure(useful, sum(entry.units * entry.length for entry in batch), useful)
    longest = max(entry.length for entry in batch)
    if shape == "quadratic":
        return Measure(float(rows) * longest * longest, 0.0, useful)
    return Measure(float(rows) * longest, float(rows) * longest * longest, useful)


def units_of(shape: str, rows: int, length: int) -> float:
    """The useful cost of one entry."""
    if shape == "rows":
        return rows
    return float(rows) * length * length if shape == "quadratic" else float(rows) * length
