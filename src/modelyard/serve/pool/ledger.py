"""What is taken of each memory, by whom, and what is left: the numbers that :mod:`.memory` decides by."""

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

from modelyard.core.routes import DeviceStatus
from modelyard.core.units import format_bytes
from modelyard.policy.residency import MACHINE, PATIENCE, SHORTEST, TURN, Store
from modelyard.serve.pool.device_memory import DeviceMemory
from modelyard.serve.pool.residence import Residence
from modelyard.serve.pool.size import Sizes

MARGIN: Final = (
    0.98  # of the budget is what is given away: what is measured of a model comes and goes a little
)


class Way(NamedTuple):
    """Where the replicas of a model may be loaded: the device of each, the bytes of each store that this
    takes, and ``lacks``: a store that has too little even when all sleep that may (None: there is none)."""

    on: tuple[str, ...]
    bytes: Sizes
    lacks: str | None


class Left(NamedTuple):
    """Bytes of each store for a model that is to be loaded: ``free`` now, when idle ones sleep, and when all
    do that may."""

    free: Sizes
    idle: Sizes
    most: Sizes


class Ledger:
    """The models of a node, and what they take of its ``budget`` bytes and of its ``devices``. ``own`` is what
    the node's process takes, ``servers`` what its fork servers do."""

    def __init__(self, budget: float, devices: DeviceMemory) -> None:
        self.budget = budget
        self.devices = devices
        self.members: dict[str, Residence] = {}
        self.own = 0
        self.servers = 0

    @property
    def stores(self) -> tuple[str, ...]:
        """The machine's memory, and the devices whose memory is known."""
        return (MACHINE, *self.devices.budgets)

    def budget_of(self, store: str) -> float:
        """What models may take of it together, for the machine with the node itself."""
        return self.budget if store == MACHINE else self.devices.budgets[store]

    def _given_away(self) -> Sizes:
        """Bytes of each store that may be taken; of a device no more than others leave."""
        return {MACHINE: self.budget * MARGIN} | {
            name: self.devices.limit(name) * MARGIN for name in self.devices.budgets
        }

    def taken(self, *states: str) -> Sizes:
        """Bytes of each store that models in these states take; of all of them without one."""
        return _sum(
            self.stores,
            (each.takes for each in self.members.values() if not states or each.state in states),
        )

    def used(self) -> Sizes:
        """Bytes of each store that are taken, by models or by the node itself."""
        found = self.taken()
        found[MACHINE] += self.own + self.servers
        return found

    def over(self, tolerance: float = 1.0) -> tuple[str, ...]:
        """The stores of which models take more than they may, those apart that are leaving."""
        used, leaving = self.used(), self.taken("leaving")
        return tuple(
            name for name in self.stores if used[name] - leaving[name] > self.budget_of(name) * tolerance
        )

    def now(self) -> dict[str, Store]:
        """Every store as it is now."""
        given, used, leaving = self._given_away(), self.used(), self.taken("leaving")
        return {
            name: Store(
                self.budget_of(name),
                given[name] - used[name],
                leaving[name],
                max(0.0, used[name] - leaving[name] - self.budget_of(name)),
            )
            for name in self.stores
        }

    def most(self, kept: Iterable[Residence]) -> Sizes:
        """Bytes of each store that are left when all others sleep than those ``kept``."""
        given, pinned = self._given_away(), _sum(self.stores, (each.takes for each in kept if each.kept))
        given[MACHINE] -= self.own
        return {name: given[name] - pinned[name] for name in self.stores}

    def awake(self) -> list[Residence]:
        """Those that may be put to sleep for others, unless they are kept."""
        return [each for each in self.members.values() if each.state == "awake"]

    def left(self, most: Sizes | None = None) -> Left:
        """What is left of each store now."""
        used, given = self.used(), self._given_away()
        free = {name: given[name] - used[name] for name in self.stores}
        idle = _sum(self.stores, (each.takes for each in self.awake() if not each.busy and not each.kept))
        later = {name: size + idle[name] for name, size in free.items()}
        return Left(free, later, self.most(self.awake()) if most is None else most)

    def ways(self, each: Residence, left: Left) -> list[Way]:
        """Where it may be loaded, the best first, by what is ``left``."""
        most = left.most
        found: list[Way] = []
        for on in each.ways(left):
            needs, least = each.size.needs(on), each.size.least(on)
            lacks = next((name for name in needs if least[name] > most[name]), None)
            if lacks is None:  # what is not measured yet is tried with what there is
                needs = {name: min(size, most[name]) for name, size in needs.items()}
            found.append(Way(on, needs, lacks))
        return found

    def until_room(self, each: Residence, now: float) -> float:
        """Seconds until there is room for it, as far as that is known and with loads at their best; infinity for
        never."""
        there = [(other, other.resident(now)) for other in self.awake()]
        left, coming = self.left(), self.taken("waking", "leaving")
        waits: list[float] = []
        for way in self.ways(each, left):
            if way.lacks is not None:
                continue
            lacks = [name for name, size in way.bytes.items() if size > left.idle[name] + coming[name]]
            turns = [
                max(PATIENCE, SHORTEST - seen.awake, TURN * (other.soonest + each.soonest) - seen.awake)
                for other, seen in there
                if seen.busy and not seen.kept and any(seen.bytes.get(name) for name in lacks)
            ]
            waits.append(min(turns, default=0.0) if lacks else 0.0)
        return min(waits, default=math.inf)

    def crowded(self, each: Residence, ways: Iterable[Way]) -> str:
        """Why it cannot be loaded by any of ``ways``."""
        name = each.pool.spec.endpoint
        way = next(iter(ways))
        store = way.lacks or MACHINE
        needs = format_bytes(int(way.bytes.get(store, 0)))
        budget = format_bytes(int(self.budget_of(store)))
        if store == MACHINE:
            return (
                f"{name!r} needs {needs} to be loaded, and of the node's {budget} its own process and models that "
                "may not sleep leave less; give the node more memory (modelyard up --memory), delete one of them, or "
                "deploy it again with --min-replicas 0 while there is room for a second one of it."
            )
        return (
            f"{name!r} needs {needs} of a device to be loaded, and of the {budget} of {store} models that may not "
            "sleep, or other programs, leave less; give models more of it (modelyard up --device-memory), deploy "
            "one of them with --min-replicas 0, or this one with --device cpu."
        )

    def devices_now(self) -> tuple[DeviceStatus, ...]:
        """The devices as the control plane sees them."""
        used = self.used()
        return tuple(
            DeviceStatus(
                name=name,
                model=self.devices.model(name),
                budget=budget,
                used=int(used[name]),
                others=self.devices.others(name),
                measured=self.devices.measured(name),
            )
            for name, budget in self.devices.budgets.items()
        )


def _sum(stores: Iterable[str], sizes: Iterable[Sizes]) -> Sizes:
    found: Sizes = dict.fromkeys(stores, 0.0)
    for each in sizes:
        for name, size in each.items():
            found[name] = found.get(name, 0.0) + size
    return found
