"""What a pool's model takes of the machine's memory and of its devices': known from before, and measured."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from modelyard.core.routes import DeviceFootprint, Footprint, Measured
from modelyard.host.memory import peak_bytes, proportional_bytes
from modelyard.host.process import resident_bytes
from modelyard.policy.residency import MACHINE
from modelyard.serve.pool.device_memory import DeviceMemory, kind_of

if TYPE_CHECKING:
    from modelyard.core.routes import Pool
    from modelyard.serve.pool.learnt import Learnt
    from modelyard.serve.pool.replica import Replica

UNKNOWN: Final = 256 * 2**20  # bytes that a replica is thought to take of which nothing is known
SETTLE: Final = 1.0  # seconds after its first answer at which a model has grown to its usual size (an adapter may pack weights)
PEAK: Final = 1.1  # of what is taken of a device after a load: what the load may need beside it
Sizes = dict[str, float]  # bytes by store: the machine, or the name of a device


class Seen(NamedTuple):
    """What a replica takes now: bytes of the machine, ``growth`` of them as it foretold or to come, and of its
    device (None: that is not told)."""

    replica: str
    kind: str
    machine: int
    growth: int
    device: int | None


class Size:
    """Bytes of each store that the replicas of a pool take, or will.

    A device's driver tells what is taken now, never the most that was: the peak of a load there is what is
    taken after it, or what the framework says that it ever held if that is more, and a tenth.
    """

    def __init__(self, spec: "Pool", learnt: "Learnt", devices: DeviceMemory) -> None:
        self._spec = spec
        self._learnt = learnt
        self._devices = devices
        self._machine = 0  # bytes that were measured, of all replicas
        self._on_devices: dict[str, int] = {}  # of each replica, where it could be measured
        self._granted: Sizes = {}  # what it may take to be loaded, by who had room for it
        self._before: dict[str, int] = {}  # what was used of a device before they were started there
        self._settles_at = float("inf")  # when it is to be measured for the first time after it was loaded
        self._most_before: Sizes = {}  # what a replica took at most, by what was known when it was loaded
        self._ran_out: float | None = None  # bytes that were free beside it when a device had too few

    # --- before it is loaded

    @property
    def _estimate(self) -> int:
        return self._spec.memory or UNKNOWN

    @property
    def on_a_device(self) -> int:
        """Bytes of a device that a replica takes, as far as that is known of any kind of device."""
        known = self._learnt.footprint
        if known is None or not known.devices:
            return self._estimate
        return max(max(each.loading, each.most) for each in known.devices.values())

    def needs(self, on: Sequence[str]) -> Sizes:
        """What loading takes, a replica on each of the devices ``on``."""
        return self._each(on, self._loading, self._loading_on)

    def least(self, on: Sequence[str]) -> Sizes:
        """With how much it is tried: what is not measured yet is thought to be generous."""
        return self._each(on, self._least, self._least_on)

    def _each(
        self, on: Sequence[str], machine: Callable[[], float], device: Callable[[str], float]
    ) -> Sizes:
        sizes: Sizes = {MACHINE: machine() * len(on)}
        for name in on:
            if name in self._devices.budgets:
                sizes[name] = sizes.get(name, 0) + device(name)
        return sizes

    def _loading(self) -> int:
        known = self._learnt.footprint
        size = self._estimate if known is None else max(known.loading, known.most)
        limit = self._spec.resources.memory
        return size if limit is None else min(size, limit)

    def _least(self) -> float:
        return self._loading() / (2 if self._learnt.footprint is None else 1)

    def _loading_on(self, device: str) -> int:
        budget, known = self._devices.budgets[device], self._known(device)
        if known is None:
            # An estimate does not tell the device's memory from the machine's: it refuses nobody.
            return min(self._estimate, budget) if self._ran_out is None else budget
        size = max(known.loading, known.most)
        if self._ran_out is None:
            return size
        # More than was thought, and than was free beside that: as much again is to be there.
        return max(size, min(2 * size + int(self._ran_out), budget))

    def _least_on(self, device: str) -> float:
        known = self._known(device)
        if known is None:
            return min(self._estimate, self._devices.budgets[device]) / 2
        return max(known.loading, known.most)

    def _known(self, device: str) -> DeviceFootprint | None:
        footprint = self._learnt.footprint
        return None if footprint is None else footprint.devices.get(kind_of(device))

    def ran_out(self, free: float) -> bool:
        """A device had not got the memory to load it, although ``free`` bytes were left beside it: it takes more
        than was thought. Whether that is news."""
        news = self._ran_out is None
        self._ran_out = max(0.0, free)
        return news

    # --- while it is loaded

    def opened(self, granted: Sizes, alone: Iterable[str]) -> None:
        """Its processes are about to be started, and may take what was ``granted``; on the devices ``alone``
        nothing else begins or ends now."""
        self._granted = granted
        self._before = {name: used for name in alone if (used := self._devices.used(name)) is not None}

    def disturbed(self, device: str) -> None:
        """Something else begins or ends there: what was used before its load says nothing any more."""
        self._before.pop(device, None)

    async def weigh(self, replica: "Replica", replicas: Sequence["Replica"], seconds: float) -> bool:
        """``replica`` has answered its first prediction, ``seconds`` after its process was started: see what it
        takes. False when it has ended since."""
        pid, device = replica.pid, replica.seat.device
        if pid is None:
            return False
        mates = [each for each in replicas if each.seat.device == device]
        before = self._before.get(device) if all(each.answered for each in mates) else None
        loaded, peak, resident, taken = await asyncio.to_thread(
            lambda: (
                _taken(replica, pid) or UNKNOWN,
                peak_bytes(pid) or 0,
                resident_bytes(pid) or 0,
                self._devices.loaded(device, pid, len(mates), before)
                if device in self._devices.budgets
                else None,
            )
        )
        if replica.pid != pid or replica.state == "stopping":
            return False  # what was read may be of what was left of it
        former = self._learnt.footprint
        self._settles_at = time.monotonic() + SETTLE
        self._ran_out = None
        # What it grew by, and not what it grew to: pages that are shared with few count more than with many.
        grew = 0 if former is None else former.most - former.loaded
        self._most_before = {MACHINE: loaded + max(0, grew)}
        devices = {} if former is None else dict(former.devices)
        if device in self._devices.budgets:
            kind, known = kind_of(device), self._known(device)
            self._most_before[kind] = 0 if known is None else known.most
            found = self._footprint_on(device, taken, replica.device_bytes, known)
            if found is not None:
                devices[kind] = found
            if taken is not None:
                self._on_devices[replica.id] = taken
        self._learnt.footprint = Footprint(
            # Above what is resident now, which is counted as if nothing of it were shared.
            loading=loaded + max(0, peak - resident),
            loaded=loaded,
            most=max(loaded, int(self._most_before[MACHINE])),
            seconds=seconds,
            devices=devices,
            soonest=0.0 if former is None else min(seconds, former.soonest or seconds),
        )
        if len(replicas) == 1 and device not in self._devices.budgets:
            # To look once more would tell the same: the kernel goes through all pages for it, milliseconds.
            self.measured(
                [Seen(replica.id, kind_of(device), loaded, replica.growth, None)], time.monotonic()
            )
        return True

    def _footprint_on(
        self, device: str, taken: int | None, told: int | None, known: DeviceFootprint | None
    ) -> DeviceFootprint | None:
        """``taken`` is what was measured, ``told`` what the framework says that it held at most."""
        how: Measured = self._devices.measured(device)
        if taken is None:
            if told is None or (known is not None and known.measured != "framework"):
                return known
            taken, how = told, "framework"
        return DeviceFootprint(
            loading=int(PEAK * max(taken, told or 0)),
            loaded=taken,
            most=max(taken, 0 if known is None else known.most),
            measured=how,
        )

    # --- while it is awake

    @property
    def seen(self) -> bool:
        """Whether it was measured since it was loaded."""
        return self._machine > 0

    def due(self, now: float) -> bool:
        """Whether it has settled and was not measured since."""
        return now >= self._settles_at

    async def look(self, replicas: Sequence["Replica"]) -> list[Seen]:
        """What the processes of ``replicas`` take now."""
        there = [(each, each.seat.device, pid) for each in replicas if (pid := each.pid) is not None]
        return await asyncio.to_thread(
            lambda: [
                Seen(
                    each.id,
                    kind_of(device),
                    _taken(each, pid),
                    each.growth,
                    self._devices.of_process(device, pid) if device in self._devices.budgets else None,
                )
                for each, device, pid in there
            ]
        )

    def measured(self, seen: Sequence[Seen], now: float) -> None:
        """What was seen of its processes, which go on."""
        known = self._learnt.footprint
        if known is None or not seen:
            return
        settled = now >= self._settles_at
        if settled:
            self._settles_at = float("inf")
        sizes = [each.machine for each in seen]
        self._machine = sum(sizes)
        self._on_devices |= {each.replica: each.device for each in seen if each.device is not None}
        alone = [max(0, each.machine - each.growth) for each in seen]
        most = self._most(MACHINE, known.loaded, known.most, alone, settled)
        devices = dict(known.devices)
        for kind, before in known.devices.items():
            there = [each.device for each in seen if each.kind == kind and each.device is not None]
            if there:
                largest = self._most(kind, before.loaded, before.most, there, settled)
                devices[kind] = msgspec.structs.replace(before, most=largest)
        changed = msgspec.structs.replace(known, most=most, devices=devices)
        if changed != known:
            self._learnt.footprint = changed

    def _most(self, of: str, loaded: int, most: int, sizes: Sequence[int], settled: bool) -> int:
        if not settled:
            return max(most, *sizes)
        # What one odd call made it grow to is forgotten by half with each load.
        return max(loaded, *sizes, (int(self._most_before.get(of, 0)) + max(sizes)) // 2)

    def takes(self, replicas: Sequence["Replica"], *, awake: bool) -> Sizes:
        """What counts for it now: what its processes take, or what they are known to grow to; until it was
        measured what was granted."""
        known = self._learnt.footprint
        if not awake or known is None or not self._machine:
            needs = self.needs([each.seat.device for each in replicas])
            # Not if one starts on another device, because the first one fails.
            return self._granted if self._granted.keys() == needs.keys() else needs
        growth = sum(each.growth for each in replicas)
        sizes: Sizes = {MACHINE: max(self._machine, known.most * len(replicas) + growth)}
        for each in replicas:
            device = each.seat.device
            if device in self._devices.budgets:
                seen = self._known(device)
                most = self._loading_on(device) if seen is None else seen.most
                sizes[device] = sizes.get(device, 0) + max(most, self._on_devices.get(each.id, 0))
        return sizes

    def on_device(self, replica: str) -> int | None:
        """Bytes that a replica was last seen to take of its device."""
        return self._on_devices.get(replica)

    def grown(self, store: str, replicas: Sequence["Replica"]) -> float:
        """Bytes of a store that its processes take more than when they were loaded."""
        known = self._learnt.footprint
        if known is None:
            return 0
        if store == MACHINE:
            growth = sum(each.growth for each in replicas)
            return self._machine - growth - known.loaded * len(replicas)
        there = [each for each in replicas if each.seat.device == store and each.id in self._on_devices]
        seen = self._known(store)
        return 0 if seen is None else sum(self._on_devices[each.id] - seen.loaded for each in there)

    def started_anew(self, replicas: Sequence["Replica"]) -> None:
        """It takes no more than when it was loaded, for its processes were ended."""
        if (known := self._learnt.footprint) is not None:
            self._machine = known.loaded * len(replicas)
            self._on_devices.clear()
            devices = {
                kind: msgspec.structs.replace(each, most=each.loaded)
                for kind, each in known.devices.items()
            }
            self._learnt.footprint = msgspec.structs.replace(known, most=known.loaded, devices=devices)

    def ended(self) -> None:
        """Its processes are no more."""
        self._machine = 0
        self._on_devices.clear()
        self._before.clear()


def _taken(replica: "Replica", pid: int) -> int:
    """Bytes of the machine that its process takes, and what that has started."""
    return sum(proportional_bytes(each) or 0 for each in (pid, *replica.offspring()))
