"""The queue of one deployment and the replicas behind it: who computes what, and when."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

from modelyard.core import routes
from modelyard.core.errors import Internal, ModelyardError, TooLarge, Unavailable
from modelyard.core.signature import Signature
from modelyard.policy.latency import LatencyModel
from modelyard.policy.work import Measure, measure
from modelyard.serve.answers import checked_answer
from modelyard.serve.call import Answer, Call, Result
from modelyard.serve.observe.logs import ModelLog
from modelyard.serve.observe.metrics import EndpointMetrics
from modelyard.serve.pool.bounds import Confine
from modelyard.serve.pool.executor import ExecutorGone
from modelyard.serve.pool.frames import Cost
from modelyard.serve.pool.learnt import Learnt
from modelyard.serve.pool.memory import Memory
from modelyard.serve.pool.queue import INFINITY, Queue, Ticket, late
from modelyard.serve.pool.replica import Batch, Replica
from modelyard.serve.pool.residence import Residence
from modelyard.serve.pool.seats import Seats
from modelyard_executor.wire import WireError

AHEAD_FROM = 0.002  # seconds of computing from which the next batch is sent before the last one is done
SHORT = 0.001  # seconds of computing below which a batch is learnt from every LEARN_EVERY seconds only
LEARN_EVERY = 0.002
LEAD = 0.05  # of a batch's time: how much earlier the next one is sent, at least a millisecond
PLENTY = 2  # batches like the one that computes: where so much waits, the next one is sent at once


class Pool:
    """Queue and replicas of one deployment. All methods run on the event loop's thread."""

    def __init__(
        self,
        spec: routes.Pool,
        metrics: EndpointMetrics,
        log: ModelLog,
        folder: Path,
        learnt: Learnt,
        seats: Seats,
        memory: Memory,
        confine: Confine = "auto",
    ) -> None:
        self.spec = spec
        self.confine: Confine = confine
        self.log = log
        self.metrics = metrics
        self.signature = spec.signature
        self.failure: str | None = None
        self.draining = False
        self.seats = seats
        # Set by who traces.
        self.on_queued: Callable[[Call, Ticket], None] | None = None
        self.on_computed: Callable[[float, float], None] | None = None
        self.failing = False
        self._stopped = False
        self._retry_after = 1.0
        self._loop = asyncio.get_running_loop()
        self.queue = Queue(spec)
        self.queue.on_tick = self._tick
        self._scheduler = self.queue.scheduler
        self._learnt = learnt
        self.models = learnt.models
        self._scheduler.tried, self._scheduler.ceiling = learnt.tried, learnt.ceiling
        self._scheduler.apart = learnt.apart is not None
        self._idle: deque[Replica] = deque()
        self._dispatching = False
        self._choosing = 0.0  # seconds that it takes to choose a batch, lately
        self._emptied: asyncio.Event | None = None  # while it drains
        self._outputs: dict[str, tuple[str, tuple[int, ...]]] = {}
        if spec.signature is not None:
            self._expect(spec.signature)
        if learnt.signature is not None and learnt.cost is not None:
            # A sleeping model is called before its executor says this again.
            with contextlib.suppress(ValueError):
                self.learn(learnt.signature, learnt.cost)
        self._memory = memory
        self.forks = memory.forks
        self.residence = Residence(self, memory, learnt, folder, seats)

    # --- for the dataplane

    @property
    def ready(self) -> bool:
        """Whether a call made now would be computed: by a replica that serves, or by one that it wakes."""
        residence = self.residence
        return self.serving or (residence.loadable and not self.failing)

    @property
    def serving(self) -> bool:
        """Whether at least one replica is ready."""
        return any(replica.state == "ready" for replica in self.residence.replicas)

    def submit(self, call: Call) -> Ticket:
        """Queue one call; its ``future`` gets a Result.

        Raises Overloaded when it cannot be answered in time, Unavailable when the model keeps crashing or
        sleeps and cannot be loaded in time.
        """
        if self.failing or self._stopped:
            raise self._unavailable()
        self.residence.calls += 1
        if self.residence.state != "awake":
            self._wake_for(call)
        ticket = self.queue.submit(call)
        if self.on_queued is not None:
            self.on_queued(call, ticket)
        if self._idle and not self._dispatching:
            # At the end of this turn of the loop: calls that arrived in the same turn go together,
            # and none waits for longer than that turn.
            self._dispatching = True
            self._loop.call_soon(self._dispatch)
        return ticket

    def _wake_for(self, call: Call) -> None:
        """Have the model loaded, which is done also where ``call`` cannot wait for so long."""
        residence = self.residence
        residence.ask()
        if residence.proven and not self.draining:
            refused = self._memory.refusal(residence, call.timeout)
            if refused is not None:
                raise refused

    async def stream(self, call: Call) -> AsyncGenerator[Answer, None]:
        """The answers to one call as they come; at least one. Raises its error."""
        ticket = self.submit(call._replace(stream=True))
        pieces = ticket.pieces
        assert pieces is not None
        ticket.future.add_done_callback(lambda _: pieces.put_nowait(()))  # wakes whoever waits for more
        try:
            while not ticket.future.done() or not pieces.empty():
                piece = await pieces.get()
                if piece:
                    checked = self.checked(piece)
                    if isinstance(checked, ModelyardError):
                        raise checked
                    yield checked
            result = ticket.future.result()
            if isinstance(result, ModelyardError):
                raise result
            if result:
                yield result
        finally:
            if not ticket.done:
                ticket.cancel()

    def checked(self, result: Result) -> Result:
        """``result``, or the error of a model that answers other than its signature says."""
        return result if isinstance(result, ModelyardError) else checked_answer(self._outputs, result)

    # --- for the replicas

    def learn(self, signature: Signature, cost: Cost) -> None:
        """An executor told the model's signature and cost: those that hold from now on.

        Raises ValueError for a cost that cannot be followed.
        """
        self.queue.learn(signature, cost)
        self._expect(signature)
        self._learnt.signature, self._learnt.cost = signature, cost

    def _expect(self, signature: Signature) -> None:
        self.signature = signature
        self._outputs = {
            spec.name: (spec.datatype, signature.batch_shape(spec)) for spec in signature.outputs
        }

    def try_out(self, replica: Replica, calls: Sequence[Call]) -> "list[asyncio.Future[Result]]":
        """Have ``replica`` compute calls of our own, together, before it takes any other."""
        tickets = [self.queue.trial(call) for call in calls]
        self._send(replica, tickets, measure(self._scheduler.shape, tickets), time.monotonic())
        return [ticket.future for ticket in tickets]

    @property
    def compared(self) -> bool:
        """Whether it is known if calls are answered together as they are alone."""
        return self._learnt.compared

    @property
    def apart(self) -> str | None:
        """Why calls are computed one at a time; None when they may be computed together."""
        return self._learnt.apart

    def keep_apart(self, why: str | None) -> None:
        """Compute calls one at a time from now on, for this reason; or, with None, together."""
        self._learnt.apart, self._learnt.compared = why, True
        self._scheduler.apart = why is not None
        self.keep_learnt()

    def replica_ready(self, replica: Replica, seconds: float) -> None:
        """The canary went through, ``seconds`` after the replica's process was started: traffic may come."""
        self.failing = False
        self.failure = None
        self.metrics.loaded(seconds, cold=len(self._scheduler) > 0)
        model = self.model_of(replica)
        for other in self.models.values():
            if other.sure and not model.known:
                model.like(other)
        self._idle.append(replica)
        self._count_workers()
        self._dispatch()

    def model_of(self, replica: Replica) -> LatencyModel:
        """The law of the device that ``replica`` computes on."""
        model = self.models.get(replica.seat.device)
        if model is None:
            model = self.models[replica.seat.device] = LatencyModel()
        return model

    def answered(
        self, replica: Replica, batch: Batch, results: list[Result], now: float, computed: float
    ) -> None:
        """A batch came back at ``now``; the executor says that it ``computed`` for so many seconds."""
        # It computes the next batch while this one is answered; where little is known, that waits for what
        # this one tells.
        sure = self.model_of(replica).sure
        if sure:
            self._free(replica)
        # Calls that were cancelled or refused may not have been computed: such a batch proves no speed.
        part = False
        rows = inferred = 0
        for ticket, result in zip(batch.tickets, results, strict=True):
            ticket.replica = None
            part = part or ticket.done or isinstance(result, ModelyardError)
            if not ticket.trial:
                result = self.checked(result)
            if not ticket.done:
                ticket.answer(result)
            rows += ticket.call.rows
            if not isinstance(result, ModelyardError):
                inferred += ticket.call.rows
        if self.on_computed is not None:
            self.on_computed(batch.tickets[0].sent, computed)
        if not batch.tickets[0].trial:
            self.metrics.executed(rows, inferred, computed)
            self._learn_from(replica, batch, now, max((batch.ended or now) - batch.began, computed), part)
        if not sure:
            self._free(replica)

    def _learn_from(self, replica: Replica, batch: Batch, now: float, seconds: float, part: bool) -> None:
        cost, model = batch.cost, self.model_of(replica)
        predicted = model.predict(cost.padded, cost.squares) if model.known else None
        self.metrics.batch_done(
            len(batch.tickets), cost.useful, cost.padded, seconds, predicted, replica.id
        )
        if batch.tickets[0].pieces is not None or (part and (predicted is None or seconds < predicted)):
            return
        scheduler = self._scheduler
        scheduler.computed(cost.padded)
        if seconds < SHORT and model.sure and now - replica.learnt < LEARN_EVERY:
            return  # thousands of them a second: a part tells as much
        replica.learnt = now
        model.observe(cost.padded, cost.squares, cost.useful, seconds)
        if len(self.models) == 1:
            scheduler.speed = model.speed * scheduler.workers
        else:
            self._count_workers()
        self._learnt.keep(scheduler)

    def out_of_memory(self, replica: Replica, batch: Batch) -> None:
        """A batch did not fit into memory: smaller ones from now on, and its calls wait again."""
        if batch.tickets[0].trial:
            alone = len(batch.tickets) == 1
            self.queue.answer(
                batch.tickets,
                Internal("It has not got the memory for a single call.")
                if alone
                else TooLarge("It has not got the memory for these calls together."),
            )
            self._free(replica)
            return
        for ticket in batch.tickets:
            ticket.replica = None
        self._scheduler.out_of_memory(batch.tickets)
        self._learnt.keep(self._scheduler, now=True)
        self._free(replica)

    def _free(self, replica: Replica) -> None:
        if replica.state != "ready":
            return
        if replica.batches:
            self._plan_ahead(replica, replica.batches[0])
        else:
            self._idle.append(replica)
            self._scheduler.busy_until = 0.0
            self._dispatch()

    def give_back(
        self, replica: Replica, lost: list[Ticket], ahead: list[Ticket], ending: str, *, blame: bool
    ) -> None:
        """The executor died under ``lost``, with ``ahead`` sent and not begun: others compute them, but for
        what killed it twice."""
        self.replica_gone(replica)
        self.metrics.restarts += replica.state != "stopping"
        for ticket in (*lost, *ahead):
            ticket.replica = None
            if ticket.trial:
                ticket.answer(Unavailable(f"The model's process ended: {ending}."))
            elif ticket.begun:
                # A part of the answer is with the caller: it cannot begin again.
                ticket.answer(
                    Internal(f"The model's process ended in the middle of this answer: {ending}.")
                )
        if self._stopped:
            self.queue.answer(
                [ticket for ticket in (*lost, *ahead) if not ticket.done], self._unavailable()
            )
        else:
            self._scheduler.put_back(ahead)
            poison = self._scheduler.give_back(lost, blame=blame)
            for ticket in poison:
                ticket.answer(
                    Internal(f"The model's process died while it computed this call alone: {ending}.")
                )
        self._dispatch()

    def replica_gone(self, replica: Replica) -> None:
        """It computes nothing any more."""
        with contextlib.suppress(ValueError):
            self._idle.remove(replica)
        self._count_workers()

    def replica_died(self, replica: Replica, report: str, *, fatal: bool, delay: float) -> None:
        """Keep the crash report; when no replica can serve, tell who waits."""
        self.failure = report
        self._retry_after = max(1.0, delay)
        if fatal and not self.serving:
            self.failing = True
            self.queue.clear(self._unavailable())
            self._look_whether_empty()

    def _look_whether_empty(self) -> None:
        if self._emptied is not None and self.busy == 0:
            self._emptied.set()

    def _count_workers(self) -> None:
        """Who computes, and how fast they are together."""
        ready = [replica for replica in self.residence.replicas if replica.state == "ready"]
        self._scheduler.workers = max(1, len(ready))
        self._scheduler.devices = devices = [self.model_of(replica) for replica in ready]
        self._scheduler.speed = sum(device.speed for device in devices)

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
        idle, scheduler = self._idle, self._scheduler
        if idle and len(scheduler):
            now = time.monotonic()
            while idle and len(scheduler):
                replica = idle[0]
                batch = self.queue.next_batch(now, self.model_of(replica), bulk=self._takes_bulk(replica))
                if not batch:
                    break
                idle.popleft()
                if not self._send(replica, batch, scheduler.cost, now) and replica.state == "ready":
                    idle.append(replica)
        if self._emptied is not None:
            self._look_whether_empty()

    def _takes_bulk(self, replica: Replica) -> bool:
        """Whether, with a batch of bulk work here, some replica is left that has none: or there is but this one."""
        if not self._scheduler.bulk:
            return True
        others = [each for each in self.residence.replicas if each is not replica and each.state == "ready"]
        return not others or not all(each.bulk for each in others)

    def _send(self, replica: Replica, batch: list[Ticket], cost: Measure, now: float) -> bool:
        """False when the batch could not be sent; its calls have been seen to."""
        try:
            replica.compute(batch, cost, now)
        except WireError as error:
            # Alone it is told; together, each is tried alone.
            if len(batch) == 1 or batch[0].trial:
                self.queue.answer(batch, TooLarge(f"This call is too large to be computed: {error}."))
            for ticket in batch:
                ticket.ride = 1
            self._scheduler.put_back(batch)
            return False
        except ExecutorGone:
            if batch[0].trial:
                self.queue.answer(batch, Unavailable("The model's process ended before its first answer."))
            self._scheduler.put_back(batch)  # others compute them
            return False
        if not batch[0].trial:
            waits = self.metrics.queue
            for ticket in batch:
                ticket.sent = now
                ticket.replica = replica
                waits.observe(now - ticket.arrived)
            self.metrics.batch.observe(len(batch))
        if replica.depth > 1 and replica.state == "ready" and len(replica.batches) == 1:
            self._plan_ahead(replica, replica.batches[0])
        return True

    def _plan_ahead(self, replica: Replica, batch: Batch) -> None:
        """Have the next batch at the executor when this one is done, and no earlier than that needs.

        Where many wait, what comes meanwhile would hardly change it, and reading that and answering them may
        take the loop longer than the batch computes: then it is chosen before.
        """
        model = self.model_of(replica)
        if not model.sure or batch.tickets[0].pieces is not None:
            return  # how long a stream takes, no law says
        seconds = model.predict(batch.cost.padded, batch.cost.squares)
        if seconds >= AHEAD_FROM:
            if len(self._scheduler) >= PLENTY * len(batch.tickets):
                self._loop.call_soon(self._send_ahead, replica, batch)
                return
            lead = max(0.001, LEAD * seconds, 2 * self._choosing)
            left = (
                batch.began + seconds - time.monotonic()
            )  # it may have begun before the last was answered
            self._loop.call_later(max(0.0, left - lead), self._send_ahead, replica, batch)

    def _send_ahead(self, replica: Replica, current: Batch) -> None:
        if replica.state != "ready" or len(replica.batches) != 1 or replica.batches[0] is not current:
            return
        if not len(self._scheduler) or self._idle:
            return
        now = time.monotonic()
        batch = self.queue.next_batch(now, self.model_of(replica), bulk=self._takes_bulk(replica))
        if batch:
            self._choosing += 0.2 * (time.monotonic() - now - self._choosing)
            self._send(replica, batch, self._scheduler.cost, now)

    def _tick(self, now: float) -> float:
        """Tell the callers whose time is over while their call computes; end what hangs."""
        following = INFINITY
        for replica in self.residence.replicas:
            for batch in replica.batches:
                for ticket in batch.tickets:
                    if ticket.done:
                        continue
                    if ticket.deadline <= now:
                        ticket.answer(late(ticket, "the model was computing it"))
                        replica.forget(ticket)
                    else:
                        following = min(following, ticket.deadline)
            following = min(following, replica.expire(now))
        if len(self._scheduler) and self._idle:
            self._dispatch()  # a batch has waited for mates for as long as it may
        if self._emptied is not None:
            self._look_whether_empty()
        return following

    # --- for the node

    @property
    def busy(self) -> int:
        """Calls that wait or are being computed."""
        return len(self._scheduler) + sum(
            not ticket.done
            for replica in self.residence.replicas
            for batch in replica.batches
            for ticket in batch.tickets
        )

    @property
    def work(self) -> float:
        """Seconds until what waits now would be computed, by what is known; 0 while nothing is."""
        return self._scheduler.seconds(self._scheduler.units) if self._scheduler.speed else 0.0

    def turn_away(self) -> None:
        """It cannot be loaded: tell who waits."""
        if self.residence.crowded is not None:
            self.queue.clear(Unavailable(self.residence.crowded))

    def keep_learnt(self) -> None:
        """Write what is known of the model, beside the loop."""
        self._learnt.keep(self._scheduler, now=True)

    def rest(self) -> None:
        """Its replicas are stopping: no batch goes to them any more."""
        self._idle.clear()
        self._count_workers()

    async def drain(self, limit: float) -> None:
        """Serve what is queued, up to ``limit`` seconds, then stop all replicas. No call comes any more."""
        self.draining = True
        emptied = self._emptied = asyncio.Event()
        started = time.monotonic()
        if self.busy and (self.serving or self.ready):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit):
                    await emptied.wait()
        self._stopped = True
        self.queue.clear(self._unavailable())
        grace = max(0.5, min(5.0, limit - (time.monotonic() - started)))
        await self.residence.end(grace)
        self.queue.close()
        self._learnt.save(self._scheduler)
        self.log.close()
