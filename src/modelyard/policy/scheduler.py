"""The order in which waiting work is computed: a pure queue that executors pull batches from.

    submit ──► lines ──► next_batch ──► (computing, known to the caller) ──► succeeded
                 ▲                              │
                 └── give_back, out_of_memory ◄─┘

Pull, never push: a batch is made when an executor asks, from what waits at that moment, so an idle
executor means no wait at all. Every batch has a head, and mates that go well with it:

    head    of the level that is due: the arrival of a level's first entry plus AGE seconds for each level
            below the most urgent; within a level, clients share by cost (:mod:`~modelyard.policy.line`).
            When a deadline is near, the most urgent entry is the head of every second batch
    mates   :mod:`~modelyard.policy.batching`, from a window of those that are next

Bulk work, for which nobody waits at the other end of a connection, is computed when nothing else waits, never
in a batch that another entry heads, and only by workers that the caller leaves to it (``bulk``); after PATIENT
seconds it has its turn among the others.

So nothing starves: an entry waits for what stands before it in its line, for the batches of levels that
are due earlier (AGE seconds a level), and for as many urgent ones. Times are seconds on any monotonic
clock that the caller passes in.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Generic, NamedTuple, TypeVar

from modelyard.policy.admission import ahead, together, who_gives_way
from modelyard.policy.batching import Bounds, interval, most_rows, planned, riding
from modelyard.policy.due import due_line, most_urgent
from modelyard.policy.latency import LatencyModel
from modelyard.policy.line import Line
from modelyard.policy.work import ANY, BULK, DEFAULT_LEVEL, Entry, Measure, measure, units_of

SPARED = 2  # deaths that look like somebody else's doing and are believed
WINDOW = 256  # entries that mates are chosen from
WIDEST = 8192  # the same, where batches are so long that a wide choice costs little beside them
PER_SECOND = 200_000  # of the last batch: how many more entries are worth to be looked at
LONGEST = 0.5  # seconds that a batch may compute (its head alone may take longer)
GROWTH = 2.5  # times the largest padded cost so far: two of its length, and a bit longer ones
SAMPLE = 16  # entries of a level that tell what a row costs
SHARE = 0.5  # of the time that all the work left will take: a batch's part, where several workers pull
LIFT = 1.002  # of the ceiling, for each batch near it: it is tried again after some hundred batches
MARGIN = 1.1  # of the time that what is before a call takes, for what is not predicted
HOPE = 0.9  # of what is predicted; a call with less time left than that is late whatever is done
UNSURE = 8  # part of its share that a device gets while little is known of it
LEAST = 3  # fixed costs that a batch may take at least, however little is left
NO_WAIT_FROM = 0.25  # how full a queue makes no batch wait for mates any more
SHED_FROM = 0.5  # how full a queue takes no more work below the default level
INFINITY = float("inf")

E = TypeVar("E", bound=Entry)
_length = attrgetter("length")
_UNKNOWN = LatencyModel()


class Limits(NamedTuple):
    """``batch`` bounds the rows of a batch, ``cost`` its padded cost (an entry over them goes alone);
    ``queue`` the entries that wait, ``wait`` the seconds that a batch may wait for mates, ``seconds`` the
    time that a batch may compute."""

    batch: int
    queue: int
    cost: float = INFINITY
    wait: float = 0.0
    seconds: float = LONGEST


class Scheduler(Generic[E]):
    """A bounded, fair queue that batches by cost.

    ``workers`` is how many pull from it, ``speed`` what they compute together, in useful units a second
    (0: unknown), and ``devices`` the laws that they follow; the caller keeps them up to date. ``pushed_out``
    are entries that gave way to others when the queue was full: the caller answers and clears them. ``apart``
    has every entry computed alone: the model answers otherwise together.
    """

    def __init__(self, limits: Limits, shape: str = "rows") -> None:
        if limits.batch < 1 or limits.queue < 1:
            raise ValueError("a batch has at least one row, a queue room for one entry")
        self.limits = limits
        self.shape = shape
        self.workers = 1
        self.speed = 0.0
        self.devices: Sequence[LatencyModel] = ()
        self.pushed_out: list[E] = []
        self.tried = 0.0  # the largest padded cost that was computed
        self.ceiling = INFINITY  # half of the smallest that memory did not suffice for
        self.busy_until = 0.0  # when a worker is free again, by what is predicted; the caller knows better
        self.apart = False
        self.wake_at = INFINITY  # when a batch that waits for mates is due
        self.cost = Measure(0.0, 0.0, 0.0)  # of the last batch
        self._lines: dict[int, Line[E]] = {}
        self._late: list[E] = []  # met in the queue after their deadline; expire() returns them
        self.hurried = 0  # batches that did not wait for mates, because too much waited
        self._live = 0
        self._total = 0.0  # their useful cost
        self._earliest = INFINITY  # no deadline in the queue is earlier
        self._turn = False  # the last batch's head was the most urgent: now the oldest's turn
        self._before = 0  # entries that waited when the last batch was made
        self._last = 0.0  # seconds that the last batch was to take

    def __len__(self) -> int:
        """Entries that wait and are not done."""
        return self._live

    @property
    def bulk(self) -> int:
        """How many of them are bulk work."""
        line = self._lines.get(BULK)
        return 0 if line is None else line.live

    @property
    def units(self) -> float:
        """The useful cost of all that wait."""
        return self._total

    @property
    def next_deadline(self) -> float:
        """No waiting entry expires before this time (infinity: none waits)."""
        return self._earliest if self._live or self._late else INFINITY

    def reshape(self, shape: str) -> None:
        """The adapter told how its batches cost; what waits was measured by the shape before."""
        self.shape = shape

    # --- in

    def submit(self, entry: E, now: float) -> float | None:
        """Queue ``entry``: None. Else the seconds after which it is worth to come again.

        Refused is what finds a full queue (unless another has more than its share of it), what is below
        the default level when the queue is half full, and what cannot be computed before its deadline.
        """
        entry.arrived = now
        line = self._lines.get(entry.level)
        if line is None:
            line = self._lines[entry.level] = Line()
        if self.shape != "rows":
            entry.units = units_of(self.shape, entry.rows, entry.length)
        else:
            entry.units = entry.rows
        if self._live:
            refused = self._refused(entry, now)
            if refused is not None:
                return refused
        line.join(entry)
        self._live += 1
        self._total += entry.units
        if entry.deadline < self._earliest:
            self._earliest = entry.deadline
        return None

    def _refused(self, entry: E, now: float) -> float | None:
        if entry.level > DEFAULT_LEVEL and self._live >= self.limits.queue * SHED_FROM:
            return max(0.001, self.seconds(self.units * (1 - SHED_FROM)))
        room = entry.deadline - max(now, self.busy_until)  # what computes now goes first
        if self.speed and (self._total + entry.units) * MARGIN > room * self.speed:
            # Not if it had to wait for all that is here; it need not.
            late = self.wait(entry) * MARGIN - room
            if late > 0:
                return late
        if self._live >= self.limits.queue and not self._make_room(entry):
            return max(0.001, self.seconds(self.units / 2))
        return None

    def wait(self, entry: E) -> float:
        """Seconds until ``entry`` would be computed if it joined now, by what is known; 1 while unknown."""
        return self.seconds(ahead(self._lines, entry))

    def seconds(self, units: float) -> float:
        """Until waiting work of this useful cost would be computed, by what is known; 1 while unknown.

        At lately's speed, or in the batches that so much work allows, whichever is quicker: after hours
        of single calls lately's speed is that of single calls.
        """
        if not self.speed:
            return 1.0
        limits, count = self.limits, max(1, len(self.devices))
        some = [entry for line in self._lines.values() for entry in line.first(SAMPLE)]
        each = sum(entry.units for entry in some) / max(1, sum(entry.rows for entry in some))
        rows = limits.batch * max(1.0, each)
        most = min(rows, limits.cost, self.ceiling, self.tried, units / count)
        return units / max(self.speed, together(self.devices, most, limits.seconds))

    def _make_room(self, entry: E) -> bool:
        """Whether somebody gave way."""
        victim = who_gives_way(self._lines, entry)
        if victim is None:
            return False
        victim.done = True
        self._leave(victim)
        self.pushed_out.append(victim)
        return True

    # --- out

    def next_batch(self, now: float, model: LatencyModel = _UNKNOWN, *, bulk: bool = True) -> list[E]:
        """The next head and its mates, for a worker whose device follows ``model`` and who takes ``bulk`` work
        or does not; empty when nothing waits for it, or when what waits may wait for mates (until ``wake_at``)."""
        self.wake_at = INFINITY
        lines = self._lines
        if not bulk and BULK in lines:
            lines = {level: line for level, line in lines.items() if level != BULK}
        while True:
            line = due_line(lines)
            if line is None:
                return []
            head = line.head()
            assert head is not None
            if head.deadline > now:
                if not self._hopeless(head, now, model):
                    break
                self._sweep(now)  # whose time is over does not wait
                if self._live == 1:
                    break
            self._expired(head)
        if self._live == 1:
            batch = [head]
        else:
            urgent = self._urgent(lines, now, model)
            self._turn = urgent is not None and not self._turn
            if urgent is not None and self._turn and urgent is not head:
                head = urgent
                line = self._lines[head.level]
            batch = self._with_mates(head, line, now, model)
        if self.limits.wait > 0 and not self._hurries() and not self._worth_going(batch, now, model):
            self.wake_at = min(each.arrived for each in batch) + self.limits.wait
            return []
        self._before = self._live
        line.serve(head)
        for entry in batch:
            self._leave(entry)
        line.sweep()
        self.cost = cost = measure(self.shape, batch)
        if model.known:
            self._last = model.predict(cost.padded, cost.squares)
            self.busy_until = now + self._last
        return batch

    def _urgent(self, lines: Mapping[int, Line[E]], now: float, model: LatencyModel) -> E | None:
        """The entry with the nearest deadline, when that is so near that it may be missed."""
        horizon = now + 0.05 + 4 * min(self.limits.seconds, self._last)
        if self._earliest > horizon or not self._live:
            return None
        return most_urgent(
            lines,
            horizon,
            lambda entry: entry.deadline > now and not self._hopeless(entry, now, model),
        )

    def _hopeless(self, entry: E, now: float, model: LatencyModel) -> bool:
        """Whether ``entry`` would be late even if it were computed now, alone: others need not wait for that."""
        if not model.sure or entry.deadline > now + self.limits.seconds:
            return False
        cost = measure(self.shape, (entry,))
        return entry.deadline < now + HOPE * model.predict(cost.padded, cost.squares)

    def _with_mates(self, head: E, line: Line[E], now: float, model: LatencyModel) -> list[E]:
        bounds = self._bounds(head, now, model)
        if self.shape == "rows":
            return self._in_order(head, line, now, bounds, model)
        wide = max(WINDOW, min(WIDEST, int(self._last * PER_SECOND)))
        window = self._candidates(head, line, wide, now)
        window.sort(key=_length)
        at = window.index(head)
        low, high = interval(self.shape, window, at, bounds, model)
        if len(window) == self._live and self._live < self._before and model.known:
            # Nothing but what is seen waits, and little comes: its best parts are better than the best
            # part of it. Where as much comes as goes, what is left is not all there is.
            low, high = planned(self.shape, window, at, bounds, model, (low, high))
        batch = window[low:high]
        if min(each.ride for each in batch) < len(batch):
            return riding(head, batch)
        return batch

    def _in_order(self, head: E, line: Line[E], now: float, bounds: Bounds, model: LatencyModel) -> list[E]:
        """Rows are alike: the next ones, as many as are worth it."""
        most = most_rows(head, bounds, model)
        batch = [head]
        rows, ride = head.rows, min(head.ride, bounds.entries)
        for entry in self._candidates(head, line, min(int(most), self._live), now):
            if entry is head:
                continue
            ride = min(ride, entry.ride)
            if rows + entry.rows > most or len(batch) >= ride:
                break
            batch.append(entry)
            rows += entry.rows
        return batch

    def _candidates(self, head: E, line: Line[E], count: int, now: float) -> list[E]:
        """``head`` and those that are next: of its level first, then of the others."""
        found = line.first(count)
        if len(found) < count and len(self._lines) > 1:
            for level in sorted(self._lines):
                other = self._lines[level]
                if other is not line and level != BULK and len(found) < count:
                    found += other.first(count - len(found))
        if self._earliest <= now:
            for entry in [entry for entry in found if entry.deadline <= now]:
                found.remove(entry)
                self._expired(entry)
        if head is not (found[0] if found else None) and head not in found:
            found.insert(0, head)
        return found

    def _bounds(self, head: E, now: float, model: LatencyModel) -> Bounds:
        """What this batch may not exceed; sizes are tried from below, GROWTH times the largest at a time."""
        limits = self.limits
        alone = measure(self.shape, (head,)).padded
        tried = self.tried if self.workers == 1 or model.sure else model.largest
        cost = min(limits.cost, self.ceiling, max(GROWTH * tried, alone))
        # No longer than the head has time for, so that it is not late for its mates' sake.
        least = model.predict(*measure(self.shape, (head,))[:2])
        seconds = min(limits.seconds, max(HOPE * (head.deadline - now), least * 1.001))
        entries = 1 if self.apart else ANY
        if self.workers > 1:
            if self.speed and model.known:
                left = self.units / self.speed * (SHARE if model.sure else SHARE / UNSURE)
                seconds = min(seconds, max(left, LEAST * model.a, least * 1.001))
            else:
                entries = min(entries, max(1, self._live // self.workers))
        return Bounds(limits.batch, cost, seconds, entries)

    def _worth_going(self, batch: list[E], now: float, model: LatencyModel) -> bool:
        """Whether a batch is full, or one of it has waited for long enough."""
        if self.apart or now >= min(entry.arrived for entry in batch) + self.limits.wait:
            return True
        rows = sum(entry.rows for entry in batch)
        return (
            rows >= most_rows(batch[0], self._bounds(batch[0], now, model), model)
            or len(batch) < self._live
        )

    def _hurries(self) -> bool:
        """Whether so much waits that no batch waits for mates."""
        hurries = self._live >= self.limits.queue * NO_WAIT_FROM
        self.hurried += hurries
        return hurries

    def _leave(self, entry: E) -> None:
        self._lines[entry.level].left(entry)
        self._live -= 1
        self._total = self._total - entry.units if self._live else 0.0

    def _expired(self, entry: E) -> None:
        entry.done = True
        self._leave(entry)
        self._late.append(entry)

    # --- back

    def computed(self, padded: float) -> None:
        """A batch of this padded cost was computed: a larger one may be tried. Near the ceiling that is a
        reason to lift it a little: what wanted the memory may be gone."""
        if padded > self.tried:
            self.tried = padded
        if padded > self.ceiling / 2:
            self.ceiling *= LIFT

    def out_of_memory(self, batch: Iterable[E]) -> None:
        """A batch did not fit into memory: none as large is made again, and its entries wait again."""
        entries = list(batch)
        cost = measure(self.shape, entries).padded
        self.ceiling = min(self.ceiling, max(1.0, cost / 2))
        self.put_back(entries)

    def put_back(self, entries: list[E]) -> None:
        """These were not computed after all, through no fault of theirs: they are first again, in order."""
        for line in self._lines.values():
            line.purge()
        for entry in reversed(entries):
            if not entry.done:
                self._rejoin(entry)

    def give_back(self, entries: Iterable[E], *, blame: bool) -> list[E]:
        """An executor died under these: put them at the head, in order, to ride with fewer mates.

        Returns those that killed an executor twice while alone: they are not queued again. With
        ``blame`` False the death seems to come from outside (somebody's SIGKILL): the first SPARED
        times that is believed, but a kernel short of memory kills in the same way.
        """
        batch = [entry for entry in entries if not entry.done]
        for entry in batch:
            entry.spared += not blame
            if blame or entry.spared > SPARED:
                entry.deaths_alone += len(batch) == 1
                entry.ride = max(1, min(entry.ride, len(batch)) // 2)
        poison = [entry for entry in reversed(batch) if entry.deaths_alone >= 2]
        self.put_back([entry for entry in batch if entry.deaths_alone < 2])
        return poison

    def _rejoin(self, entry: E) -> None:
        line = self._lines.get(entry.level)
        if line is None:
            line = self._lines[entry.level] = Line()
        line.rejoin(entry)
        self._live += 1
        self._total += entry.units
        self._earliest = min(self._earliest, entry.deadline)

    def cancel(self, entry: E) -> None:
        """The caller left: ``entry`` is not computed any more if it still waits."""
        entry.done = True
        if entry.waiting:
            self._leave(entry)
            self._lines[entry.level].sweep()

    def expire(self, now: float) -> list[E]:
        """Take out and return the entries whose deadline has passed."""
        self._sweep(now)
        expired, self._late = self._late, []
        return expired

    def _sweep(self, now: float) -> None:
        """Take out the entries whose deadline has passed."""
        if now < self._earliest:
            return
        earliest = INFINITY
        for line in self._lines.values():
            for entry in line:
                if entry.deadline <= now:
                    self._expired(entry)
                elif entry.deadline < earliest:
                    earliest = entry.deadline
            line.sweep()
        self._earliest = earliest

    def clear(self) -> list[E]:
        """Take out everything that waits (nobody will serve it)."""
        left = [entry for line in self._lines.values() for entry in line]
        for entry in left:
            self._leave(entry)
        self._lines.clear()
        return left
