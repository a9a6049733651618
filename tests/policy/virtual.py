"""The real scheduler on a virtual clock: devices that take the time of a law, and the limit of what is possible."""

import heapq
import math
import random
from typing import NamedTuple

from modelyard.policy.latency import LatencyModel
from modelyard.policy.scheduler import Limits, Scheduler
from modelyard.policy.work import Entry, measure

Law = tuple[float, float, float]


class Outcome(NamedTuple):
    """``share``: the useful part of the padded cost; ``end``: seconds until all was computed."""

    share: float
    batches: int
    end: float


def lengths(count: int, median: float, p95: float, seed: int = 1) -> list[int]:
    """Lognormal lengths, at least 1."""
    chance = random.Random(seed)
    spread = math.log(p95 / median) / 1.645
    return [max(1, round(chance.lognormvariate(math.log(median), spread))) for _ in range(count)]


class Devices:
    """Devices (by their slowness: 1 is the law's own speed) and the scheduler they pull from."""

    def __init__(self, law: Law, slowness: tuple[float, ...] = (1.0,), *, cost: float = math.inf) -> None:
        self.law, self.slowness = law, slowness
        self.scheduler: Scheduler[Entry] = Scheduler(Limits(10**6, 10**6, cost), "padded")
        self.scheduler.workers = len(slowness)
        self.models = [LatencyModel() for _ in slowness]

    def compute(self, work: list[int], *, learn: bool = True) -> Outcome:
        """All of ``work`` waits at time 0."""
        scheduler = self.scheduler
        for length in work:
            assert scheduler.submit(Entry(1, math.inf, length=length), 0.0) is None
        free = [(0.0, index) for index in range(len(self.models))]
        padded = useful = end = 0.0
        batches = 0
        while len(scheduler):
            now, index = heapq.heappop(free)
            model = self.models[index]
            for other in self.models:
                if other.sure and not model.known:
                    model.like(other)
            batch = scheduler.next_batch(now, model)
            cost = measure("padded", batch)
            a, b, c = self.law
            seconds = (a + b * cost.padded + c * cost.squares) * self.slowness[index]
            if learn:
                model.observe(cost.padded, cost.squares, cost.useful, seconds)
                scheduler.speed = sum(each.speed for each in self.models)
            scheduler.computed(cost.padded)
            padded, useful, batches = padded + cost.padded, useful + cost.useful, batches + 1
            end = max(end, now + seconds)
            heapq.heappush(free, (now + seconds, index))
        return Outcome(useful / padded, batches, end)


def offline(work: list[int], law: Law) -> float:
    """Seconds of one device when all lengths are known beforehand: sorted, with the best padded budget."""
    a, b, c = law
    ordered = sorted(work)
    best = math.inf
    for power in range(12, 46):
        budget, total, start = 2 ** (power / 2), 0.0, 0
        while start < len(ordered):
            end = start + 1
            while end < len(ordered) and (end + 1 - start) * ordered[end] <= budget:
                end += 1
            count, longest = end - start, ordered[end - 1]
            total += a + b * count * longest + c * count * longest * longest
            start = end
        best = min(best, total)
    return best
