"""Where this node's executors sit: the machine's devices and cores, shared out between all of its pools."""

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from modelyard.core.deployment import Resources
from modelyard.policy.placement import DeviceHealth, Seat, place, spread, ways

log = logging.getLogger("modelyard.seats")


class Seats:
    """All seats of a node. ``devices`` are the accelerators that were found (none: the CPU alone)."""

    def __init__(self, devices: Sequence[str], cores: Sequence[int]) -> None:
        self.devices = tuple(devices)
        self._cores = tuple(cores)
        self._health = DeviceHealth(self.devices)
        self._on_device: Counter[str] = Counter()
        self._on_core: Counter[int] = Counter()

    def ways(
        self, replicas: int, resources: Resources, frees: Sequence[Mapping[str, float]], needs: float
    ) -> list[tuple[str, ...]]:
        """The devices that the replicas of one pool may be placed on, the best first; see
        :func:`~modelyard.policy.placement.ways`. Devices that fail are left out."""
        return ways(replicas, self._usable(resources), self._on_device, frees, needs)

    def take(self, replicas: int, resources: Resources, chosen: Sequence[str] | None = None) -> list[Seat]:
        """Seats for the replicas of one pool: on the devices that were ``chosen``, else the emptiest first,
        without devices that fail."""
        seats = place(
            replicas,
            devices=self._usable(resources),
            cores=self._cores,
            threads=resources.threads,
            on_device=self._on_device,
            on_core=self._on_core,
            chosen=chosen,
        )
        for seat in seats:
            self._sit(seat, 1)
        return seats

    def _usable(self, resources: Resources) -> tuple[str, ...]:
        if resources.device == "cpu":
            return ()
        usable = self._health.usable(time.monotonic())
        return tuple(each for each in usable if resources.device == "auto" or each.startswith("cuda:"))

    def lacks(self, resources: Resources) -> str | None:
        """Why these resources cannot be had on this machine; None when they can."""
        if resources.device == "cuda" and not any(each.startswith("cuda:") for each in self.devices):
            return (
                "it is to compute on a CUDA device, and this machine has none; deploy it with --device auto"
            )
        return None

    def give_back(self, seats: Sequence[Seat]) -> None:
        """A pool that ends leaves its seats."""
        for seat in seats:
            self._sit(seat, -1)

    def again(
        self, seat: Seat, resources: Resources, free: Mapping[str, float] | None = None, needs: float = 0.0
    ) -> Seat:
        """Where the executor of ``seat`` starts next: elsewhere when its device is left out, by the ``free``
        bytes of devices where they are known."""
        usable = self._usable(resources)
        if seat.device in usable or not usable:
            return seat
        self._on_device[seat.device] -= 1
        # Only the device changes: the cores were shared out with the pool's other replicas in view.
        (device,) = spread(1, usable, self._on_device, free, needs)
        self._on_device[device] += 1
        return Seat(device, seat.cores, seat.threads)

    def _sit(self, seat: Seat, change: int) -> None:
        self._on_device[seat.device] += change
        for core in seat.cores or ():
            self._on_core[core] += change

    def failed(self, seat: Seat) -> None:
        """An executor on this seat ended before it was ready."""
        if seat.device in self.devices:
            self._health.failed(seat.device, time.monotonic())
            left_out = self._health.left_out(time.monotonic())
            if seat.device in left_out:
                log.error("a device is left out for a while", extra={"device": seat.device})

    def ready(self, seat: Seat) -> None:
        """An executor on this seat is ready."""
        if seat.device in self.devices:
            self._health.ready(seat.device, time.monotonic())
