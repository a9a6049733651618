"""The order in which waiting work is computed: a pure queue that executors pull batches from.

    submit ──► waiting ──► next_batch ──► (computing, known to the caller) ──► done
                  ▲                              │
                  └────────── give_back ◄────────┘   an executor died

Pull, never push: a batch is made when an executor asks, from what waits at that moment, so an idle
executor means no wait at all and a busy one means larger batches. The head of the queue is in every
batch, so nothing starves. Times are seconds on any monotonic clock that the caller passes in.
"""

from collections import deque
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

SPARED = 2


class Entry:
    """One piece of work in the queue; a caller derives its own from it.

    ``cost`` is in the adapter's unit (rows). ``ride`` is the largest number of entries of a batch
    that this one may be part of: halved each time an executor dies under it, so that an entry that
    kills its executor is soon alone, and its mates are safe. ``deaths_alone`` counts those.
    ``pin`` names the only worker that may take it (a canary).
    """

    __slots__ = ("arrived", "cost", "deadline", "deaths_alone", "done", "pin", "ride", "spared", "waiting")

    def __init__(self, cost: int, deadline: float, *, pin: Hashable | None = None) -> None:
        self.cost = cost
        self.deadline = deadline
        self.pin = pin
        self.arrived = 0.0
        self.ride = 1 << 30
        self.deaths_alone = 0
        self.spared = 0  # deaths under it that seemed to come from outside
        self.waiting = False  # counted as one that waits
        self.done = False  # answered, expired or cancelled: never computed again


E = TypeVar("E", bound=Entry)


class Scheduler(Generic[E]):
    """A bounded first-come queue with a batch budget.

    ``max_batch`` bounds the cost of one batch (an entry that costs more goes alone); ``max_queue``
    bounds the number of waiting entries.
    """

    def __init__(self, *, max_batch: int, max_queue: int) -> None:
        if max_batch < 1 or max_queue < 1:
            raise ValueError("max_batch and max_queue are at least 1")
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._waiting: deque[E] = deque()
        self._pinned: dict[Hashable, E] = {}
        self._late: list[E] = []  # met in the queue after their deadline; expire() returns them
        self._live = 0  # entries that wait and are not done
        self._earliest = float("inf")  # no deadline in the queue is earlier

    def __len__(self) -> int:
        """Entries that wait and are not done."""
        return self._live

    @property
    def next_deadline(self) -> float:
        """No waiting entry expires before this time (infinity: none waits)."""
        return self._earliest if self._live or self._pinned or self._late else float("inf")

    def submit(self, entry: E, now: float) -> bool:
        """Queue ``entry``; False when the queue is full. A pinned entry always has a place."""
        entry.arrived = now
        if entry.pin is not None:
            self._pinned[entry.pin] = entry
        elif self._live >= self._max_queue:
            return False
        else:
            self._waiting.append(entry)
            entry.waiting = True
            self._live += 1
        if entry.deadline < self._earliest:
            self._earliest = entry.deadline
        return True

    def next_batch(self, now: float) -> list[E]:
        """The oldest entries that fit the budget together; empty when nothing waits."""
        waiting = self._waiting
        batch: list[E] = []
        cost = 0
        ride = 1 << 30
        while waiting:
            entry = waiting[0]
            if entry.done:
                waiting.popleft()
                continue
            if batch and (cost + entry.cost > self._max_batch or len(batch) >= min(ride, entry.ride)):
                break
            waiting.popleft()
            entry.waiting = False
            self._live -= 1
            if entry.deadline <= now:
                entry.done = True
                self._late.append(entry)
                continue
            batch.append(entry)
            cost += entry.cost
            ride = min(ride, entry.ride)
        return batch

    def pinned(self, pin: Hashable) -> E | None:
        """Take the entry that only the worker ``pin`` may compute."""
        return self._pinned.pop(pin, None)

    def give_back(self, entries: Iterable[E], *, blame: bool) -> list[E]:
        """An executor died under these: put them at the head, in order, to ride with fewer mates.

        Returns those that killed an executor twice while alone: they are not queued again. With
        ``blame`` False the death seems to come from outside (somebody's SIGKILL): the first SPARED
        times that is believed, but a kernel short of memory kills in the same way.
        """
        batch = [entry for entry in entries if not entry.done]
        poison: list[E] = []
        for entry in reversed(batch):
            entry.spared += not blame
            if blame or entry.spared > SPARED:
                entry.deaths_alone += len(batch) == 1
                entry.ride = max(1, min(entry.ride, len(batch)) // 2)
            if entry.deaths_alone >= 2:
                poison.append(entry)
                continue
            self._waiting.appendleft(entry)
            entry.waiting = True
            self._live += 1
            self._earliest = min(self._earliest, entry.deadline)
        return poison

    def cancel(self, entry: E) -> None:
        """The caller left: ``entry`` is not computed any more if it still waits."""
        entry.done = True
        if entry.waiting:
            entry.waiting = False
            self._live -= 1
        elif entry.pin is not None and self._pinned.get(entry.pin) is entry:
            del self._pinned[entry.pin]

    def expire(self, now: float) -> list[E]:
        """Take out and return the entries whose deadline has passed."""
        expired, self._late = self._late, []
        if now < self._earliest:
            return expired
        for entry in self._waiting:
            if not entry.done and entry.deadline <= now:
                entry.done = True
                entry.waiting = False
                self._live -= 1
                expired.append(entry)
        self._waiting = deque(entry for entry in self._waiting if not entry.done)
        for pin in [pin for pin, entry in self._pinned.items() if entry.deadline <= now]:
            entry = self._pinned.pop(pin)
            entry.done = True
            expired.append(entry)
        self._earliest = min(
            (entry.deadline for entry in (*self._waiting, *self._pinned.values())), default=float("inf")
        )
        return expired

    def clear(self) -> list[E]:
        """Take out everything that waits (nobody will serve it)."""
        left = [entry for entry in self._waiting if not entry.done]
        for entry in left:
            entry.waiting = False
        self._waiting.clear()
        self._live = 0
        return left
