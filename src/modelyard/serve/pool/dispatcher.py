"""The hands of a queue: what waits goes to the replicas, at once or so that it is there when they are done."""

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from modelyard.core.errors import TooLarge, Unavailable
from modelyard.policy.work import Measure
from modelyard.serve.pool.channel import ExecutorGone
from modelyard.serve.pool.queue import Ticket
from modelyard_executor.wire import WireError

if TYPE_CHECKING:
    from modelyard.serve.pool.batch import Batch
    from modelyard.serve.pool.pool import Pool
    from modelyard.serve.pool.replica import Replica

AHEAD_FROM = 0.002  # seconds of computing from which the next batch is sent before the last one is done
LEAD = 0.05  # of a batch's time: how much earlier the next one is sent, at least a millisecond
PLENTY = 2  # batches like the one that computes: where so much waits, the next one is sent at once


class Dispatcher:
    """Sends batches of ``pool``'s queue to its replicas. All methods run on the event loop's thread."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._queue = pool.queue
        self._scheduler = pool.queue.scheduler
        self._loop = asyncio.get_running_loop()
        self._idle: list[
            Replica
        ] = []  # few: an empty deque takes half a kilobyte, a thousand models have one each
        self._asked = False  # to dispatch at the end of this turn of the loop
        self._choosing = 0.0  # seconds that it takes to choose a batch, lately

    def soon(self) -> None:
        """Dispatch at the end of this turn of the loop: calls that arrived in the same turn go together, and
        none waits for longer than that turn."""
        if self._idle and not self._asked:
            self._asked = True
            self._loop.call_soon(self.dispatch)

    def dispatch(self) -> None:
        """Give idle replicas what waits."""
        self._asked = False
        idle, scheduler = self._idle, self._scheduler
        if idle and len(scheduler):
            now = time.monotonic()
            while idle and len(scheduler):
                replica = idle[0]
                batch = self._choose(replica, now)
                if not batch:
                    break
                del idle[0]
                if not self.send(replica, batch, scheduler.cost, now) and replica.state == "ready":
                    idle.append(replica)
        self._pool.look_whether_empty()

    def add(self, replica: "Replica") -> None:
        """It computes nothing, and takes what waits."""
        self._idle.append(replica)
        self.dispatch()

    def free(self, replica: "Replica") -> None:
        """A batch of it is done."""
        if replica.state != "ready":
            return
        if replica.batches:
            self._plan_ahead(replica, replica.batches[0])
        else:
            self._scheduler.busy_until = 0.0
            self.add(replica)

    def remove(self, replica: "Replica") -> None:
        """It takes nothing any more."""
        with contextlib.suppress(ValueError):
            self._idle.remove(replica)

    def clear(self) -> None:
        """No replica takes anything any more."""
        self._idle.clear()

    def send(self, replica: "Replica", batch: list[Ticket], cost: Measure, now: float) -> bool:
        """False when the batch could not be sent; its calls have been seen to."""
        try:
            replica.compute(batch, cost, now)
        except WireError as error:
            # Alone it is told; together, each is tried alone.
            if len(batch) == 1 or batch[0].trial:
                self._queue.answer(batch, TooLarge(f"This call is too large to be computed: {error}."))
            for ticket in batch:
                ticket.ride = 1
            self._scheduler.put_back(batch)
            return False
        except ExecutorGone:
            if batch[0].trial:
                self._queue.answer(batch, Unavailable("The model's process ended before its first answer."))
            self._scheduler.put_back(batch)  # others compute them
            return False
        if not batch[0].trial:
            metrics = self._pool.metrics
            waits = metrics.queue
            for ticket in batch:
                ticket.sent = now
                ticket.replica = replica
                waits.observe(now - ticket.arrived)
            metrics.batch.observe(len(batch))
        if replica.depth > 1 and replica.state == "ready" and len(replica.batches) == 1:
            self._plan_ahead(replica, replica.batches[0])
        return True

    def _plan_ahead(self, replica: "Replica", batch: "Batch") -> None:
        """Have the next batch at the executor when this one is done, and no earlier than that needs.

        Where many wait, what comes meanwhile would hardly change it, and reading that and answering them may
        take the loop longer than the batch computes: then it is chosen before.
        """
        model = self._pool.model_of(replica)
        if not model.sure or batch.tickets[0].pieces is not None:
            return  # how long a stream takes, no law says
        seconds = model.predict(batch.cost.padded, batch.cost.squares)
        if seconds >= AHEAD_FROM:
            if len(self._scheduler) >= PLENTY * len(batch.tickets):
                self._loop.call_soon(self._send_ahead, replica, batch)
                return
            lead = max(0.001, LEAD * seconds, 2 * self._choosing)
            # It may have begun before the last one was answered.
            left = batch.began + seconds - time.monotonic()
            self._loop.call_later(max(0.0, left - lead), self._send_ahead, replica, batch)

    def _send_ahead(self, replica: "Replica", current: "Batch") -> None:
        if replica.state != "ready" or len(replica.batches) != 1 or replica.batches[0] is not current:
            return
        if not len(self._scheduler) or self._idle:
            return
        now = time.monotonic()
        batch = self._choose(replica, now)
        if batch:
            self._choosing += 0.2 * (time.monotonic() - now - self._choosing)
            self.send(replica, batch, self._scheduler.cost, now)

    def _choose(self, replica: "Replica", now: float) -> list[Ticket]:
        bulk = self._takes_bulk(replica)
        return self._queue.next_batch(now, self._pool.model_of(replica), bulk=bulk)

    def _takes_bulk(self, replica: "Replica") -> bool:
        """Whether, with a batch of bulk work here, some replica is left that has none: or there is but this one."""
        if not self._scheduler.bulk:
            return True
        replicas = self._pool.residence.replicas
        others = [each for each in replicas if each is not replica and each.state == "ready"]
        return not others or not all(each.bulk for each in others)
