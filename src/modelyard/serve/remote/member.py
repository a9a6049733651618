"""One backend of a group: a remote with its breaker, its load and its health, or the local pool."""

import asyncio
import logging
import os
import random
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, contextmanager
from typing import Protocol

from modelyard.core.errors import Cancelled, Deadline, ModelyardError, Unavailable
from modelyard.core.routes import Remote, RemoteStatus
from modelyard.core.signature import Signature
from modelyard.policy.backoff import Backoff
from modelyard.policy.breaker import Breaker
from modelyard.policy.routing import Load
from modelyard.serve.answers import Expected, checked_answer
from modelyard.serve.call import Answer, Call, Result
from modelyard.serve.pool.pool import Pool
from modelyard.serve.remote.answers import Refused, Verdict, lying
from modelyard.serve.remote.exchange import Broken, Unreached
from modelyard.serve.remote.http import Address, Client, address_of
from modelyard.serve.remote.kind import Kind, Learned
from modelyard.serve.remote.openai import OpenAI
from modelyard.serve.remote.v2 import V2

log = logging.getLogger("modelyard.remote")

HEALTH_EVERY = 10.0  # seconds between two looks at a remote that answers
HEALTH_TIMEOUT = 3.0
LEARN_EVERY = 6  # looks; the metadata may change with a deployment there
SLOW = 1.0  # seconds; a caller may have less patience without the remote being at fault

KINDS: dict[str, Callable[[Client, str, str, dict[str, str]], Kind]] = {"v2": V2, "openai": OpenAI}


class Member(Protocol):
    """What a group chooses among."""

    name: str
    load: Load

    def share(self, now: float) -> float:
        """How much of it can take calls now: 0 none, 1 all of it."""
        ...

    def held(self, now: float) -> bool:
        """Whether it asked to be left alone for now."""
        ...

    async def call(self, call: Call) -> Result:
        """One call, by what is left of its time. Never raises a ModelyardError."""
        ...

    def stream(self, call: Call) -> AsyncGenerator[Answer, None]:
        """The pieces of one call's answer. Raises its error."""
        ...


