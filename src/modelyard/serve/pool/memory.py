"""The node's memory and that of its devices, shared out between all of its models: the hands of
:mod:`modelyard.policy.residency`."""

import asyncio
import contextlib
import logging
import math
import os
import time
from collections.abc import Iterable

from modelyard.core.errors import ModelyardError, Unavailable
from modelyard.core.routes import MemoryStatus
from modelyard.core.units import format_bytes
from modelyard.host.memory import proportional_bytes
from modelyard.policy.residency import MACHINE, Plan, Waiting, plan
from modelyard.serve.pool.device_memory import DeviceMemory
from modelyard.serve.pool.forks import ForkServers
from modelyard.serve.pool.ledger import Ledger, Way
from modelyard.serve.pool.residence import Residence

log = logging.getLogger("modelyard.memory")

LOOK_EVERY = 1.0  # seconds
TRY_EVERY = 0.05  # while somebody waits for room
TOLERANCE = 1.02  # of a budget: how far models may grow over it before a busy one has to give way
LOADING = 10.0  # seconds for which a model that loads has one of the places for those that do
GROWTH = 0.2  # of what a model takes: what it has grown by at least to be blamed for it


class Memory:
    """``budget`` bytes for the node's own process, its fork servers and all of its executors (infinity: no
    limit), and the budgets of ``devices``. Fork servers go before a model has to wait.

    All methods run on the event loop's thread.
    """

    def __init__(
        self,
        budget: float = math.inf,
        forks: ForkServers | None = None,
        devices: DeviceMemory | None = None,
    ) -> None:
        self.forks = forks
        self.devices = DeviceMemory() if devices is None else devices
        self.places = max(
            4, len(os.sched_getaffinity(0))
        )  # models that load at a time: more are all the later
        self.loads = 0
        self.evictions = 0
        self._ledger = Ledger(budget, self.devices)
        self._members = self._ledger.members
        self._waiting: dict[str, float] = {}  # since when
        self._timer: asyncio.TimerHandle | None = None
        self._soon = False
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look after what models take, from now on."""
        self._looking = asyncio.create_task(self._look(), name="memory")

    async def stop(self) -> None:
        """Look after nothing any more; nothing is loaded or stopped."""
        self._waiting.clear()
        self._members.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
        if self.forks is not None:
            self.forks.close()

    # --- for residences

    def join(self, residence: Residence) -> None:
        """A model of this node, asleep."""
        self._members[residence.name] = residence

    def leave(self, residence: Residence) -> None:
        """It is not served here any more."""
        if self._members.get(residence.name) is residence:
            del self._members[residence.name]
        for other in self._members.values():
            if other.crowded is not None:
                other.crowded = None
                if other.owed or other.kept or len(other.pool.queue):
                    self.ask(other)
        self.changed()

    def drop(self, residence: Residence) -> None:
        """It is not to be loaded any more."""
        if self._members.get(residence.name) is residence:
            self._waiting.pop(residence.name, None)

    def ask(self, residence: Residence) -> None:
        """It is to be loaded as soon as there is room, and only once, however many calls wait for it."""
        if residence.name not in self._waiting:
            self._waiting[residence.name] = time.monotonic()
            self.changed()

    def changed(self) -> None:
        """See, at the end of this turn of the loop, what can be done."""
        if not self._soon:
            self._soon = True
            asyncio.get_running_loop().call_soon(self._plan)

    def fits(self, residence: Residence) -> bool:
        """Whether there is room for what a new model was measured to take, when idle ones sleep for it."""
        ledger = self._ledger
        self._plan()
        if MACHINE in ledger.over() and self._shrink():
            self._plan()
        if not ledger.over():
            return True
        others = (each for each in self._members.values() if each is not residence)
        ways = ledger.ways(residence, ledger.left(ledger.most(others)))
        if all(way.lacks for way in ways):
            residence.crowded = ledger.crowded(residence, ways)
        return False

    def refusal(self, residence: Residence, seconds: float) -> ModelyardError | None:
        """What a call hears that has no more than ``seconds``, if the model cannot be there by then.

        That it was slow once says nothing: the machine was busy, or nothing was imported yet. So a call is refused by
        the quickest load that was seen, and told to come back by the latest.
        """
        now = time.monotonic()
        if residence.state == "waking":
            room, begun = 0.0, now - residence.since
        else:
            room, begun = self._ledger.until_room(residence, now), 0.0
            if room == math.inf:
                ways = self._ledger.ways(residence, self._ledger.left())
                return Unavailable(self._ledger.crowded(residence, ways))
        if room + residence.soonest - begun <= seconds:
            return None
        wait = max(room + residence.reload - begun, residence.soonest)
        return Unavailable(
            f"{residence.pool.spec.endpoint!r} is asleep; it is being loaded and will take about {wait:.1f} s, "
            f"longer than this call's {seconds:g} s.",
            retry_after=wait,
        )

    def free_on_devices(self) -> dict[str, float]:
        """Bytes of each device that may be taken now."""
        now = self._ledger.now()
        return {name: now[name].free for name in self.devices.budgets}

    def for_a_try(self) -> tuple[float, float]:
        """Bytes of the machine for a model that could not be loaded before: now, where idle ones sleep for it and
        nobody waits, and at the most."""
        left = self._ledger.left()
        return 0.0 if self._waiting else left.idle[MACHINE], left.most[MACHINE]

    def disturbed(self, residence: Residence) -> None:
        """It begins or ends on its devices: what others that load there are measured by counts that too."""
        for device in residence.devices:
            for other in self._members.values():
                if other is not residence:
                    other.size.disturbed(device)

    # --- for the node

    def _shrink(self) -> bool:
        """Let go of the fork servers; whether there were any."""
        found = self.forks is not None and self.forks.shrink()
        if found:
            self._ledger.servers = 0
        return found

    def status(self) -> MemoryStatus:
        """What the control plane sees."""
        states = [each.state for each in self._members.values()]
        budget = self._ledger.budget
        return MemoryStatus(
            budget=None if budget == math.inf else int(budget),
            used=int(self._ledger.used()[MACHINE]),
            awake=states.count("awake"),
            asleep=states.count("asleep"),
            waiting=len(self._waiting),
            devices=self._ledger.devices_now(),
        )

    # --- the hands

    def _plan(self) -> None:
        """Load what there is room for; make room for what waits."""
        self._soon = False
        now = time.monotonic()
        members, ledger = self._members, self._ledger
        stores, left = ledger.now(), ledger.left()
        waiting: list[Waiting] = []
        ways: dict[str, list[Way]] = {}
        for name, since in list(self._waiting.items()):
            each = members[name]
            if each.state != "asleep":
                if each.state != "leaving":
                    del self._waiting[name]
                continue
            found = ledger.ways(each, left)
            able = [way for way in found if way.lacks is None]
            if not able:
                del self._waiting[name]
                each.crowded = ledger.crowded(each, found)
                each.pool.turn_away()
                continue
            fits = any(all(size <= stores[s].free for s, size in way.bytes.items()) for way in able)
            if each.owed and each.proven and not each.kept and not fits and not each.pool.busy:
                # It was in memory when the node stopped, and others were loaded first: it may sleep.
                del self._waiting[name]
                each.stay()
                continue
            ways[name] = able
            waiting.append(Waiting(name, tuple(way.bytes for way in able), each.reload, now - since))
        found = plan(stores, [each.resident(now) for each in ledger.awake()], waiting)
        loading = sum(
            each.state == "waking" and not each.pool.failing and now - each.since < LOADING
            for each in members.values()
        )
        for name, number in found.load[: max(0, self.places - loading)]:
            self._open(members[name], ways[name][number])
        for name in (*found.sleep, *found.give_way):
            if self._measured_now(members[name].devices):
                continue  # a moment later
            self.evictions += 1
            log.info("a model is put to sleep for others", extra={"deployment": name})
            members[name].close()
        if self._waiting and found == Plan():
            self._end_attempts()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and found == Plan() and not any(store.coming for store in stores.values()):
            self._shrink()  # nobody makes room, and none is on its way
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(TRY_EVERY, self._plan)

    def _open(self, residence: Residence, way: Way) -> None:
        """Load it there; later, where it is measured by what changes, and something else changes there now."""
        taken = [device for device, size in way.bytes.items() if device != MACHINE and size > 0]
        moving = self._devices_of(each for each in self._members.values() if each.moving)
        leaving = self._devices_of(each for each in self._members.values() if each.state == "leaving")
        if self._measured_now(taken) or any(self.devices.alone(device) for device in leaving & {*taken}):
            return
        del self._waiting[residence.name]
        self.loads += 1
        residence.open(way.on, way.bytes, [device for device in taken if device not in moving])
        if taken:
            self.disturbed(residence)

    def _measured_now(self, devices: Iterable[str]) -> bool:
        """Whether a load on one of them is measured by what changes there, which nothing else may do now."""
        loading = self._devices_of(each for each in self._members.values() if each.loading)
        return any(self.devices.alone(device) and device in loading for device in devices)

    @staticmethod
    def _devices_of(residences: Iterable[Residence]) -> set[str]:
        return {device for each in residences for device in each.devices}

    async def _look(self) -> None:
        while True:
            try:
                await self._look_once()
            except Exception:
                log.exception("an error of ours")
            await asyncio.sleep(LOOK_EVERY)

    async def _look_once(self) -> None:
        now = time.monotonic()
        ledger = self._ledger
        ledger.own = proportional_bytes(os.getpid()) or 0
        ledger.servers = self.forks.look() if self.forks is not None else 0
        for each in list(self._members.values()):
            if each.state == "awake":
                each.renew()
            await each.watch()
            if each.look(now):
                await each.measure(now)
        await self._look_at_devices()
        for each in list(self._members.values()):
            if each.state == "awake" and each.idle_too_long(now):
                log.info("a model sleeps that nobody calls", extra={"deployment": each.name})
                each.close()
        if ledger.over():
            self._plan()
            if MACHINE in ledger.over() and (self._end_attempts() or self._shrink()):
                return
            for store in ledger.over(TOLERANCE)[:1]:
                self._end_growth(store)

    async def _look_at_devices(self) -> None:
        """See what others hold of them; where models come or go it cannot be told from theirs."""
        used = await asyncio.to_thread(self.devices.look)
        models = self._ledger.taken()
        moving = self._devices_of(each for each in self._members.values() if each.moving)
        for device, size in used.items():
            if device not in moving:
                self.devices.seen(device, size, models[device])

    def _end_attempts(self) -> bool:
        """Models that cannot be loaded are tried again another time, when others need the memory; whether there
        were any."""
        attempts = [replica for each in self._members.values() for replica in each.attempts]
        for replica in attempts:
            replica.give_way()
        return bool(attempts)

    def _end_growth(self, store: str) -> None:
        """Where no model can be put to sleep, the one that grew most since it was loaded starts anew; where
        none grew, the one that came last turned out to be too large and has to leave."""
        awake = [each for each in self._ledger.awake() if each.takes.get(store)]
        if not awake:
            return
        grown = max(awake, key=lambda each: each.grown(store))
        if grown.grown(store) > GROWTH * grown.takes[store]:
            self._start_anew(grown, store)
            return
        last = max(awake, key=lambda each: each.since)
        log.error(
            "a model turned out to be too large for what memory is left",
            extra={
                "deployment": last.name,
                "of": store,
                "takes": last.takes[store],
                "budget": self._ledger.budget_of(store),
            },
        )
        last.close()

    def _start_anew(self, grown: Residence, store: str) -> None:
        size = int(grown.grown(store))
        log.error(
            "the node's memory is used up; the model that grew most is started anew",
            extra={
                "deployment": grown.name,
                "of": store,
                "grown": size,
                "budget": self._ledger.budget_of(store),
            },
        )
        whose = (
            "the node has no memory left" if store == MACHINE else f"{store} has no memory left for models"
        )
        for replica in grown.replicas:
            replica.end_grown(f"it grew by {format_bytes(size)} since it was loaded, and {whose}")
        grown.started_anew()
