"""The node's memory, shared out between all of its models: the hands of :mod:`modelyard.policy.residency`."""

import asyncio
import contextlib
import logging
import math
import os
import time

from modelyard.core.errors import ModelyardError, Unavailable
from modelyard.core.routes import MemoryStatus
from modelyard.core.units import format_bytes
from modelyard.host.memory import proportional_bytes
from modelyard.policy.residency import PATIENCE, SHORTEST, TURN, Plan, Waiting, plan, room
from modelyard.serve.pool.forks import ForkServers
from modelyard.serve.pool.residence import Residence

log = logging.getLogger("modelyard.memory")

LOOK_EVERY = 1.0  # seconds
TRY_EVERY = 0.05  # while somebody waits for room
MARGIN = 0.98  # of the budget is what is given away: what is measured of a model comes and goes a little
TOLERANCE = 1.02  # of the budget: how far models may grow over it before a busy one has to give way
LOADING = 10.0  # seconds for which a model that loads has one of the places for those that do
GROWTH = 0.2  # of what a model takes: what it has grown by at least to be blamed for it


class Memory:
    """``budget`` bytes for the node's own process, its fork servers and all of its executors (infinity: no
    limit). Fork servers go before a model has to wait.

    All methods run on the event loop's thread.
    """

    def __init__(self, budget: float = math.inf, forks: ForkServers | None = None) -> None:
        self.budget = budget
        self.forks = forks
        self.places = max(
            4, len(os.sched_getaffinity(0))
        )  # models that load at a time: more are all the later
        self.loads = 0
        self.evictions = 0
        self._members: dict[str, Residence] = {}
        self._waiting: dict[str, float] = {}  # since when
        self._own = 0  # bytes of the node's own process
        self._servers = 0  # and of its fork servers
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
        self._plan()
        if self._over() and self._shrink():
            self._plan()
        if not self._over():
            return True
        kept = sum(each.takes for each in self._members.values() if each.kept and each is not residence)
        if residence.needs > self.budget * MARGIN - self._own - kept:
            residence.crowded = self._crowded(residence)
        return False

    def _over(self, tolerance: float = 1.0) -> bool:
        """Whether models take more than they may, those apart that are leaving."""
        leaving = sum(each.takes for each in self._members.values() if each.state == "leaving")
        return self._used() - leaving > self.budget * tolerance

    def refusal(self, residence: Residence, seconds: float) -> ModelyardError | None:
        """What a call hears that has no more than ``seconds``, if the model cannot be there by then."""
        now = time.monotonic()
        if residence.state == "waking":
            wait = max(0.0, residence.reload - (now - residence.since))
        elif (wait := self._until_room(residence, now)) == math.inf:
            return Unavailable(self._crowded(residence))
        else:
            wait += residence.reload
        if wait <= seconds:
            return None
        return Unavailable(
            f"{residence.pool.spec.endpoint!r} is asleep; it is being loaded and will take about {wait:.1f} s, "
            f"longer than this call's {seconds:g} s.",
            retry_after=wait,
        )

    def _crowded(self, residence: Residence) -> str:
        return (
            f"{residence.pool.spec.endpoint!r} needs {format_bytes(residence.needs)} to be loaded, and of the node's "
            f"{format_bytes(int(self.budget))} its own process and models that may not sleep leave less; give the "
            "node more memory (modelyard up --memory), or deploy one of them with --min-replicas 0."
        )

    def _until_room(self, residence: Residence, now: float) -> float:
        """Seconds until there is room for it, as far as that is known; infinity for never."""
        short = (residence.needs if residence.proven else residence.needs / 2) - (
            self.budget * MARGIN - self._own
        )
        awake = [each.resident(now) for each in self._members.values() if each.state == "awake"]
        coming = sum(each.takes for each in self._members.values() if each.state in ("waking", "leaving"))
        short += sum(each.bytes for each in awake if each.kept)
        if short > 0:
            return math.inf
        free = self.budget * MARGIN - self._used()
        if residence.needs <= free + room(each for each in awake if not each.busy) + coming:
            return 0.0
        turns = [
            max(PATIENCE, SHORTEST - each.awake, TURN * (each.reload + residence.reload) - each.awake)
            for each in awake
            if each.busy and not each.kept
        ]
        return min(turns, default=0.0)

    # --- for the node

    def _used(self) -> int:
        return self._own + self._servers + sum(each.takes for each in self._members.values())

    def _shrink(self) -> bool:
        """Let go of the fork servers; whether there were any."""
        found = self.forks is not None and self.forks.shrink()
        if found:
            self._servers = 0
        return found

    def status(self) -> MemoryStatus:
        """What the control plane sees."""
        states = [each.state for each in self._members.values()]
        return MemoryStatus(
            budget=None if self.budget == math.inf else int(self.budget),
            used=self._used(),
            awake=states.count("awake"),
            asleep=states.count("asleep"),
            waiting=len(self._waiting),
        )

    # --- the hands

    def _plan(self) -> None:
        """Load what there is room for; make room for what waits."""
        self._soon = False
        now = time.monotonic()
        members = self._members
        leaving = sum(each.takes for each in members.values() if each.state == "leaving")
        awake = [each.resident(now) for each in members.values() if each.state == "awake"]
        waiting: list[Waiting] = []
        used = self._used()
        free = self.budget * MARGIN - used
        most = self.budget * MARGIN - self._own - sum(each.bytes for each in awake if each.kept)
        for name, since in list(self._waiting.items()):
            each = members[name]
            if each.state != "asleep":
                if each.state != "leaving":
                    del self._waiting[name]
                continue
            # An estimate is generous: with half of it, it is tried.
            if (each.needs if each.proven else each.needs / 2) > most:
                del self._waiting[name]
                each.crowded = self._crowded(each)
                each.pool.turn_away()
                continue
            needs = each.needs if each.proven else min(each.needs, most)
            if each.owed and each.proven and not each.kept and needs > free and not each.pool.busy:
                # It was in memory when the node stopped, and others were loaded first: it may sleep.
                del self._waiting[name]
                each.stay()
                continue
            waiting.append(Waiting(name, int(needs), each.reload, now - since))
        found = plan(free, leaving, awake, waiting, max(0.0, used - leaving - self.budget))
        loading = sum(
            each.state == "waking" and not each.pool.failing and now - each.since < LOADING
            for each in members.values()
        )
        for name in found.load[: max(0, self.places - loading)]:
            del self._waiting[name]
            self.loads += 1
            members[name].open()
        for name in (*found.sleep, *found.give_way):
            self.evictions += 1
            log.info("a model is put to sleep for others", extra={"deployment": name})
            members[name].close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and found == Plan() and not leaving:
            self._shrink()  # nobody makes room, and none is on its way
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(TRY_EVERY, self._plan)

    async def _look(self) -> None:
        while True:
            try:
                await self._look_once()
            except Exception:
                log.exception("an error of ours")
            await asyncio.sleep(LOOK_EVERY)

    async def _look_once(self) -> None:
        now = time.monotonic()
        self._own = proportional_bytes(os.getpid()) or 0
        self._servers = self.forks.look() if self.forks is not None else 0
        for each in list(self._members.values()):
            if each.look(now):
                await each.measure(now)
        for each in list(self._members.values()):
            if each.state == "awake" and each.idle_too_long(now):
                log.info("a model sleeps that nobody calls", extra={"deployment": each.name})
                each.close()
        if self._used() > self.budget:
            self._plan()
            if self._over() and not self._shrink() and self._over(TOLERANCE):
                self._end_growth()

    def _end_growth(self) -> None:
        """Where no model can be put to sleep, the one that grew most since it was loaded starts anew; where
        none grew, the one that came last turned out to be too large and has to leave."""
        awake = [each for each in self._members.values() if each.state == "awake"]
        if not awake:
            return
        grown = max(awake, key=lambda each: each.grown)
        if grown.grown > GROWTH * grown.takes:
            self._start_anew(grown)
            return
        last = max(awake, key=lambda each: each.since)
        log.error(
            "a model turned out to be too large for what memory is left",
            extra={"deployment": last.name, "takes": last.takes, "budget": self.budget},
        )
        last.close()

    def _start_anew(self, grown: Residence) -> None:
        log.error(
            "the node's memory is used up; the model that grew most is started anew",
            extra={"deployment": grown.name, "grown": grown.grown, "budget": self.budget},
        )
        for replica in grown.replicas:
            grown.pool.log.note(
                replica.id,
                f"modelyard: it grew by {format_bytes(grown.grown)} since it was loaded, and the node has no memory "
                "left; it is started anew",
            )
            replica.kill()
        grown.started_anew()
