"""The cache of one deployment, between the dataplane and the backend: it is submitted to like a backend.

key ──► kept here? ──► being computed? ──► kept in Redis? ──► computed, kept here and there
         hit            wait for it         hit                miss
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from modelyard.core.errors import ModelyardError
from modelyard.core.routes import Pool, Route
from modelyard.policy.lru import Lru
from modelyard.serve.cache.answers import Hit, Miss, Stale, owned, size_of
from modelyard.serve.cache.flight import Flight, SingleFlight, Submit
from modelyard.serve.cache.key import Keys, identity_of
from modelyard.serve.cache.second import Found, SecondLevel
from modelyard.serve.call import Answer, Call, Result
from modelyard.serve.observe.metrics import EndpointMetrics

if TYPE_CHECKING:
    from modelyard.serve.served import Pending, Served


class Kept:
    """A call that needed no computing: a Pending that has arrived."""

    __slots__ = ("future",)

    def __init__(self, answer: Answer) -> None:
        self.future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.future.set_result(answer)

    def cancel(self) -> None:
        """The caller left; nothing is under way."""


class EndpointCache:
    """Answers of one deployment: at most ``budget`` bytes in memory, each fresh for ``ttl`` seconds."""

    def __init__(
        self,
        identity: bytes,
        budget: int,
        ttl: float,
        metrics: EndpointMetrics,
        second: SecondLevel | None = None,
        *,
        elsewhere: bool = False,
    ) -> None:
        self._keys = Keys(identity)
        self._kept: Lru[bytes, Hit] = Lru(budget, ttl)
        self._flights = SingleFlight()
        self._counts = metrics.cache
        self._second = second
        self._ttl = ttl
        self._retired = False
        self._elsewhere = elsewhere  # some of it is computed by remotes
        self._loop = asyncio.get_running_loop()

    def submit(self, served: "Served", call: Call, *, ask: bool = True) -> "Pending":
        """The answer to ``call``: kept, on its way to somebody else already, or from the backend of ``served``.

        ``ask`` False: Redis was asked already (:meth:`ahead`). Raises what the backend raises at once; such
        an error may also come as the result.
        """
        key = self._key(served, call)
        kept = self._kept.get(key, self._loop.time())
        if kept is not None:
            self._counts.hits += 1
            return Kept(kept)
        return self._fly(key, call, served.backend.submit, ask=ask)

    def _key(self, served: "Served", call: Call) -> bytes:
        # What is elsewhere may become another version while the route stays as it is.
        version = b"%d:%b" % (served.version, served.digest.encode()) if self._elsewhere else b""
        return self._keys.of(call, served.signature, version)

    def _fly(self, key: bytes, call: Call, backend: Submit, *, ask: bool) -> "Pending":
        # Calls of another priority are flights of their own: none waits behind what is less urgent.
        name = key if not call.options.priority else b"%b%d" % (key, call.options.priority)
        waiter = self._flights.join(name, call)
        if waiter is not None:
            self._counts.coalesced += 1
            return waiter

        def landed(answer: Answer) -> Answer:
            self._counts.misses += 1
            self._keep(key, owned(answer))
            return Miss(answer)

        flight = self._flights.open(name, backend, landed)
        waiter = flight.join(call)
        if ask and self._second is not None and self._ask(self._second, key, flight, call):
            return waiter
        try:
            flight.carry(backend(call))
        except ModelyardError:
            flight.leave(waiter)
            raise
        return waiter

    def _ask(self, second: SecondLevel, key: bytes, flight: Flight, call: Call) -> bool:
        """Look for ``key`` in Redis; when it is not there in time, the flight departs."""

        def done(found: Found | None) -> None:
            first = found[0] if found else None
            if first is not None:
                self._counts.fetched += 1
                self._put(key, *first)
            if flight.closed:
                return
            if first is not None:
                self._counts.hits += 1
                flight.land(first[0])
            else:
                flight.try_next()

        return second.look_up([key], call.timeout, done)

    async def ahead(self, served: "Served", calls: Sequence[Call | ModelyardError], waited: float) -> float:
        """Fetch what Redis has of ``calls``, all in one question, within what its budget is over ``waited``.

        Returns the seconds that it took. Afterwards :meth:`submit` finds what was there.
        """
        second = self._second
        if second is None or not second.up or waited >= second.budget:
            return 0.0
        now = began = self._loop.time()
        wanted = [
            key
            for call in calls
            if not isinstance(call, ModelyardError)
            and call.options.cache
            and self._kept.get(key := self._key(served, call), now) is None
        ]
        if not wanted:
            return 0.0
        answered: asyncio.Future[None] = self._loop.create_future()

        def done(found: Found | None) -> None:
            for key, each in zip(wanted, found or (), strict=False):
                if each is not None:
                    self._counts.fetched += 1
                    self._put(key, *each)
            if not answered.done():
                answered.set_result(None)

        if second.look_up(wanted, second.budget - waited, done):
            await answered
        return self._loop.time() - began

    def stale(self, served: "Served", call: Call) -> Answer | None:
        """The last answer to ``call`` that is still here, however old; for when there is no other."""
        if not call.options.cache:
            return None
        kept = self._kept.get(self._key(served, call), self._loop.time(), stale=True)
        if kept is None:
            return None
        self._counts.stale += 1
        return Stale(kept)

    def _keep(self, key: bytes, answer: Hit) -> None:
        self._put(key, answer, None)
        if self._second is not None:
            # After the callers have their answer.
            self._loop.call_soon(self._second.keep, key, answer, self._ttl)

    def _put(self, key: bytes, answer: Hit, left: float | None) -> None:
        """Keep it for ``left`` seconds, which is what another node would; None: as long as we may."""
        kept = self._kept
        before = kept.evictions
        kept.put(key, answer, size_of(answer), self._loop.time(), left)
        if not self._retired:
            counts = self._counts
            counts.evictions += kept.evictions - before
            counts.bytes, counts.entries = kept.size, len(kept)

    def retire(self) -> None:
        """Another deployment answers from now on; calls in flight still arrive here."""
        self._retired = True
        self._kept.clear()
        self._counts.bytes = self._counts.entries = 0


class Caches:
    """The caches of a node, one for each endpoint that wants one; ``second`` is Redis, if there is one."""

    def __init__(self) -> None:
        self.second: SecondLevel | None = None
        self._caches: dict[str, tuple[tuple[object, ...], EndpointCache]] = {}

    def of(self, route: Route, pool: Pool | None, metrics: EndpointMetrics) -> EndpointCache | None:
        """The cache of a route; None when it wants none. A deployment's own: the next one of the same
        endpoint begins with an empty one.

        What may come from elsewhere is not told to other nodes: which version answered there is not known.
        """
        serving = route.serving if pool is None else pool.serving
        if serving.cache <= 0:
            self._retire(route.endpoint)
            return None
        identity = identity_of(route, pool)
        sort = (route.deployment, identity, serving.cache, serving.cache_ttl, self.second)
        former = self._caches.get(route.endpoint)
        if former is not None and former[0] == sort:
            return former[1]
        self._retire(route.endpoint)
        elsewhere = bool(route.remotes)
        cache = EndpointCache(
            identity,
            serving.cache,
            serving.cache_ttl,
            metrics,
            None if elsewhere else self.second,
            elsewhere=elsewhere,
        )
        self._caches[route.endpoint] = sort, cache
        return cache

    def keep(self, endpoints: Iterable[str]) -> None:
        """Forget the caches of all other endpoints."""
        for name in self._caches.keys() - set(endpoints):
            self._retire(name)

    def _retire(self, endpoint: str) -> None:
        former = self._caches.pop(endpoint, None)
        if former is not None:
            former[1].retire()
