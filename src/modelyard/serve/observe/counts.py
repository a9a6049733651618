"""Counts that are added to on the way of a call; what they are called outside is in ``families``."""

from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate
from typing import Final

# Seconds, four to a decade from 100 µs to 100 s: quantiles are right to within about 30 %
# between two bounds, and interpolated inside them.
LATENCY_BOUNDS: Final = tuple(
    round(base * 10.0**power, 9) for power in range(-4, 3) for base in (1, 1.8, 3.2, 5.6)
)
BATCH_BOUNDS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
LOAD_BOUNDS: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # seconds


class Histogram:
    """Counts by upper bound, the last one being infinity. Of a thousand models most have nothing to count."""

    __slots__ = ("_counts", "bounds", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._counts: list[int] | None = None
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.add(bisect_left(self.bounds, value), value)

    def add(self, place: int, value: float) -> None:
        """Count one value whose ``place`` among the bounds is known."""
        counts = self._counts
        if counts is None:
            counts = self._counts = [0] * (len(self.bounds) + 1)
        counts[place] += 1
        self.total += value

    @property
    def counts(self) -> list[int]:
        """By bound; not to be changed."""
        return self._counts or [0] * (len(self.bounds) + 1)

    def cumulative(self) -> list[tuple[str, float]]:
        """Prometheus' (le, count) pairs."""
        names = [*(str(bound) for bound in self.bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self.counts)), strict=True))


class CacheCounts:
    """What an endpoint's cache did. ``hits`` were kept, ``coalesced`` calls waited for an identical one,
    ``misses`` were computed and kept; ``fetched`` are answers that came from Redis."""

    __slots__ = ("bytes", "coalesced", "entries", "evictions", "fetched", "hits", "misses", "stale")

    def __init__(self) -> None:
        self.hits = self.fetched = self.misses = self.stale = self.coalesced = 0
        self.evictions = self.bytes = self.entries = 0


class RedisCounts:
    """What the cache's second level did: waits of look-ups that were answered, those that were ``late``,
    values that were ``corrupt``, commands ``refused``, answers ``unwritten`` because too many were on
    their way. ``state`` says whether it is used; None when there is none."""

    __slots__ = ("corrupt", "late", "refused", "state", "unwritten", "wait")

    def __init__(self) -> None:
        self.wait = Histogram(LATENCY_BOUNDS)
        self.late = self.corrupt = self.refused = self.unwritten = 0
        self.state: Callable[[], bool] | None = None
