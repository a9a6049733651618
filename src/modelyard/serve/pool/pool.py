"""The queue of one deployment and the replicas behind it: who computes what, and when."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

from modelyard.core import routes
from modelyard.core.errors import Internal, ModelyardError, TooLarge, Unavailable
from modelyard.core.signature import Signature
from modelyard.policy.latency import LatencyModel
from modelyard.policy.work import measure
from modelyard.serve.answers import checked_answer
from modelyard.serve.call import Answer, Call, Result
from modelyard.serve.observe.logs import ModelLog
from modelyard.serve.observe.metrics import EndpointMetrics
from modelyard.serve.pool.batch import Batch
from modelyard.serve.pool.bounds import Confine
from modelyard.serve.pool.dispatcher import Dispatcher
from modelyard.serve.pool.frames import Cost
from modelyard.serve.pool.learnt import Learnt
from modelyard.serve.pool.memory import Memory
from modelyard.serve.pool.queue import INFINITY, Queue, Ticket, late
from modelyard.serve.pool.replica import Replica
from modelyard.serve.pool.residence import Residence
from modelyard.serve.pool.seats import Seats

SHORT = 0.001  # seconds of computing below which a batch is learnt from every LEARN_EVERY seconds only
LEARN_EVERY = 0.002
UNBUILT = "Its environment is not on this machine; the control plane builds it again."


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
        self.unbuilt = False  # it fails for want of an environment, which is being built
        self._stopped = False
        self._retry_after = 1.0
        self.queue = Queue(spec)
        self.queue.on_tick = self._tick
        self._dispatcher = Dispatcher(self)
        self._scheduler = self.queue.scheduler
        self._learnt = learnt
        # What an executor has found in this node's time, and answered by.
        self.known: Signature | None = None
        self.models = learnt.models
        self._scheduler.tried, self._scheduler.ceiling = learnt.tried, learnt.ceiling
        self._scheduler.apart = learnt.apart is not None
        self._emptied: asyncio.Event | None = None  # while it drains
        self._outputs: dict[str, tuple[str, tuple[int, ...]]] = {}
        if spec.signature is not None:
            self._expect(spec.signature)
        if learnt.signature == spec.signature:
            learnt.signature = spec.signature  # one object of two
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
        self._dispatcher.soon()
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
        cost = measure(self._scheduler.shape, tickets)
        self._dispatcher.send(replica, tickets, cost, time.monotonic())
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
        self._count_workers()
        self._dispatcher.add(replica)

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
            self._dispatcher.free(replica)
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
            self._dispatcher.free(replica)

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
            self._dispatcher.free(replica)
            return
        for ticket in batch.tickets:
            ticket.replica = None
        self._scheduler.out_of_memory(batch.tickets)
        self._learnt.keep(self._scheduler, now=True)
        self._dispatcher.free(replica)

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
        self._dispatcher.dispatch()

    def replica_gone(self, replica: Replica) -> None:
        """It computes nothing any more."""
        self._dispatcher.remove(replica)
        self._count_workers()

    def replica_died(self, replica: Replica, report: str, *, fatal: bool, delay: float) -> None:
        """Keep the crash report; when no replica can serve, tell who waits."""
        self.failure = report
        self._retry_after = max(1.0, delay)
        if fatal and not self.serving:
            self.failing = True
            self.queue.clear(self._unavailable())
            self.look_whether_empty()

    def look_for_environment(self) -> bool:
        """Whether the interpreter of its executors is on this machine. While it is not, who waits is told."""
        there = Path(self.spec.executor.python).exists()
        if there is self.unbuilt:
            self.unbuilt = self.failing = not there
            self.failure = None if there else UNBUILT
            if not there:
                self._retry_after = 5.0
                self.queue.clear(self._unavailable())
                self.look_whether_empty()
        return there

    def look_whether_empty(self) -> None:
        """Say so to whoever drains it."""
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
        where = "endpoints" if self.unbuilt else "logs"
        return Unavailable(
            f"{self.spec.endpoint!r} cannot start: {reason} See: modelyard {where} {self.spec.endpoint}",
            retry_after=self._retry_after,
        )

    # --- the queue's clock

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
        self._dispatcher.dispatch()  # a batch may have waited for mates for as long as it may
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
        self._dispatcher.clear()
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
