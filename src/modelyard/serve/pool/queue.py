"""The queue of a pool: policy's scheduler with futures and a timer around it. It decides nothing itself."""

import asyncio
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from modelyard.core import routes
from modelyard.core.errors import Deadline, InvalidInput, ModelyardError, Overloaded
from modelyard.core.signature import Signature
from modelyard.policy.cost import CostRule
from modelyard.policy.latency import LatencyModel
from modelyard.policy.scheduler import LONGEST, Limits, Scheduler
from modelyard.policy.work import BULK, Entry
from modelyard.serve.call import Answer, Call, Result
from modelyard.serve.pool.frames import Cost

if TYPE_CHECKING:
    from modelyard.serve.pool.replica import Replica

INFINITY = float("inf")


class Ticket(Entry):
    """A call in a pool's queue, and the future that its caller waits for.

    ``pieces`` gets the answers of a streamed call as they come. ``replica`` computes it now. One that is a
    ``trial`` is no caller's: one replica has it, and it never waits here.
    """

    __slots__ = ("_queue", "begun", "call", "future", "pieces", "replica", "sent", "trial")

    def __init__(
        self,
        queue: "Queue",
        call: Call,
        deadline: float,
        future: "asyncio.Future[Result]",
    ) -> None:
        options = call.options
        super().__init__(
            call.rows,
            deadline,
            client=options.client,
            priority=options.priority,
            bulk=options.progress is not None,
        )
        self._queue = queue
        self.call = call
        self.future = future
        self.sent = 0.0
        self.trial = False
        self.replica: Replica | None = None
        self.pieces: asyncio.Queue[Answer] | None = None
        self.begun = False  # a piece is with the caller, or on its way there

    def cancel(self) -> None:
        """The caller left: what waits is not computed, what computes is told."""
        self._queue.cancel(self)

    def answer(self, result: Result) -> None:
        """Give the caller its result, once."""
        self.done = True
        if not self.future.done():
            self.future.set_result(result)

    def progressed(self, fraction: float | None, message: str) -> None:
        """Its computation says how far it is."""
        if self.call.options.progress is not None and not self.done:
            self.call.options.progress(fraction, message)

    def piece(self, answer: Answer) -> None:
        """Give the caller a part of its answer."""
        if self.pieces is not None and not self.done:
            self.begun = True
            self.pieces.put_nowait(answer)


class Queue:
    """Waiting calls of one deployment. All methods run on the event loop's thread; times are monotonic."""

    def __init__(self, spec: routes.Pool) -> None:
        serving = spec.serving
        self._endpoint = spec.endpoint
        self._loop = asyncio.get_running_loop()
        self._rule: CostRule | None = None  # None: rows, which need no measuring
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = INFINITY
        self.scheduler: Scheduler[Ticket] = Scheduler(
            Limits(
                batch=serving.max_batch,
                queue=serving.max_queue,
                cost=INFINITY if serving.max_cost is None else serving.max_cost,
                wait=serving.max_wait,
                seconds=LONGEST if serving.latency_target is None else serving.latency_target,
            )
        )

    def __len__(self) -> int:
        """Calls that wait."""
        return len(self.scheduler)

    def learn(self, signature: Signature, cost: Cost) -> None:
        """What calls cost, as the executor declares it. Raises ValueError when it cannot be followed."""
        declared = {"cost": cost.cost, "shape": cost.shape} | ({"of": cost.of} if cost.of else {})
        rule = CostRule(declared, signature)
        self._rule = None if rule.by_rows else rule
        self.scheduler.reshape(rule.shape)

    def submit(self, call: Call) -> Ticket:
        """Queue one call. Raises Overloaded with the time after which to come back."""
        now = time.monotonic()
        ticket = self._ticket(call, now)
        if call.stream:
            ticket.pieces = asyncio.Queue()
            ticket.ride = 1
        refused = self.scheduler.submit(ticket, now)
        if refused is not None:
            raise self._overloaded(refused)
        if self.scheduler.pushed_out:
            gone = self.scheduler.pushed_out
            self.scheduler.pushed_out = []
            self.answer(gone, self._overloaded(1.0))
        if ticket.deadline < self._timer_at:
            self._arm(ticket.deadline)
        return ticket

    def trial(self, call: Call) -> Ticket:
        """A ticket for a call of our own, which a replica has at once: it is not queued, and has a deadline."""
        ticket = self._ticket(call, time.monotonic())
        ticket.trial = True
        self._arm(ticket.deadline)
        return ticket

    def _ticket(self, call: Call, now: float) -> Ticket:
        ticket = Ticket(self, call, now + call.timeout, self._loop.create_future())
        if self._rule is not None:
            try:
                ticket.rows, ticket.length = self._rule.measure(call)
            except ValueError as error:
                raise InvalidInput(f"{error}.", field="inputs") from error
        return ticket

    def _overloaded(self, after: float) -> Overloaded:
        return Overloaded(
            f"{self._endpoint!r} has {len(self.scheduler)} calls waiting, more than it can answer in time; "
            "come back later.",
            retry_after=after,
        )

    def cancel(self, ticket: Ticket) -> None:
        """The caller of ``ticket`` left."""
        self.scheduler.cancel(ticket)
        ticket.future.cancel()
        if ticket.replica is not None:
            ticket.replica.forget(ticket)
            if ticket.level == BULK:
                # Hours might be left of its time: an executor that does not heed the cancellation is ended.
                ticket.deadline = time.monotonic()
                self._arm(ticket.deadline)

    def next_batch(self, now: float, model: LatencyModel, *, bulk: bool) -> list[Ticket]:
        """What is computed next; empty when nothing waits, or when what waits waits for mates."""
        batch = self.scheduler.next_batch(now, model, bulk=bulk)
        if not batch and self.scheduler.wake_at < INFINITY:
            self._arm(self.scheduler.wake_at)
        return batch

    @staticmethod
    def answer(tickets: Iterable[Ticket], result: Result) -> None:
        """Give all of them the same result."""
        for ticket in tickets:
            ticket.answer(result)

    def clear(self, error: ModelyardError) -> None:
        """Nobody will serve what waits: tell its callers."""
        self.answer(self.scheduler.clear(), error)

    # --- time

    def _arm(self, at: float) -> None:
        """Have :meth:`_tick` called at ``at``, or at an earlier time that it is armed for."""
        if at >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_later(max(0.0, at - time.monotonic()), self._tick)

    def _tick(self) -> None:
        """Answer every call whose time is over, waiting or computing, and look at what hangs."""
        now = time.monotonic()
        self._timer, self._timer_at = None, INFINITY
        for ticket in self.scheduler.expire(now):
            ticket.answer(late(ticket, "it was waiting for a free replica"))
        following = min(self.scheduler.next_deadline, self.on_tick(now))
        if following < INFINITY:
            self._arm(following)

    def on_tick(self, now: float) -> float:
        """Set by the pool: looks after what is being computed, and returns when to look again."""
        return INFINITY

    def close(self) -> None:
        """No timer fires any more."""
        if self._timer is not None:
            self._timer.cancel()


def late(ticket: Ticket, where: str) -> Deadline:
    """What the caller of a ticket hears whose time is over."""
    return Deadline(f"The call's {ticket.call.timeout:g} s were over while {where}.")
