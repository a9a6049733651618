"""One supervised replica: start, canary, serve, die, back off, start again, until it is stopped."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from modelyard.core.routes import Confinement, ReplicaStatus
from modelyard.host.process import descendants, resident_bytes
from modelyard.policy.backoff import Backoff
from modelyard.policy.placement import Seat
from modelyard.policy.work import BULK, Measure
from modelyard.serve.call import Answer, Result
from modelyard.serve.pool.batch import Batch
from modelyard.serve.pool.bounds import UNHELD, bounds_of
from modelyard.serve.pool.channel import Events
from modelyard.serve.pool.executor import ExecutorProcess
from modelyard.serve.pool.forks import made
from modelyard.serve.pool.frames import BatchResult, Failed, Hello
from modelyard.serve.pool.limits import Limits
from modelyard.serve.pool.proof import OUT_OF_MEMORY, NotProven, Proof

if TYPE_CHECKING:
    from modelyard.serve.pool.pool import Pool
    from modelyard.serve.pool.queue import Ticket

log = logging.getLogger("modelyard.replica")

State = Literal["starting", "ready", "backing_off", "stopping"]
RESTART = 0.05  # seconds between the end of an executor that served and the next start
ROOM = 1.0  # seconds between two looks whether there is room for a model that could not be loaded
HANG_GRACE = 5.0  # seconds that a batch may outlive the last of its callers


class Replica:
    """Keeps one executor of ``pool`` alive. All methods run on the event loop's thread."""

    def __init__(self, pool: "Pool", number: int, folder: Path, seat: Seat) -> None:
        self.id = f"{pool.spec.deployment}-{number}"
        self.state: State = "starting"
        self.batches: deque[Batch] = deque()  # in flight, in the order in which they are answered
        self.depth = 1  # batches that may be in flight
        self.seat = seat
        self.restarts = 0
        self.learnt = 0.0  # when a batch was last learnt from
        self._pool = pool
        self._folder = folder
        self._since = time.time()
        self._backoff = Backoff(first=0.1, limit=30.0)
        self._executor: ExecutorProcess | None = None
        self._limits: Limits | None = None
        self._failed: Failed | None = None
        self.device_bytes: int | None = None  # what its framework says that loading took of the device
        # What it will take of the machine by its own word, and once it has computed for how long; how long it has.
        self._later_bytes, self._later_after, self._computed_for = 0, 0.0, 0.0
        self._hung = False
        self._grew: str | None = None  # why it was ended that took too much memory
        self._gave_way = False  # it was tried in vain before, and others needed the memory
        self._made: tuple[
            int, ...
        ] = ()  # which of the environments that were built there it was started in
        self._served = False  # this process answered its canary
        self._proving: asyncio.Task[None] | None = None
        self._died = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task = asyncio.create_task(self._supervise(), name=f"replica {self.id}")
        self._task.add_done_callback(_tell)

    @property
    def pid(self) -> int | None:
        """Its process; None while there is none."""
        return self._executor.pid if self._executor is not None and self.state != "backing_off" else None

    def offspring(self) -> list[int]:
        """What its process has started; read from files."""
        pid, limits = self.pid, self._limits
        if pid is None or limits is None:
            return []
        if limits.grouped:
            return [each for each in limits.members if each != pid]
        return descendants(pid)

    @property
    def answered(self) -> bool:
        """Whether its process has answered its first prediction."""
        return self._served

    @property
    def growth(self) -> int:
        """Bytes of the machine that it takes, or soon will, beside what loading took: counted before it takes them,
        from half of the time on that it said it needs."""
        return self._later_bytes if self._computed_for >= self._later_after / 2 else 0

    def status(self) -> ReplicaStatus:
        """What the control plane sees."""
        pid = self.pid
        return ReplicaStatus(
            id=self.id,
            state=self.state,
            pid=pid,
            since=self._since,
            restarts=self.restarts,
            memory=resident_bytes(pid) if pid is not None else None,
            device=self.seat.device,
            device_memory=self._pool.residence.size.on_device(self.id),
            confinement=self._confinement(),
        )

    def _confinement(self) -> Confinement | None:
        """What holds its process, once that has said so."""
        hello = self._executor.channel.hello if self._executor is not None else None
        if hello is None or self._limits is None or self.pid is None:
            return None
        known = {name: how for name, how in hello.held.items() if name in Confinement.__struct_fields__}
        if self._pool.spec.leave.network and self._pool.confine != "off":
            known["network"] = "open"
        return Confinement(**(known | self._limits.held))

    async def _supervise(self) -> None:
        while not self._stopping.is_set():
            if not self._pool.look_for_environment():
                self._set_state("backing_off")
                await self._pause(ROOM)
                continue
            if self._pool.failing and not self._pool.residence.has_room_to_try():
                await self._pause(ROOM)
                continue
            ending = await self._live_once()
            if self._stopping.is_set():
                return
            if self._gave_way:
                self._set_state("backing_off")
                await self._pause(ROOM)
                continue
            self.restarts += 1
            if not self._served:
                if self._failed is not None and self._failed.code == OUT_OF_MEMORY:
                    if self._pool.residence.ran_out(self):
                        return  # it is loaded again when there is more room
                else:
                    self._pool.seats.failed(self.seat)
                self.seat = self._pool.residence.seat_again(self.seat)
            report = self._report(ending)
            # One that served is started again at once: its callers wait, and what killed it is told
            # apart call by call. One that never served is waited for longer and longer.
            delay = RESTART if self._served else self._backoff.failed(time.monotonic())
            self._set_state("backing_off")
            log.error(
                "an executor died",
                extra={"replica": self.id, "endpoint": self._pool.spec.endpoint, "ending": ending,
                       "restart_in": delay, "failures": self._backoff.failures},
            )  # fmt: skip
            self._pool.log.note(
                self.id, f"modelyard: the executor died: {ending}; next start in {delay:g} s"
            )
            # A model that says why it cannot load will say so again; a mere death may be chance.
            fatal = not self._served and (self._failed is not None or self._backoff.failures >= 2)
            self._pool.replica_died(self, report, fatal=fatal, delay=delay)
            await self._pause(delay)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _live_once(self) -> str:
        """One process from start to end; returns how it ended."""
        self._set_state("starting")
        self._failed, self._served, self._hung, self._grew = None, False, False, None
        self._later_bytes = 0
        self._gave_way = False
        self._made = made(self._pool.spec.executor.python)
        self._died.clear()
        ending = ""

        def on_exit(sentence: str) -> None:
            nonlocal ending
            ending = sentence
            self._died.set()

        spec = self._pool.spec
        lacks = self._pool.seats.lacks(spec.resources)
        if lacks is not None:
            self._failed = Failed("resources", lacks, lacks)
            return lacks
        if spec.executor.sandboxed and self._pool.confine == "off":
            self._pool.log.note(self.id, UNHELD)
        limits = Limits(self.id, spec.resources.memory)
        self._limits = limits
        self._executor = ExecutorProcess(
            spec.executor,
            threads=self.seat.threads,
            device=self.seat.device,
            cores=self.seat.cores,
            limits=limits,
            bounds=bounds_of(spec.executor, spec.leave, self._folder, self._pool.confine),
            folder=self._folder,
            forks=self._pool.forks,
            known=self._pool.known,
            events=Events(
                hello=self._hello,
                failed=self._on_failed,
                result=self._result,
                stream=self._stream,
                progress=self._progress,
                computed=self._computed,
                gone=self._gone,
            ),
            on_exit=on_exit,
            on_output=lambda text: self._pool.log.write(self.id, text),
        )
        try:
            await self._executor.start()
        except OSError as error:
            limits.close()
            return f"it could not be started: {error}"
        if self._pool.failing:
            self._pool.residence.tries_again()
        if self._stopping.is_set():  # while it was started
            self._executor.kill()
        await self._died.wait()
        ending = self._grew or ending
        if self.state == "ready":
            self._set_state("backing_off")
        lost: list[Ticket] = []
        others: list[Ticket] = []
        for batch in self.batches:
            # It died of what it computed: not of what is computed, nor of what had not begun.
            (others if lost or batch.ended is not None else lost).extend(batch.tickets)
        self.batches.clear()
        self.depth = 1
        blame = "SIGKILL" not in ending or self._hung
        self._pool.give_back(self, lost, others, ending, blame=blame)
        if self._failed is not None:
            return f"loading failed: {self._why(self._failed)}"
        return "a call outlived its deadline and it was killed" if self._hung else ending

    def _why(self, failed: Failed) -> str:
        if failed.code != OUT_OF_MEMORY or not self._pool.residence.counted_on(self.seat.device):
            return failed.message
        return (
            f"{self.seat.device} has not got the memory that it needs, with all models asleep there that may be: "
            f"{failed.message.rstrip('.')}; deploy it with --device cpu, or where the device has more memory"
        )

    def _report(self, ending: str) -> str:
        """The crash report: what happened, and the model's own words."""
        said = self._failed.traceback if self._failed is not None else ""
        lines = self._pool.log.last_lines(self.id)
        if not said and lines:
            said = "\n".join(lines[-40:])
        return f"The model's process ended: {ending}." + (f"\n{said.rstrip()}" if said else "")

    def _hello(self, hello: Hello) -> None:
        """Loaded: now it has to prove itself."""
        try:
            self._pool.learn(hello.signature, hello.cost)
        except ValueError as error:
            self._not_ready(f"its cost cannot be followed: {error}")
            return
        self.depth = hello.depth
        told = hello.resources.get("device_bytes")
        self.device_bytes = told if isinstance(told, int) and told > 0 else None
        later, after = (hello.resources.get(name) for name in ("later_bytes", "later_after"))
        self._later_bytes = max(0, later) if isinstance(later, int) else 0
        self._later_after = after if isinstance(after, float) else 0.0
        self._computed_for = 0.0
        self._proving = asyncio.create_task(self._prove(hello), name=f"prove {self.id}")
        self._proving.add_done_callback(_tell)

    async def _prove(self, hello: Hello) -> None:
        proof = Proof(self._pool, self, hello)
        try:
            await proof.canary()
        except NotProven as error:
            if not self._stopping.is_set():
                self._not_ready(error.why, error.code)
            return
        if self._stopping.is_set():
            return
        self._served = True
        self._pool.known = hello.signature
        self._pool.seats.ready(self.seat)
        self._backoff.succeeded(time.monotonic())
        if proof.is_to_be_compared:
            await proof.compare()
            if not self.starts:
                return
        self._pool.residence.answered(self, time.time() - self._since)

    @property
    def starts(self) -> bool:
        """Whether its process is there and does not serve yet."""
        return self.state == "starting" and not self._stopping.is_set()

    def serve(self, seconds: float) -> None:
        """Take traffic: the canary went through, ``seconds`` after the process was started."""
        if self._stopping.is_set() or not self._served or self.state != "starting":
            return  # it ended meanwhile
        self._set_state("ready")
        log.info("a replica is ready", extra={"replica": self.id, "endpoint": self._pool.spec.endpoint})
        self._pool.replica_ready(self, seconds)

    def _not_ready(self, why: str, code: str = "canary") -> None:
        self._failed = Failed(code, why, "\n".join([why, *self._pool.log.last_lines(self.id)[-40:]]))
        self.kill()

    def _gone(self) -> None:
        """The process takes nothing any more: no batch goes there while its end is not read yet."""
        if self.state == "ready":
            self._set_state("backing_off")
            self._pool.replica_gone(self)

    def _on_failed(self, failed: Failed) -> None:
        self._failed = failed

    def compute(self, tickets: "list[Ticket]", cost: Measure, now: float) -> None:
        """Send a batch; its results come to the pool.

        Raises WireError when it is too large to be sent, ExecutorGone when the process has just ended.
        """
        assert self._executor is not None and len(self.batches) < self.depth
        number = self._executor.channel.send_batch([ticket.call for ticket in tickets])
        self.batches.append(Batch(number, tickets, cost, now))

    def _result(self, message: BatchResult, results: list[Result]) -> None:
        batch = self.batches.popleft()
        now = time.monotonic()
        if self.batches and batch.ended is None:
            self.batches[0].began = now
        before = self.growth
        self._computed_for += message.compute_us * 1e-6
        if self.growth > before:
            self._pool.residence.about_to_grow()
        if message.out_of_memory:
            self._pool.out_of_memory(self, batch)
        else:
            self._pool.answered(self, batch, results, now, message.compute_us * 1e-6)

    def _computed(self) -> None:
        """The first batch is computed; its result is packed while the next one computes."""
        self.batches[0].ended = self.batches[1].began = time.monotonic()

    def _stream(self, number: int, index: int, answer: Answer) -> None:
        for batch in self.batches:
            if batch.number == number:
                batch.tickets[index].piece(answer)

    def _progress(self, number: int, fraction: float | None, message: str) -> None:
        for batch in self.batches:
            if batch.number == number:
                for ticket in batch.tickets:
                    ticket.progressed(fraction, message)

    @property
    def bulk(self) -> bool:
        """Whether it computes work that nobody waits for."""
        return any(ticket.level == BULK for batch in self.batches for ticket in batch.tickets)

    def forget(self, ticket: "Ticket") -> None:
        """Nobody waits for ``ticket`` any more: the executor need not compute it."""
        if self._executor is None:
            return
        for batch in self.batches:
            if ticket in batch.tickets:
                self._executor.channel.cancel(batch.number, [batch.tickets.index(ticket)])

    def expire(self, now: float) -> float:
        """Kill an executor that hangs; return when to look again.

        It hangs when every caller of the batch that it computes has been answered (by a deadline) for
        HANG_GRACE.
        """
        if not self.batches or self._hung:
            return float("inf")
        last = max(ticket.deadline for ticket in self.batches[0].tickets) + HANG_GRACE
        if now >= last:
            self._hung = True
            self.kill()
            return float("inf")
        return last

    def kill(self) -> None:
        """End the process now; the supervisor notices and starts another."""
        if self._executor is not None:
            self._executor.kill()

    def renew(self) -> None:
        """End the process when its environment was removed and built again: what it has not read of the former one yet
        is gone, and the calls that need it would fail for ever."""
        now = made(self._pool.spec.executor.python)
        if self.state == "ready" and now and now != self._made:
            self._made = now
            log.warning("an executor's environment was built again", extra={"replica": self.id})
            self._pool.log.note(
                self.id, "modelyard: its environment was built again, and so its process is"
            )
            self.kill()

    def end_grown(self, why: str) -> None:
        """End the process, which takes too much: whatever it computes may be the cause."""
        self._grew = why
        self.kill()

    def give_way(self) -> None:
        """End the process, which tries again what could not be loaded before: others need the memory."""
        if not self._gave_way:
            self._gave_way = True
            self._pool.log.note(self.id, "modelyard: its next start is put off, for others need the memory")
            self.kill()

    def retire(self) -> None:
        """Take nothing more."""
        self._stopping.set()
        self._set_state("stopping")

    async def stop(self, grace: float | None) -> None:
        """Let the process finish what it computes, within ``grace`` seconds (None: as long as its callers
        wait), then end it; for good."""
        self.retire()
        executor = self._executor
        if executor is not None and executor.pid is not None:
            executor.channel.drain()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(executor.closed(), grace)
            executor.kill()
            await executor.closed()
        await self._task
        self._pool.log.forget(self.id)

    def _set_state(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self._since = time.time()


def _tell(task: "asyncio.Task[None]") -> None:
    """A task that ends by an error of ours must not end in silence."""
    if not task.cancelled() and task.exception() is not None:
        log.error("a replica is not looked after any more", exc_info=task.exception())
