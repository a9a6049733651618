"""Where executors run: which device, which cores, how many threads; and which devices are left out.

Two computing processes that share a core with threads of their own take more than twice as long as one,
so the cores are shared out, never given twice while there are enough.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from modelyard.policy.backoff import Backoff

CPU = "cpu"


class Seat(NamedTuple):
    """One executor's place. ``cores``: those that it may run on (None: all of the machine's)."""

    device: str
    cores: frozenset[int] | None
    threads: int


def place(
    replicas: int,
    *,
    devices: Sequence[str],
    cores: Sequence[int],
    threads: int | None = None,
    on_device: Mapping[str, int] | None = None,
    on_core: Mapping[int, int] | None = None,
    chosen: Sequence[str] | None = None,
) -> list[Seat]:
    """Seats of ``replicas`` executors.

    ``devices`` are those that may be used (none: the CPU), ``cores`` the machine's. ``on_device`` and
    ``on_core`` count the executors that sit there already, of other pools: the emptiest are taken first.
    ``chosen`` is the device of each replica where that is decided already.
    Of more than two cores the first is the node's own. Each executor has as many threads as cores;
    ``threads`` is what a user said instead. On one or two cores, and where a user asks for more
    threads than there are cores, nobody is pinned: the node computes there too.

    Raises ValueError for less than one replica, thread or core.
    """
    if replicas < 1 or not cores or (threads is not None and threads < 1):
        raise ValueError("a placement needs a replica, a core and, where they are given, a thread")
    if chosen is None:
        chosen = spread(replicas, devices, on_device or {})
    usable = sorted(set(cores))
    pinned = len(usable) > 2
    if pinned:
        usable = usable[1:]
    pinned = pinned and (threads is None or threads <= len(usable))
    busy = {core: (on_core or {}).get(core, 0) for core in usable}
    share, left = divmod(len(usable), replicas)
    if not pinned:
        # The node is one more that computes on these few cores.
        share, left = max(1, len(usable) // 2 // replicas), 0
    seats: list[Seat] = []
    for number in range(replicas):
        count = threads or max(1, share + (number < left))
        own = sorted(busy, key=lambda core: (busy[core], core))[:count]
        for core in own:
            busy[core] += 1
        seats.append(Seat(chosen[number], frozenset(own) if pinned else None, count))
    return seats


def spread(
    replicas: int,
    devices: Sequence[str],
    on_device: Mapping[str, int],
    free: Mapping[str, float] | None = None,
    needs: float = 0.0,
) -> tuple[str, ...]:
    """The device of each of ``replicas`` of one pool; the emptiest first, by ``on_device``.

    ``free`` bytes of devices (of one that is not named they are not known, and no matter), and what a replica
    ``needs`` there: then each goes where there is room for it; of those devices to one with the fewest of
    its own mates, because two copies on one device compute no faster than one; of those to the one with
    the most bytes free, and of those to the emptiest.
    """
    seated = {device: on_device.get(device, 0) for device in devices or (CPU,)}
    left = {device: (free or {}).get(device, float("inf")) for device in seated}
    mates = dict.fromkeys(seated, 0)
    found: list[str] = []
    for _ in range(replicas):
        device = min(
            seated,
            key=lambda each: (
                left[each] < needs,
                free is not None and mates[each],
                -left[each],
                seated[each],
            ),
        )
        seated[device] += 1
        mates[device] += 1
        left[device] -= needs
        found.append(device)
    return tuple(found)


def ways(
    replicas: int,
    devices: Sequence[str],
    on_device: Mapping[str, int],
    frees: Sequence[Mapping[str, float]],
    needs: float,
) -> list[tuple[str, ...]]:
    """Different ways to place ``replicas`` of one pool, the best first: by :func:`spread` for each of
    ``frees`` (bytes free now, and when others sleep); one replica may also go to any other device.
    """
    found = dict.fromkeys(spread(replicas, devices, on_device, free, needs) for free in frees)
    if replicas == 1:
        rest = list(devices)
        while rest:
            (device,) = spread(1, rest, on_device, frees[0], needs)
            rest.remove(device)
            found[(device,)] = None
    return list(found)


class DeviceHealth:
    """Which devices may be used. One on which executors fail to load ``tolerated`` times in a row is left
    out, and tried again after a time that doubles with each failure of such a trial.

    When every device has failed it is hardly the devices' fault: all of them may be used then.
    Times are seconds on the caller's clock.
    """

    def __init__(
        self, devices: Sequence[str], *, tolerated: int = 2, first: float = 30.0, limit: float = 900.0
    ) -> None:
        self._devices = tuple(devices)
        self._tolerated = tolerated
        self._failures = dict.fromkeys(devices, 0)
        self._until = dict.fromkeys(devices, float("-inf"))
        self._backoff = {device: Backoff(first=first, limit=limit, calm=0.0) for device in devices}

    def failed(self, device: str, now: float) -> None:
        """An executor on ``device`` ended before it was ready."""
        self._failures[device] += 1
        if self._failures[device] >= self._tolerated:
            self._until[device] = now + self._backoff[device].failed(now)

    def ready(self, device: str, now: float) -> None:
        """An executor on ``device`` is ready: the device works."""
        self._failures[device] = 0
        self._until[device] = float("-inf")
        self._backoff[device].succeeded(now)

    def usable(self, now: float) -> tuple[str, ...]:
        """The devices to place executors on."""
        return tuple(each for each in self._devices if self._until[each] <= now) or self._devices

    def left_out(self, now: float) -> tuple[str, ...]:
        """Those that are waited for."""
        return tuple(each for each in self._devices if self._until[each] > now)

    def next_trial(self, now: float) -> float:
        """When a device that is left out may be tried again; infinity when none is."""
        return min((until for until in self._until.values() if until > now), default=float("inf"))
