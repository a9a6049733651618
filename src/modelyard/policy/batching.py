"""Which entries go together: the batch around its head that does most useful work a second.

Sorted by length, the best batch is an interval around the head: longer ones make all others pay more
padding, shorter ones are padded most. For each longest entry the interval is extended downwards while
the next one is worth its padding, and the interval with the most useful cost per predicted second
is taken. Where a batch has a large fixed cost (an accelerator) that gives large batches, where it has
none (a processor core) small ones of one length: found from the law, set by nobody.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple, TypeVar

from modelyard.policy.latency import LatencyModel
from modelyard.policy.work import Entry

FIXED_SHARE = 0.02  # of a batch's time; once what is fixed is less, more mates gain nothing worth the wait
BLIND = 1.25  # how much padded cost a useful unit is worth while no law is known
CUTS = 64  # places where what waits may be parted
FINE = 4  # cuts that a part has at least where parting is better than the greedy choice
PATIENCE = 8  # longer entries that are tried after the best one found so far

E = TypeVar("E", bound=Entry)


class Bounds(NamedTuple):
    """What no batch may exceed, except by its head alone: rows, padded cost, seconds, entries."""

    rows: int
    cost: float
    seconds: float
    entries: int


def most_rows(head: Entry, bounds: Bounds, model: LatencyModel) -> float:
    """Of alike rows: how many are worth to be computed together (the head's at least)."""
    most = min(bounds.rows, bounds.cost)
    if model.b > 0:
        most = min(most, model.a / (FIXED_SHARE * model.b), (bounds.seconds - model.a) / model.b)
    return max(head.rows, most)


def interval(
    shape: str, entries: Sequence[Entry], head: int, bounds: Bounds, model: LatencyModel
) -> tuple[int, int]:
    """The best batch as ``entries[low:high]``; ``entries`` are sorted by length, ``head`` is in it."""
    if shape == "ragged":
        return _outward(entries, head, bounds, model)
    if model.known:
        search = _Search(shape, entries, head, bounds, model.a, model.b, model.c)
    else:
        search = _Search(shape, entries, head, bounds, 0.0, 1.0, 0.0, blind=True)
    best, best_value, best_at = (head, head + 1), -1.0, head
    step = max(1, len(entries) // 256)
    for top in range(head, len(entries), step):
        if top > head and not search.fits(head, top):
            break
        low = search.low(top)
        value = search.value(low, top)
        if value > best_value * 1.001 or top == head:
            best, best_value, best_at = (low, top + 1), value, top
        elif top - best_at >= PATIENCE * step:
            break
    return best


class _Search:
    """Sums over the sorted entries, so that any interval of them is judged in a few operations."""

    __slots__ = ("_a", "_b", "_blind", "_bounds", "_c", "_entries", "_head", "_rows", "_square", "_units")

    def __init__(
        self,
        shape: str,
        entries: Sequence[Entry],
        head: int,
        bounds: Bounds,
        a: float,
        b: float,
        c: float,
        *,
        blind: bool = False,
    ) -> None:
        self._entries, self._head, self._bounds = entries, head, bounds
        self._square = shape == "quadratic"
        self._a, self._b, self._c = a, b, 0.0 if self._square else c
        self._blind = blind
        self._rows = [0, *accumulate([entry.rows for entry in entries])]
        self._units = [0.0, *accumulate([entry.units for entry in entries])]

    def _row(self, top: int) -> tuple[float, float]:
        """Padded cost and seconds of one row beside the longest one."""
        longest = self._entries[top].length
        each = longest * longest if self._square else longest
        return each, self._b * each + self._c * longest * longest

    def fits(self, low: int, top: int) -> bool:
        """Whether ``entries[low:top + 1]`` is within the bounds."""
        each, seconds = self._row(top)
        rows = self._rows[top + 1] - self._rows[low]
        return (
            rows <= self._bounds.rows
            and rows * each <= self._bounds.cost
            and top + 1 - low <= self._bounds.entries
            and (self._blind or self._a + seconds * rows <= self._bounds.seconds)
        )

    def price(self, low: int, top: int) -> tuple[float, bool]:
        """Seconds of ``entries[low:top + 1]``, and whether it is so large that more gains nothing."""
        _, seconds = self._row(top)
        spent = seconds * (self._rows[top + 1] - self._rows[low])
        return self._a + spent, self._a < FIXED_SHARE * spent

    def low(self, top: int) -> int:
        """How far down the batch with this longest entry reaches: the last one worth its padding.

        Each further one is shorter and adds less for the same price, so the point is found by halving.
        """
        each, seconds = self._row(top)
        end_rows, end_units = self._rows[top + 1], self._units[top + 1]
        bounds, a = self._bounds, self._a
        good, bad = self._head, -1
        while good - bad > 1:
            at = (good + bad) // 2
            entry = self._entries[at]
            rows = end_rows - self._rows[at]
            before = rows - entry.rows
            worth = rows <= bounds.rows and rows * each <= bounds.cost and top + 1 - at <= bounds.entries
            if worth and self._blind:
                worth = entry.units * BLIND >= each * entry.rows
            elif worth:
                spent = a + seconds * before
                worth = (
                    a + seconds * rows <= bounds.seconds
                    and a > FIXED_SHARE * spent
                    and entry.units * spent >= (end_units - self._units[at + 1]) * seconds * entry.rows
                )
            good, bad = (at, bad) if worth else (good, at)
        return good

    def value(self, low: int, top: int) -> float:
        """Useful cost a second; while no law is known, what is useful less what is padded."""
        each, seconds = self._row(top)
        rows = self._rows[top + 1] - self._rows[low]
        useful = self._units[top + 1] - self._units[low]
        if self._blind:
            return useful * BLIND - rows * each
        return useful / (self._a + seconds * rows)


def planned(
    shape: str,
    entries: Sequence[Entry],
    head: int,
    bounds: Bounds,
    model: LatencyModel,
    greedy: tuple[int, int],
) -> tuple[int, int]:
    """The head's part of the quickest way to compute *all* of ``entries``, as ``entries[low:high]``.

    For when everything that waits is in view. The sorted entries are cut at up to CUTS places;
    dynamic programming over them finds the parts of the least predicted time in all. Where batches
    are so small that the cuts are too coarse for them, ``greedy`` (of :func:`interval`) stays.
    """
    count = len(entries)
    stride = -(-count // CUTS)
    if greedy[1] - greedy[0] < FINE * stride or shape == "ragged":
        return greedy
    cuts = [*range(0, count, stride), count]
    search = _Search(shape, entries, head, bounds, model.a, model.b, model.c)
    least = [0.0] + [float("inf")] * (len(cuts) - 1)
    came = [0] * len(cuts)
    for end in range(1, len(cuts)):
        top = cuts[end] - 1
        for start in range(end - 1, -1, -1):
            seconds, grown = search.price(cuts[start], top)
            if start < end - 1 and (grown or not search.fits(cuts[start], top)):
                break
            if least[start] + seconds < least[end]:
                least[end], came[end] = least[start] + seconds, start
    end = len(cuts) - 1
    while not cuts[came[end]] <= head < cuts[end]:
        end = came[end]
    low, high = cuts[came[end]], cuts[end]
    return (low, high) if search.fits(low, high - 1) else greedy


def riding(head: E, batch: Sequence[E]) -> list[E]:
    """Of ``batch``, as many as the most careful of them rides with; the head is one of them."""
    ride = head.ride
    kept = [head]
    for entry in batch:
        if entry is not head and len(kept) < min(ride, entry.ride):
            kept.append(entry)
            ride = min(ride, entry.ride)
    return kept


def _outward(entries: Sequence[Entry], head: int, bounds: Bounds, model: LatencyModel) -> tuple[int, int]:
    """Nothing is padded: the nearest lengths first, as many as are worth it."""
    low, high = head, head + 1
    rows, cost = entries[head].rows, entries[head].units
    squares = cost * entries[head].length
    while low > 0 or high < len(entries):
        length = entries[head].length
        down = low > 0 and (
            high == len(entries) or length - entries[low - 1].length <= entries[high].length - length
        )
        mate = entries[low - 1] if down else entries[high]
        rows += mate.rows
        cost += mate.units
        squares += mate.units * mate.length
        spent = model.predict(cost, squares)
        if rows > bounds.rows or cost > bounds.cost or spent > bounds.seconds:
            break
        if high - low >= bounds.entries or (model.known and model.a <= FIXED_SHARE * spent):
            break
        low, high = (low - 1, high) if down else (low, high + 1)
    return low, high
