"""One route with remotes: chooses a backend for each call, tries another where that can help, hedges."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from modelyard.core.errors import Internal, ModelyardError, Unavailable
from modelyard.core.routes import Route
from modelyard.core.signature import Signature
from modelyard.policy.retries import Latencies, RetryBudget, hedge_after, wait_before_retry
from modelyard.policy.routing import choose
from modelyard.serve.call import Answer, Call, Result
from modelyard.serve.observe.metrics import EndpointMetrics
from modelyard.serve.remote.member import LocalMember, Member, RemoteMember
from modelyard.serve.remote.said import MAX_HOPS


class OnItsWay:
    """A call that a group carries."""

    __slots__ = ("_task", "future")

    def __init__(self, task: "asyncio.Task[Result]") -> None:
        self._task = task
        self.future: asyncio.Future[Result] = task

    def cancel(self) -> None:
        """The caller left: the exchange is abandoned."""
        self._task.cancel()


class RemoteGroup:
    """The backends of one route: its remotes, and the local pool where it has a deployment too."""

    def __init__(
        self,
        route: Route,
        remotes: Sequence[RemoteMember],
        local: LocalMember | None,
        metrics: EndpointMetrics,
    ) -> None:
        self.route = route
        self._metrics = metrics
        self.remotes = tuple(remotes)
        self.local = local
        self.members: tuple[Member, ...] = (*remotes, *([local] if local is not None else []))
        self._weights = [*(remote.weight for remote in route.remotes), *([route.weight] if local else [])]
        self._budget = RetryBudget(route.retry.budget)
        self._latencies = Latencies()
        self._loop = asyncio.get_running_loop()
        self.retries = self.hedges = 0

    @property
    def ready(self) -> bool:
        """Whether one of the backends takes calls."""
        now = time.monotonic()
        return any(member.share(now) > 0 for member in self.members)

    @property
    def signature(self) -> Signature | None:
        """The route's own, else the pool's, else what the first remote told that tells."""
        if self.route.signature is not None:
            return self.route.signature
        if self.local is not None and self.local.pool.signature is not None:
            return self.local.pool.signature
        return next((member.signature for member in self.remotes if member.signature is not None), None)

    def submit(self, call: Call) -> OnItsWay:
        """Carry one call. Raises Internal for one that went in a circle, Unavailable with no backend."""
        self._check(call)
        return OnItsWay(self._loop.create_task(self._carry(call)))

    def _check(self, call: Call) -> None:
        if call.options.hops >= MAX_HOPS:
            raise Internal(
                f"This call has been through {call.options.hops} nodes: the routes lead in a circle."
            )
        if not self.ready:
            raise self.unavailable()

    async def stream(self, call: Call) -> AsyncGenerator[Answer, None]:
        """The pieces of one call's answer, of one backend; another is tried while none has come. Raises its
        error. Streams are not hedged."""
        self._check(call)
        started = time.monotonic()
        deadline = started + call.timeout
        self._budget.called(started)
        tried: set[int] = set()
        attempt = 1
        while (index := self._choose(tried)) is not None:
            tried.add(index)
            left = call._replace(timeout=max(deadline - time.monotonic(), 0.0))
            begun = False
            try:
                async with aclosing(self.members[index].stream(left)) as pieces:
                    async for piece in pieces:
                        begun = True
                        yield piece
                if self.members[index] is not self.local:
                    self._metrics.inferred += call.rows
                return
            except ModelyardError as error:
                if begun or not await self._again(error, attempt, tried, deadline):
                    raise
            attempt += 1
        raise self.unavailable()

    def unavailable(self) -> Unavailable:
        """What is told while no backend takes calls, with the reason of the first that has one."""
        now = time.monotonic()
        reasons = [f"{member.name}: {member.failure.rstrip('.')}" for member in self.remotes]
        if self.local is not None:
            reasons.append("the local replicas are not ready")
        return Unavailable(
            f"No backend of {self.route.endpoint!r} takes calls now ({'; '.join(reasons)[:500]}).",
            retry_after=min((member.wait(now) for member in self.remotes), default=1.0),
        )

    async def _carry(self, call: Call) -> Result:
        """All attempts at one call."""
        started = time.monotonic()
        deadline = started + call.timeout
        self._budget.called(started)
        tried: set[int] = set()
        attempt = 1
        while True:
            index = self._choose(tried)
            if index is None:
                return self.unavailable()
            tried.add(index)
            result = await self._attempt(call, index, tried, deadline)
            if not isinstance(result, ModelyardError):
                self._latencies.add(time.monotonic() - started)
                return result
            if not await self._again(result, attempt, tried, deadline):
                return result
            attempt += 1

    async def _again(self, error: ModelyardError, attempt: int, tried: set[int], deadline: float) -> bool:
        """Whether another attempt is made, once it is time for it: at a backend that was not ``tried``, or,
        where there is none, at any."""
        retry = self.route.retry
        now = time.monotonic()
        others = any(
            number not in tried and member.share(now) > 0 for number, member in enumerate(self.members)
        )
        wait = wait_before_retry(
            error.code,
            error.retry_after,
            attempt=attempt,
            attempts=retry.attempts,
            left=deadline - now,
            others=others,
        )
        if wait is None or not self._budget.take(now):
            return False
        if wait > 0:
            await asyncio.sleep(wait)
        if not others:
            tried.clear()
            if not self.ready:
                return False
        self.retries += 1
        return True

    def _choose(self, tried: set[int]) -> int | None:
        now = time.monotonic()
        weights = [
            0.0 if number in tried else weight * member.share(now)
            for number, (weight, member) in enumerate(zip(self._weights, self.members, strict=True))
        ]
        free = [
            0.0 if member.held(now) else weight
            for weight, member in zip(weights, self.members, strict=True)
        ]
        loads = [member.load for member in self.members]
        index = choose(free, loads, random.random)
        return index if index is not None else choose(weights, loads, random.random)

    async def _ask(self, index: int, call: Call) -> Result:
        member = self.members[index]
        result = await member.call(call)
        if member is not self.local and not isinstance(result, ModelyardError):
            self._metrics.inferred += call.rows  # the pool counts its own
        return result

    async def _attempt(self, call: Call, index: int, tried: set[int], deadline: float) -> Result:
        """One attempt, with a second backend asked too when the first takes long and the route hedges."""
        after = hedge_after(self.route.retry.hedge, self._latencies)
        first = self._ask(index, call._replace(timeout=max(deadline - time.monotonic(), 0.0)))
        if after is None or len(self.members) == 1:
            return await first
        racing = {asyncio.create_task(first)}
        try:
            done, _ = await asyncio.wait(racing, timeout=after)
            if not done and (other := self._choose(tried)) is not None:
                left = deadline - time.monotonic()
                if left > 0 and self._budget.take(time.monotonic()):
                    tried.add(other)
                    self.hedges += 1
                    racing.add(asyncio.create_task(self._ask(other, call._replace(timeout=left))))
            waiting = set(racing)
            while True:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                results = [task.result() for task in done]
                good = next((each for each in results if not isinstance(each, ModelyardError)), None)
                if good is not None or not waiting:
                    return good if good is not None else results[0]
        finally:
            for task in racing:
                task.cancel()