class LocalMember:
    """The pool of this node that a route has beside its remotes."""

    def __init__(self, pool: Pool) -> None:
        self.name = "local"
        self.pool = pool
        self.load = Load()

    def share(self, now: float) -> float:
        """1 while a replica serves."""
        return 1.0 if self.pool.ready else 0.0

    def held(self, now: float) -> bool:
        """A full queue says so itself."""
        return False

    async def call(self, call: Call) -> Result:
        """Through the pool's queue."""
        started = time.monotonic()
        seconds: float | None = None
        self.load.sent()
        try:
            pending = self.pool.submit(call)
            try:
                result = await pending.future
            except asyncio.CancelledError:
                pending.cancel()
                raise
            if not isinstance(result, ModelyardError):
                seconds = time.monotonic() - started
            return result
        except ModelyardError as error:
            return error
        finally:
            self.load.ended(seconds)

    async def stream(self, call: Call) -> AsyncGenerator[Answer, None]:
        """Through the pool's queue."""
        self.load.sent()
        try:
            async with aclosing(self.pool.stream(call)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self.load.ended(None)


class RemoteMember:
    """One remote, whichever routes name it. Its health is looked at from :meth:`start` to :meth:`stop`."""

    grace = 0.0  # seconds that a remote may take to tell by itself that a call's time is over

    def __init__(
        self, remote: Remote, learned: Callable[["RemoteMember"], None], client: Client | None = None
    ) -> None:
        address = address_of(remote.url)
        self.remote = remote
        self.name = name_of(remote, address)
        self.load = Load()
        self.breaker = Breaker()
        self.learned: Learned | None = None
        self.failure = "it has not been asked yet"
        self.calls: dict[str, int] = {}  # outcome -> how many
        self._tell = learned
        self._ready: bool = False
        self._hold_until = 0.0
        self._answered = 0.0  # when it last did
        self._expected: Expected = {}
        self._client = client or Client(address)
        self._kind: Kind | None = None
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.Task[None] | None = None

    # --- for the group

    @property
    def signature(self) -> Signature | None:
        """What it told; None before it did, or when it does not tell."""
        return self.learned.signature if self.learned is not None else None

    def share(self, now: float) -> float:
        """1 when it is ready and its breaker lets a call through."""
        return 1.0 if self._ready and self.breaker.available(now) else 0.0

    def held(self, now: float) -> bool:
        """Whether its last Retry-After is not over yet."""
        return now < self._hold_until

    def status(self, endpoint: str, now: float) -> RemoteStatus:
        """What the control plane sees of it, as a remote of ``endpoint``."""
        state = "ready" if self._ready else "down"
        if self._ready and not self.breaker.available(now):
            state = "resting"
        calls = sum(self.calls.values())
        return RemoteStatus(
            endpoint=endpoint,
            url=self.remote.url,
            model=self.remote.model,
            state=state,
            failure=self.failure if state != "ready" else None,
            calls=calls,
            errors=calls - self.calls.get("ok", 0),
            latency=self.load.latency,
        )

    def wait(self, now: float) -> float:
        """Seconds after which it may be able to take a call."""
        return max(1.0, self.breaker.opens_in(now))

    async def call(self, call: Call) -> Result:
        """Over HTTP; the outcome feeds breaker and load."""
        try:
            with self._attempt(call) as (kind, call, deadline):
                return self._checked(await kind.infer(call, deadline))
        except ModelyardError as error:
            return error

    async def stream(self, call: Call) -> AsyncGenerator[Answer, None]:
        """The pieces of one call's answer. Raises its error."""
        with self._attempt(call) as (kind, call, deadline):
            async with aclosing(kind.stream(call, deadline)) as pieces:
                async for piece in pieces:
                    yield self._checked(piece)

    def _checked(self, answer: Answer) -> Answer:
        """Raises Refused for what is not by the remote's own signature."""
        result = checked_answer(self._expected, answer)
        if isinstance(result, ModelyardError):
            raise lying(self.name, result.message.rstrip("."))
        return result

    @contextmanager
    def _attempt(self, call: Call) -> Generator[tuple[Kind, Call, float], None, None]:
        """One attempt at ``call``: what to ask, what to ask it, and by when (the loop's time).

        Whatever is raised within becomes the ModelyardError to tell, a verdict for the breaker, a count.
        """
        started = time.monotonic()
        mark = self.breaker.admit(started)
        kind = self._kind
        if mark is None or kind is None:
            raise Unavailable(
                f"The remote {self.name} takes no calls now: {self.failure}.", retry_after=1.0
            )
        trace = call.options.trace
        if trace is not None:
            trace = trace.leave(self.name)
            call = call._replace(options=call.options._replace(trace=trace))
        verdict: Verdict = "unknown"
        seconds: float | None = None
        code = Cancelled.code
        self.load.sent()
        try:
            yield kind, call, self._loop.time() + call.timeout + self.grace
            code, verdict = "ok", "success"
            self._answered = time.monotonic()
            seconds = self._answered - started
        except Exception as raised:
            error, verdict = self._error(raised, call, time.monotonic() - started)
            if error is None:
                raise
            code = error.code
            if verdict == "failure":
                self.failure = error.message
            raise error from None
        finally:
            self.load.ended(seconds)
            self._judge(mark, verdict)
            self._count(code)
            if trace is not None:
                trace.end(code)

    def _error(self, raised: Exception, call: Call, took: float) -> tuple[ModelyardError | None, Verdict]:
        """What to tell of an attempt that ended so, and what to think of the remote; None: nothing of ours."""
        if isinstance(raised, Refused):
            error = raised.error
            if error.code == "overloaded" and error.retry_after:
                self._hold_until = time.monotonic() + error.retry_after
            return error, raised.verdict
        if isinstance(raised, TimeoutError):
            late = Deadline(f"The remote {self.name} did not answer within the call's {call.timeout:g} s.")
            return late, "failure" if took >= max(SLOW, 4 * self.load.per_call) else "unknown"
        if isinstance(raised, Unreached | Broken):
            gone = Unavailable(f"The remote {self.name} did not answer: {raised}.", retry_after=1.0)
            return gone, "failure"
        if isinstance(raised, ModelyardError):  # what cannot be said in a header
            return raised, "unknown"
        return None, "unknown"

    def _judge(self, mark: int, verdict: Verdict) -> None:
        now = time.monotonic()
        before = self.breaker.opened
        if verdict == "success":
            self.breaker.succeeded(mark, now)
        elif verdict == "failure":
            self.breaker.failed(mark, now)
        else:
            self.breaker.unknown(mark)
        if self.breaker.opened != before:
            log.warning(
                "a circuit breaker opened",
                extra={"remote": self.name, "seconds": round(self.breaker.opens_in(now), 3)},
            )

    def _count(self, code: str) -> None:
        self.calls[code] = self.calls.get(code, 0) + 1

    # --- health

    def start(self) -> None:
        """Look at its health from now on."""
        self._watch = asyncio.create_task(self._look_again_and_again(), name=f"health of {self.name}")

    def stop(self) -> None:
        """No call comes any more; those on their way end as they do."""
        if self._watch is not None:
            self._watch.cancel()
        self._client.retire()

    async def _look_again_and_again(self) -> None:
        # Jitter everywhere: many nodes start together, and all lose one remote together.
        backoff = Backoff(first=0.25, limit=HEALTH_EVERY, calm=0.0)
        looks = 0
        await asyncio.sleep(random.random() * 0.05)
        while True:
            now = time.monotonic()
            self._client.sweep(self._loop.time())
            if self._ready and looks % LEARN_EVERY and now - self._answered < HEALTH_EVERY:
                wait = HEALTH_EVERY  # the calls themselves say that it answers
            elif await self._look(whole=not self._ready or looks % LEARN_EVERY == 0):
                backoff.succeeded(now)
                wait = HEALTH_EVERY
            else:
                wait = backoff.failed(now)
            looks += 1
            await asyncio.sleep(wait * random.uniform(0.75, 1.25))

    async def _look(self, *, whole: bool) -> bool:
        deadline = self._loop.time() + HEALTH_TIMEOUT
        try:
            kind = self._kind or self._connected()
            if whole:
                self._learn(await kind.learn(deadline))
            else:
                await kind.check(deadline)
        except Refused as refused:
            # Busy, or not telling, is not down: only what says that it cannot answer is believed.
            return self._found(refused.error.message, ready=self._ready and refused.verdict != "failure")
        except TimeoutError:
            return self._found(f"its health was not told within {HEALTH_TIMEOUT:g} s", ready=False)
        except (Unreached, Broken) as error:
            return self._found(str(error), ready=False)
        except ModelyardError as error:
            return self._found(error.message, ready=False)
        return self._found("", ready=True)

    def _found(self, failure: str, *, ready: bool) -> bool:
        if ready != self._ready:
            log.info("a remote is ready" if ready else "a remote is not ready",
                     extra={"remote": self.name, "why": failure})  # fmt: skip
        self._ready = ready
        if failure:
            self.failure = failure
        return not failure

    def _connected(self) -> Kind:
        """Raises Unavailable while the key's variable is not set."""
        headers: dict[str, str] = {}
        variable = self.remote.key_variable
        if variable is not None:
            key = os.environ.get(variable, "")
            if not key:
                raise Unavailable(f"The variable {variable} is not set in the node's environment.")
            headers["authorization"] = f"Bearer {key}"
        self._kind = KINDS[self.remote.kind](self._client, self.remote.model, self.name, headers)
        return self._kind

    def _learn(self, learned: Learned) -> None:
        if learned == self.learned:
            return
        self.learned = learned
        signature = learned.signature
        self._expected = {} if signature is None else {
            spec.name: (spec.datatype, signature.batch_shape(spec)) for spec in signature.outputs
        }  # fmt: skip
        self._tell(self)


def name_of(remote: Remote, address: Address) -> str:
    """What logs and errors call it: address and model."""
    return f"{address.path or address.authority}/{remote.model}"
