"""Which models are in memory: who is let in, who sleeps for it, and who gives way between two batches.

Memory is a budget. A model that is called and is not there waits until there is room; room is made by
putting idle models to sleep, those first whose next load costs least per byte that they give back:
reload time × call rate ÷ bytes (the *value* of GreedyDual-Size-Frequency, Cherkasova 1998, with seconds
of loading for its cost). A model that computes is never stopped; but where all that could make room is busy
for good, one whose turn is over takes no further batch, so that the one that waits has its turn: without
that, two models under constant load that fit only one at a time would starve one of them.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

PATIENCE = 1.0  # seconds that a model waits for room among busy ones before one of them gives way
TURN = 4.0  # how many times the loads of a change of turns a model computes before it gives way
SHORTEST = 2.0  # seconds of a turn at least
MEMORY = 120.0  # seconds after which a call counts for half in the rate


class Resident(NamedTuple):
    """A model in memory. ``bytes`` come free when it stops, and loading it again takes ``reload`` seconds;
    ``rate`` is calls a second lately, ``unused`` seconds since the last one; ``awake`` is for how many
    seconds it has been ready. ``busy``: calls wait or are computed. ``kept``: it may not stop (pinned,
    or still loading)."""

    name: str
    bytes: int
    reload: float
    rate: float
    unused: float
    awake: float
    busy: bool = False
    kept: bool = False

    @property
    def value(self) -> tuple[float, float]:
        """What a byte of it is worth; of two worth nothing the one that was used later is worth more."""
        return self.reload * self.rate / max(1, self.bytes), -self.unused


class Waiting(NamedTuple):
    """A model that is to be loaded: the bytes and the seconds that takes, and how long it has waited."""

    name: str
    bytes: int
    reload: float
    waited: float


class Plan(NamedTuple):
    """Who is loaded now, and who stops: idle ones (``sleep``), and busy ones that take no further batch
    (``give_way``)."""

    load: tuple[str, ...] = ()
    sleep: tuple[str, ...] = ()
    give_way: tuple[str, ...] = ()


def plan(
    free: float, coming: float, residents: Sequence[Resident], waiting: Sequence[Waiting], over: float = 0.0
) -> Plan:
    """The next step. ``free`` bytes may be taken by those that are loaded (below 0: none), ``coming`` are
    those of models that are stopping, ``over`` those that are to be given back in any case. ``waiting`` is
    in the order in which they are to be served: only the first that finds no room has some made, so that
    one who needs much is not overtaken for ever; the others may have what is free beside it.
    """
    load: list[str] = []
    sleep: list[Resident] = []
    give_way: list[Resident] = []
    if over > 0:
        sleep += _cheapest(residents, over) or ()
        coming += sum(each.bytes for each in sleep)
    served = False  # whether one that lacks room has been seen to
    for each in waiting:
        if each.bytes <= free:
            load.append(each.name)
            free -= each.bytes
            continue
        if served:
            continue
        served = True
        short = each.bytes - free - coming
        if short > 0:
            left = [other for other in residents if other not in sleep]
            found = _cheapest(left, short)
            if found is None and each.waited >= PATIENCE:
                found = _cheapest(left, short, each)
            if found is None:
                continue  # all are busy: whoever needs no more than what is free may have it
            sleep += [other for other in found if not other.busy]
            give_way += [other for other in found if other.busy]
        free = coming = 0.0  # all of it is for this one
    return Plan(tuple(load), _names(sleep), _names(give_way))


def room(residents: Iterable[Resident]) -> float:
    """The bytes of all that may stop, busy or not."""
    return sum(each.bytes for each in residents if not each.kept)


def _cheapest(
    residents: Iterable[Resident], short: float, instead: Waiting | None = None
) -> list[Resident] | None:
    """Those to stop for ``short`` bytes, each of them needed for it; None when they are not enough.

    Idle ones; with ``instead`` also busy ones whose turn is over.
    """
    able = [each for each in residents if not each.kept and (not each.busy or _turn_over(each, instead))]
    able.sort(key=lambda each: (each.busy, each.value))
    chosen: list[Resident] = []
    for each in able:
        if short <= 0:
            break
        chosen.append(each)
        short -= each.bytes
    if short > 0:
        return None
    for each in reversed(chosen[:-1]):  # a large one that came last may do without some before it
        if short + each.bytes <= 0:
            chosen.remove(each)
            short += each.bytes
    return chosen


def _turn_over(each: Resident, instead: Waiting | None) -> bool:
    return instead is not None and each.awake >= max(SHORTEST, TURN * (each.reload + instead.reload))


def _names(residents: Iterable[Resident]) -> tuple[str, ...]:
    return tuple(each.name for each in residents)


class Rate:
    """Calls a second, the latest counting most: exponential decay with a half-life of :data:`MEMORY`."""

    __slots__ = ("_at", "_weight", "last")

    def __init__(self, now: float) -> None:
        self._weight = 0.0
        self._at = now
        self.last = now  # when the latest calls were seen

    def add(self, calls: int, now: float) -> None:
        """So many more calls came until ``now`` (seconds)."""
        self._weight = self._weight * 0.5 ** (max(0.0, now - self._at) / MEMORY) + calls
        self._at = now
        if calls:
            self.last = now

    def at(self, now: float) -> float:
        """Calls a second as of ``now``."""
        return self._weight * 0.5 ** (max(0.0, now - self._at) / MEMORY) * math.log(2) / MEMORY
