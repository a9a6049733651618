"""The replicas of one deployment and the queue in front of them."""

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

from modelyard.core import routes
from modelyard.core.errors import Deadline, Internal, ModelyardError, Overloaded, TooLarge, Unavailable
from modelyard.core.signature import Signature
from modelyard.policy.scheduler import Entry, Scheduler
from modelyard.serve.answers import checked_answer
from modelyard.serve.call import Answer, Call, Result
from modelyard.serve.observe.logs import ModelLog
from modelyard.serve.observe.metrics import EndpointMetrics, PoolGauge
from modelyard.serve.pool.replica import Replica
from modelyard_executor.wire import WireError


class Ticket(Entry):
    """A call in a pool's queue, and the future that its caller waits for."""

    __slots__ = ("_pool", "call", "future", "sent")

    def __init__(
        self,
        pool: "Pool",
        call: Call,
        deadline: float,
        future: "asyncio.Future[Result]",
        pin: Replica | None,
    ) -> None:
        super().__init__(call.rows, deadline, pin=pin)
        self._pool = pool
        self.call = call
        self.future = future
        self.sent = 0.0

    def cancel(self) -> None:
        """The caller left."""
        self._pool.cancel(self)


class Pool:
    """Queue and replicas of one deployment. All methods run on the event loop's thread."""

    def __init__(self, spec: routes.Pool, metrics: EndpointMetrics, log: ModelLog, folder: Path) -> None:
        self.spec = spec
        self.log = log
        self.metrics = metrics
        self.signature = spec.signature
        self.failure: str | None = None
        self.draining = False
        # Half of the cores for each pool: the node, and other models, compute too. Two busy
        # OpenMP pools on the same cores collapse.
        cores = len(os.sched_getaffinity(0))
        self.threads = spec.resources.threads or max(1, cores // 2 // spec.replicas)
        self._failing = False
        self._stopped = False
        self._retry_after = 1.0
        self._loop = asyncio.get_running_loop()
        self._scheduler: Scheduler[Ticket] = Scheduler(
            max_batch=spec.serving.max_batch, max_queue=spec.serving.max_queue
        )
        self._idle: deque[Replica] = deque()
        self._dispatching = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._emptied = asyncio.Event()
        self._outputs: dict[str, tuple[str, tuple[int, ...]]] = {}
        if spec.signature is not None:
            self.learn(spec.signature)
        self._replicas = [
            Replica(self, number, folder / f"{spec.deployment}-{number}") for number in range(spec.replicas)
        ]

    # --- for the dataplane

    @property
    def ready(self) -> bool:
        """Whether at least one replica serves."""
        return any(replica.state == "ready" for replica in self._replicas)

    def submit(self, call: Call, *, pin: Replica | None = None) -> Ticket:
        """Queue one call; its ``future`` gets a Result.

        Raises Overloaded when the queue is full, Unavailable when the model keeps crashing.
        """
        now = self._loop.time()
        if pin is None and (self._failing or self._stopped):
            raise self._unavailable()
        ticket = Ticket(self, call, now + call.timeout, self._loop.create_future(), pin)
        if not self._scheduler.submit(ticket, now):
            raise Overloaded(
                f"{self.spec.endpoint!r} has {len(self._scheduler)} calls waiting, which is all that its "
                "queue takes; come back later.",
                retry_after=1.0,
            )
        if ticket.deadline < self._timer_at:
            self._arm(ticket.deadline)
        if pin is None and self._idle and not self._dispatching:
            # At the end of this turn of the loop: calls that arrived in the same turn go together,
            # and none waits for longer than that turn.
            self._dispatching = True
            self._loop.call_soon(self._dispatch)
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """The caller left."""
        self._scheduler.cancel(ticket)
        ticket.future.cancel()

    async def stream(self, call: Call) -> AsyncIterator[Answer]:
        """The answers to one call as they come. Raises its error."""
        ticket = self.submit(call._replace(stream=False))
        try:
            result = await ticket.future
        except asyncio.CancelledError:
            ticket.cancel()
            raise
        if isinstance(result, ModelyardError):
            raise result
        yield result

    def learn(self, signature: Signature) -> None:
        """The executor told the model's signature: the one that is checked from now on."""
        self.signature = signature
        self._outputs = {
            spec.name: (spec.datatype, signature.batch_shape(spec)) for spec in signature.outputs
        }

    def checked(self, result: Result) -> Result:
        """``result``, or the error of a model that answers other than its signature says."""
        return result if isinstance(result, ModelyardError) else checked_answer(self._outputs, result)

    # --- for the replicas

    def wake(self, replica: Replica) -> None:
        """Let a starting replica take the canary that is queued for it."""
        ticket = self._scheduler.pinned(replica)
        if ticket is not None:
            self._send(replica, [ticket])

    def replica_ready(self, replica: Replica) -> None:
        """The canary went through: traffic may come."""
        self._failing = False
        self.failure = None
        self._idle.append(replica)
        self._dispatch()

    def answered(self, replica: Replica, batch: Sequence[Ticket], results: Sequence[Result]) -> None:
        """A batch came back."""
        for ticket, result in zip(batch, results, strict=True):
            ticket.done = True
            if not ticket.future.done():
                ticket.future.set_result(result if ticket.pin is not None else self.checked(result))
        if replica.state == "ready":
            self._idle.append(replica)
            self._dispatch()

    def give_back(self, replica: Replica, batch: list[Ticket], ending: str, *, blame: bool) -> None:
        """The executor died under ``batch``: others compute it, but for what killed it twice."""
        with contextlib.suppress(ValueError):
            self._idle.remove(replica)
        self.metrics.restarts += not self._stopped
        retried = [ticket for ticket in batch if ticket.pin is None and not ticket.future.done()]
        if self._stopped:
            poison = []
            self._answer(retried, self._unavailable())
        else:
            poison = self._scheduler.give_back(retried, blame=blame)
        for ticket in batch:
            if ticket.pin is not None and not ticket.future.done():
                ticket.future.set_result(Internal(f"The model's process ended: {ending}."))
        for ticket in poison:
            ticket.done = True
            ticket.future.set_result(
                Internal(f"The model's process died while it computed this call alone: {ending}.")
            )
        self._dispatch()

    def replica_died(self, replica: Replica, report: str, *, fatal: bool, delay: float) -> None:
        """Keep the crash report; when no replica can serve, tell who waits."""
        self.failure = report
        self._retry_after = max(1.0, delay)
        if fatal and not self.ready:
            self._failing = True
            self._answer(self._scheduler.clear(), self._unavailable())

    @staticmethod
    def _answer(tickets: Iterable[Ticket], result: Result) -> None:
        """Give all of them the same result."""
        for ticket in tickets:
            ticket.done = True
            if not ticket.future.done():
                ticket.future.set_result(result)

    def _unavailable(self) -> ModelyardError:
        if self._stopped:
            return Unavailable("This deployment is being stopped; call again.", retry_after=1.0)
        reason = (self.failure or "").partition("\n")[0]
        return Unavailable(
            f"{self.spec.endpoint!r} cannot start: {reason} See: modelyard logs {self.spec.endpoint}",
            retry_after=self._retry_after,
        )

    # --- the queue's hands

    def _dispatch(self) -> None:
        """Give idle replicas what waits."""
        self._dispatching = False
        now = self._loop.time()
        while self._idle and len(self._scheduler):
            batch = self._scheduler.next_batch(now)
            if not batch:
                break
            replica = self._idle.popleft()
            if not self._send(replica, batch, now):
                self._idle.append(replica)
        if self.draining and self.busy == 0:
            self._emptied.set()

    def _send(self, replica: Replica, batch: list[Ticket], now: float | None = None) -> bool:
        """False when the batch was too large for the wire; its calls have been seen to."""
        now = self._loop.time() if now is None else now
        for ticket in batch:
            ticket.sent = now
            if ticket.pin is None:
                self.metrics.queue.observe(now - ticket.arrived)
        self.metrics.batch.observe(len(batch))
        try:
            replica.compute(batch)
        except WireError as error:
            # Alone it is told; together, each is tried alone.
            if len(batch) == 1:
                self._answer(batch, TooLarge(f"This call is too large to be computed: {error}."))
            for ticket in batch:
                ticket.ride = 1
            self._scheduler.give_back(batch, blame=False)
            return False
        return True

    def _arm(self, at: float) -> None:
        """Have :meth:`_tick` called at ``at``, or at an earlier time that it is armed for."""
        if at >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._tick)

    def _tick(self) -> None:
        """Answer every call whose time is over, waiting or computing; end what hangs."""
        now = self._loop.time()
        self._timer, self._timer_at = None, float("inf")
        late = self._scheduler.expire(now)
        following = self._scheduler.next_deadline
        for replica in self._replicas:
            late += [ticket for ticket in replica.batch if not ticket.done and ticket.deadline <= now]
            for ticket in late:
                ticket.done = True
            following = min(following, replica.expire(now))
        for ticket in late:
            if not ticket.future.done():
                waited = (
                    "the model was computing it" if ticket.sent else "it was waiting for a free replica"
                )
                ticket.future.set_result(
                    Deadline(f"The call's {ticket.call.timeout:g} s were over while {waited}.")
                )
        if following < float("inf"):
            self._arm(following)
        if self.draining and self.busy == 0:
            self._emptied.set()

    # --- for the node

    @property
    def busy(self) -> int:
        """Calls that wait or are being computed."""
        computing = sum(not ticket.done for replica in self._replicas for ticket in replica.batch)
        return len(self._scheduler) + computing

    def status(self) -> routes.PoolStatus:
        """What the control plane sees."""
        if self.draining:
            state = "draining"
        elif self.ready:
            state = "ready"
        else:
            state = "failing" if self._failing else "starting"
        return routes.PoolStatus(
            deployment=self.spec.deployment,
            endpoint=self.spec.endpoint,
            state=state,
            replicas=tuple(replica.status() for replica in self._replicas),
            signature=self.signature,
            failure=self.failure,
            queued=len(self._scheduler),
        )

    def gauge(self) -> PoolGauge:
        """What a scrape of the metrics sees."""
        replicas = [replica.status() for replica in self._replicas]
        return PoolGauge(
            self.spec.endpoint,
            self.spec.deployment,
            len(self._scheduler),
            sum(replica.state == "ready" for replica in replicas),
            sum(replica.memory or 0 for replica in replicas),
        )

    async def drain(self, limit: float) -> None:
        """Serve what is queued, up to ``limit`` seconds, then stop all replicas. No call comes any more."""
        self.draining = True
        started = time.monotonic()
        if self.busy and self.ready:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), limit)
        self._stopped = True
        self._answer(self._scheduler.clear(), self._unavailable())
        left = max(0.5, min(5.0, limit - (time.monotonic() - started)))
        await asyncio.gather(*(replica.stop(left) for replica in self._replicas))
        if self._timer is not None:
            self._timer.cancel()
        self.log.close()
