"""Which models are in memory: who is let in, who sleeps for it, and who gives way between two batches.

Memory is a budget, one for each *store*: the machine's memory and that of each device. A model takes bytes
in one or more of them, and is loaded when all have room. A model that is called and is not there waits until
there is; room is made by putting idle models to sleep, those first whose next load costs least for what they
give back of the stores that are short: reload time × call rate ÷ the part of the budget (the *value* of
GreedyDual-Size-Frequency, Cherkasova 1998, with seconds of loading for its cost; parts, because a byte of a
small device is scarcer than one of the machine's). A model that computes is never stopped; but where all that
could make room is busy for good, one whose turn is over takes no further batch, so that the one that waits
has its turn: without that, two models under constant load that fit only one at a time would starve one of them.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

MACHINE = "machine"  # the store that every model takes bytes of; the others are named like the devices
PATIENCE = 1.0  # seconds that a model waits for room among busy ones before one of them gives way
TURN = 4.0  # how many times the loads of a change of turns a model computes before it gives way
SHORTEST = 2.0  # seconds of a turn at least
MEMORY = 120.0  # seconds after which a call counts for half in the rate

Bytes = Mapping[str, float]  # by store; none of a store that is not named


class Store(NamedTuple):
    """A memory: what there is of it for models in all, ``free`` of it for those that are loaded (below 0:
    none), ``coming`` with models that are stopping, and ``over``: to be given back in any case. Bytes."""

    budget: float
    free: float
    coming: float = 0.0
    over: float = 0.0


class Resident(NamedTuple):
    """A model in memory. ``bytes`` come free when it stops, and loading it again takes ``reload`` seconds;
    ``rate`` is calls a second lately, ``unused`` seconds since the last one; ``awake`` is for how many
    seconds it has been ready. ``busy``: calls wait or are computed. ``kept``: it may not stop (pinned,
    or still loading)."""

    name: str
    bytes: Bytes
    reload: float
    rate: float
    unused: float
    awake: float
    busy: bool = False
    kept: bool = False

    @property
    def loss(self) -> float:
        """Seconds of loading a second that its calls will wait for when it sleeps."""
        return self.reload * self.rate


class Waiting(NamedTuple):
    """A model that is to be loaded: the bytes that takes, one of several ``ways`` (devices), the best first;
    the seconds, and how long it has waited."""

    name: str
    ways: tuple[Bytes, ...]
    reload: float
    waited: float


class Plan(NamedTuple):
    """Who is loaded now, by which of its ways, and who stops: idle ones (``sleep``), and busy ones that take
    no further batch (``give_way``)."""

    load: tuple[tuple[str, int], ...] = ()
    sleep: tuple[str, ...] = ()
    give_way: tuple[str, ...] = ()


def plan(stores: Mapping[str, Store], residents: Sequence[Resident], waiting: Sequence[Waiting]) -> Plan:
    """The next step. A store that is not named has room for everything.

    ``waiting`` is in the order in which they are to be served: of those that lack room in the same store
    only the first has some made, so that one who needs much is not overtaken for ever; the others may
    have what is free beside it.
    """
    budgets = {name: store.budget for name, store in stores.items()}
    free = {name: store.free for name, store in stores.items()}
    coming = {name: store.coming for name, store in stores.items()}
    load: list[tuple[str, int]] = []
    stopped: list[Resident] = []

    def stop(found: Iterable[Resident]) -> None:
        for each in found:
            stopped.append(each)
            for store in each.bytes.keys() & coming.keys():
                coming[store] += each.bytes[store]

    over = {name: store.over for name, store in stores.items() if store.over > 0}
    idle = [each for each in residents if not each.busy and not each.kept]
    stop(_cheapest(idle, {s: o for s, o in over.items() if o <= room(idle, s)}, budgets) or ())
    spoken: set[str] = set()  # stores of which one that lacks room has been seen to
    for each in waiting:
        ways = [{store: size for store, size in way.items() if store in stores} for way in each.ways]
        lacks = [{store for store, size in way.items() if size > free[store]} for way in ways]
        if set() in lacks:
            best = lacks.index(set())
            load.append((each.name, best))
            for store, size in ways[best].items():
                free[store] -= size
            continue
        left = [other for other in residents if other not in stopped]
        options = [
            (way, lack, {store: way[store] - free[store] - coming[store] for store in lack})
            for way, lack in zip(ways, lacks, strict=True)
            if not lack & spoken
        ]
        spoken |= set().union(*lacks)
        chosen = _best(options, left, budgets, each)
        if chosen is None:
            continue  # all are busy: whoever needs no more than what is free may have it
        way, lack, found = chosen
        stop(found)
        for store, size in way.items():
            # Where it lacks room, all that is there or comes is for this one.
            free[store] = 0.0 if store in lack else free[store] - size
        coming.update(dict.fromkeys(lack, 0.0))
    return Plan(
        tuple(load),
        tuple(each.name for each in stopped if not each.busy),
        tuple(each.name for each in stopped if each.busy),
    )


def room(residents: Iterable[Resident], store: str = MACHINE) -> float:
    """The bytes of a store that come free when all stop that may, busy or not."""
    return sum(each.bytes.get(store, 0) for each in residents if not each.kept)


_Option = tuple[dict[str, float], set[str], dict[str, float]]


def _best(
    options: Sequence[_Option], residents: Sequence[Resident], budgets: Bytes, waiting: Waiting
) -> tuple[dict[str, float], set[str], list[Resident]] | None:
    """The way to make room that costs least: what it takes, where it lacks room, who stops; None when none
    is left. Idle ones stop; and where these do not suffice for any way, busy ones whose turn is over."""
    able = [each for each in residents if not each.kept and not each.busy]
    for patient in (True, False):
        if not patient:
            if waiting.waited < PATIENCE:
                break
            able += [
                each for each in residents if not each.kept and each.busy and _turn_over(each, waiting)
            ]
        found = [
            (sum(each.loss for each in stopping), way, lack, stopping)
            for way, lack, short in options
            if (stopping := _cheapest(able, short, budgets)) is not None
        ]
        if found:
            return min(found, key=lambda each: each[0])[1:]
    return None


def _cheapest(able: Iterable[Resident], short: Bytes, budgets: Bytes) -> list[Resident] | None:
    """Those of ``able`` to stop for all that is ``short`` of each store, each of them needed for it, idle ones
    before busy ones; None when they are not enough."""
    left = list(able)
    missing = {store: size for store, size in short.items() if size > 0}
    chosen: list[Resident] = []
    while missing:
        useful = [each for each in left if _gives(each, missing)]
        if not useful:
            return None
        first = min(useful, key=lambda each: (each.busy, _value(each, missing, budgets), -each.unused))
        left.remove(first)
        chosen.append(first)
        missing = {
            store: rest for store, size in missing.items() if (rest := size - first.bytes.get(store, 0)) > 0
        }
    # A large one that came last may do without some before it.
    spare = {store: sum(e.bytes.get(store, 0) for e in chosen) - size for store, size in short.items()}
    for each in reversed(chosen[:-1]):
        if all(each.bytes.get(store, 0) <= extra for store, extra in spare.items()):
            chosen.remove(each)
            spare = {store: extra - each.bytes.get(store, 0) for store, extra in spare.items()}
    return chosen


def _gives(each: Resident, stores: Collection[str]) -> bool:
    return any(each.bytes.get(store, 0) > 0 for store in stores)


def _value(each: Resident, short: Collection[str], budgets: Bytes) -> float:
    """What it is worth for what it gives back of the stores that are short (more than nothing)."""
    return each.loss / sum(each.bytes.get(store, 0) / max(1.0, budgets[store]) for store in short)


def _turn_over(each: Resident, instead: Waiting) -> bool:
    return each.awake >= max(SHORTEST, TURN * (each.reload + instead.reload))


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
