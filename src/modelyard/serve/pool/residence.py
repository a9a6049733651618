"""Whether a pool's model is in memory: its replicas, what they take, how often it is called."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from modelyard.core.errors import Conflict, Unavailable
from modelyard.core.routes import Footprint
from modelyard.core.units import format_bytes
from modelyard.policy.placement import Seat
from modelyard.policy.residency import MACHINE, Rate, Resident
from modelyard.serve.pool.replica import Replica
from modelyard.serve.pool.size import Size, Sizes

if TYPE_CHECKING:
    from modelyard.serve.pool.learnt import Learnt
    from modelyard.serve.pool.memory import Memory
    from modelyard.serve.pool.pool import Pool
    from modelyard.serve.pool.seats import Seats

State = Literal["asleep", "waking", "awake", "leaving"]

IDLE_GRACE = 0.2  # seconds that an executor without work has to end by itself
MEASURE_EVERY = 5.0  # seconds between two looks at what a model takes that is called


class Residence:
    """A pool's place in memory. All methods run on the event loop's thread.

    ``state``: *asleep* (no process), *waking* (its processes load; also when they fail to, again and
    again), *awake* (at least one has answered its first prediction), *leaving* (its processes end).
    ``owed`` is True while it has to be in memory without having been called: at its first start, or
    because it is kept. ``crowded`` says why it can never be loaded as things are, None when it can.
    """

    def __init__(
        self, pool: "Pool", memory: "Memory", learnt: "Learnt", folder: Path, seats: "Seats"
    ) -> None:
        self.pool = pool
        self.name = pool.spec.deployment
        self.state: State = "asleep"
        self.replicas: list[Replica] = []
        self.calls = 0  # since the latest look
        self.since = time.monotonic()  # when the state was entered
        self.crowded: str | None = None
        self.owed = self.kept or not self.proven_by(learnt) or learnt.awake
        self._memory = memory
        self._learnt = learnt
        self._folder = folder
        self._seats = seats
        self.size = Size(pool.spec, learnt, memory.devices)
        self._told_too_large = False
        self._attempt = 0  # bytes that a process took at most, of those that did not get as far as to serve
        self._rate = Rate(self.since)
        self._weighed = 0  # replicas that are weighed now
        self._measured_at = self.since
        self._called = False  # since it was measured
        self._ended = False
        self._ending: asyncio.Task[None] | None = None
        self._weighing: asyncio.Task[None] | None = None
        memory.join(self)
        if self.owed:
            memory.ask(self)

    @property
    def kept(self) -> bool:
        """Whether it may never sleep."""
        return self.pool.spec.scaling.min_replicas > 0

    @staticmethod
    def proven_by(learnt: "Learnt") -> bool:
        """Whether it answered a prediction once."""
        return learnt.footprint is not None

    @property
    def proven(self) -> bool:
        """Whether it answered a prediction once: what was loaded before can be loaded again."""
        return self.proven_by(self._learnt)

    @property
    def loadable(self) -> bool:
        """Whether a call would wake it."""
        return self.proven and not self.owed and self.crowded is None

    @property
    def footprint(self) -> Footprint | None:
        """What one replica takes; None before it was measured."""
        return self._learnt.footprint

    @property
    def reload(self) -> float:
        """Seconds from asleep to the first answer; 0 while that is not known."""
        return 0.0 if self.footprint is None else self.footprint.seconds

    @property
    def soonest(self) -> float:
        """The same at its best, as far as that is known: what no load of it can be expected to stay below."""
        return 0.0 if self.footprint is None else self.footprint.soonest

    @property
    def busy(self) -> bool:
        """Whether calls wait for it or are computed."""
        return self.pool.busy > 0

    @property
    def devices(self) -> set[str]:
        """Those of whose memory it takes."""
        return {store for store, size in self.takes.items() if store != MACHINE and size > 0}

    @property
    def loading(self) -> bool:
        """Whether it is being loaded, or what that took is being measured."""
        return self._weighed > 0 or self.state == "waking"

    @property
    def moving(self) -> bool:
        """Whether what it takes changes now, for it is being loaded or leaves."""
        return self.loading or self.state == "leaving"

    @property
    def takes(self) -> Sizes:
        """Bytes of each store that count for it now; none of one that it takes nothing of."""
        if self.pool.failing:
            attempts = len(self.attempts)
            return {MACHINE: self._attempt * attempts} if attempts else {}
        if self.state == "asleep":
            return {}
        return self.size.takes(self.replicas, awake=self.state != "waking")

    @property
    def attempts(self) -> list[Replica]:
        """Of a model that cannot be loaded: those whose process tries it again now."""
        if not self.pool.failing:
            return []
        return [each for each in self.replicas if each.pid is not None]

    def has_room_to_try(self) -> bool:
        """Whether a model that cannot be loaded may be tried again: only idle ones sleep for that, and none waits."""
        now, most = self._memory.for_a_try()
        if self._attempt > most and not self._told_too_large:
            self._told_too_large = True
            size = format_bytes(self._attempt)
            self.pool.log.note(
                self.name,
                f"modelyard: it took {size} before it failed, more than the node can give it: it is not tried again",
            )
        return self._attempt <= now

    def tries_again(self) -> None:
        """A process of a model that could not be loaded was started: what it may take counts from now on."""
        self._memory.changed()

    def about_to_grow(self) -> None:
        """One of its processes will take what it said when it was loaded: there has to be room for that."""
        self._memory.changed()

    def grown(self, store: str) -> float:
        """Bytes of a store that it takes more than when it was loaded."""
        return self.size.grown(store, self.replicas)

    def resident(self, now: float) -> Resident:
        """What decides whether it stays."""
        return Resident(
            name=self.name,
            bytes=self.takes,
            reload=self.reload,
            rate=self._rate.at(now),
            unused=now - self._rate.last,
            awake=now - self.since,
            busy=self.busy,
            kept=self.kept,
        )

    def idle_too_long(self, now: float) -> bool:
        """Whether it is to sleep because nobody calls it."""
        after = self.pool.spec.scaling.idle_timeout
        unused = now - max(self._rate.last, self.since)
        return 0 < after < unused and not self.kept and not self.pool.busy

    # --- coming and going

    def ask(self) -> None:
        """A call waits for it: have it loaded."""
        if self.state == "asleep" and not self._ended:
            self._memory.ask(self)

    def ways(self, frees: Sequence[Mapping[str, float]]) -> list[tuple[str, ...]]:
        """The devices that its replicas may be placed on, the best first; ``frees`` as for Seats.ways."""
        spec = self.pool.spec
        return self._seats.ways(spec.replicas, spec.resources, frees, self.size.on_a_device)

    def open(self, on: Sequence[str], granted: Sizes, alone: Sequence[str]) -> None:
        """Start the replicas on these devices; there is room for what was ``granted``. On the devices ``alone``
        nothing else begins or ends now."""
        spec = self.pool.spec
        self.crowded = None
        self._enter("waking")
        self.size.opened(granted, alone)
        self.replicas = [
            Replica(self.pool, number, self._folder / f"{spec.deployment}-{number}", seat)
            for number, seat in enumerate(self._seats.take(spec.replicas, spec.resources, on))
        ]

    def counted_on(self, device: str) -> bool:
        """Whether models share out the memory of ``device``."""
        return device in self._memory.devices.budgets

    def ran_out(self, replica: Replica) -> bool:
        """A device had not got the memory to load ``replica``. True: it is tried once more, when others there
        sleep; the replica is to end."""
        device = replica.seat.device
        if self.state != "waking" or not self.counted_on(device):
            return False
        if not self.size.ran_out(self._memory.free_on_devices()[device]):
            return False
        self.pool.log.note(
            replica.id,
            f"modelyard: {device} has not got the memory to load it; others that can sleep for it do",
        )
        self.close()
        return True

    def seat_again(self, seat: Seat) -> Seat:
        """Where a replica starts next that could not be loaded on ``seat``."""
        return self._seats.again(
            seat, self.pool.spec.resources, self._memory.free_on_devices(), self.size.on_a_device
        )

    async def wake(self, limit: float) -> None:
        """Have it in memory, within ``limit`` seconds. Raises Unavailable when it cannot be."""
        self.ask()
        refused = self._memory.refusal(self, limit)
        if refused is not None and not self.pool.serving:
            raise refused
        end = time.monotonic() + limit
        while not self.pool.serving:
            if self.pool.failing or time.monotonic() > end:
                raise Unavailable(
                    f"{self.pool.spec.endpoint!r} could not be loaded; see: modelyard logs {self.pool.spec.endpoint}",
                    retry_after=1.0,
                )
            await asyncio.sleep(0.02)
            self.ask()  # it may have been put to sleep again meanwhile

    async def sleep(self) -> None:
        """Take it out of memory. Raises Conflict when it may not be."""
        endpoint = self.pool.spec.endpoint
        if self.kept:
            raise Conflict(f"{endpoint!r} is always kept in memory; deploy it with --min-replicas 0 first.")
        if self._weighing is not None:
            await asyncio.shield(self._weighing)
        if not self.proven:
            raise Conflict(f"{endpoint!r} has not served yet; it can sleep when it has.")
        if self.pool.busy:
            raise Conflict(f"{endpoint!r} is computing; it can sleep when no call waits.")
        self.close()
        if self._ending is not None:
            await asyncio.shield(self._ending)

    def stay(self) -> None:
        """It need not be loaded before it is called."""
        self.owed = False

    def answered(self, replica: Replica, seconds: float) -> None:
        """A replica has answered its first prediction, ``seconds`` after its process was started.

        It serves from now on, the very first time once it is known that there is room for what it takes.
        """
        known = self.proven
        if self.state == "waking":
            self._enter("awake")
        if known:
            self.owed = False
            replica.serve(seconds)
        self._weighed += 1
        self._weighing = asyncio.create_task(
            self._weigh(replica, seconds, known), name=f"weigh {self.name}"
        )

    async def _weigh(self, replica: Replica, seconds: float, known: bool) -> None:
        try:
            weighed = await self.size.weigh(replica, self.replicas, seconds)
        finally:
            self._weighed -= 1
        if not weighed:
            return
        self._learnt.awake = True
        self.pool.keep_learnt()
        if not self.size.seen:
            await self.measure(time.monotonic())
        if not known:
            fits = self._memory.fits(self)
            self.owed = False
            if not fits:
                self.close()
                return
            replica.serve(seconds)
        self._memory.changed()

    def close(self) -> None:
        """Stop the replicas, of which those that compute finish what they have; what waits goes on waiting."""
        if self.state in ("waking", "awake"):
            self._enter("leaving")
            for replica in self.replicas:
                replica.retire()
            self.pool.rest()
            self._memory.disturbed(self)
            self._ending = asyncio.create_task(self._close(), name=f"put {self.name} to sleep")

    async def _close(self) -> None:
        # What computes has the time that its callers have: the pool ends it when it outlives them.
        busy = any(replica.batches for replica in self.replicas)
        await self._stop(None if busy else IDLE_GRACE)
        self._learnt.awake = False
        self.pool.keep_learnt()
        self._enter("asleep")
        if len(self.pool.queue) or self.kept or self.owed:
            self.ask()
        self._memory.changed()

    async def end(self, grace: float) -> None:
        """Stop the replicas for good."""
        self._ended = True
        self._memory.drop(self)
        await self._stop(grace)
        if self._ending is not None:
            await self._ending
        self._memory.leave(self)

    async def _stop(self, grace: float | None) -> None:
        # Not before they are: each answers what it computes, and is looked after until it has ended.
        await asyncio.gather(*(replica.stop(grace) for replica in self.replicas))
        seats, self.replicas = [replica.seat for replica in self.replicas], []
        self._seats.give_back(seats)
        self.size.ended()

    def _enter(self, state: State) -> None:
        self.state = state
        self.since = time.monotonic()

    # --- looking

    def look(self, now: float) -> bool:
        """Count the calls since the last look; whether it is time to measure what it takes."""
        self._rate.add(self.calls, now)
        self._called = self._called or self.calls > 0
        self.calls = 0
        # One long call may take more and more: it counts for as long as it is computed.
        used = self._called or self.busy
        due = self.size.due(now) or (used and now - self._measured_at > MEASURE_EVERY)
        return due and self.state == "awake"

    def renew(self) -> None:
        """Start anew what has outlived its environment."""
        for replica in self.replicas:
            replica.renew()

    async def watch(self) -> None:
        """See what its processes take that have not served yet."""
        if self.state == "waking":
            seen = await self.size.look(self.replicas)
            self._attempt = max([self._attempt, *(each.machine for each in seen)])

    async def measure(self, now: float) -> None:
        """See what its processes take."""
        computes = self.busy  # and may take more before it has answered: it is looked at again
        seen = await self.size.look(self.replicas)
        if self.state == "awake":
            self._measured_at, self._called = now, computes
            self.size.measured(seen, now)

    def started_anew(self) -> None:
        """It takes no more than when it was loaded, for its processes were ended."""
        self.size.started_anew(self.replicas)
