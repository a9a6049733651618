"""Where every protocol meets: which pool serves this endpoint, and one call through it."""

import asyncio
import hashlib
import hmac
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from modelyard.core.errors import (
    Cancelled,
    Deadline,
    ModelyardError,
    NotFound,
    Overloaded,
    Place,
    Unauthenticated,
    Unavailable,
)
from modelyard.core.routes import Grant, RouteTable
from modelyard.policy.ladder import RESCUED
from modelyard.serve.cache.cache import Caches
from modelyard.serve.call import Answer, Call, Result
from modelyard.serve.observe.metrics import NodeCollector
from modelyard.serve.pool.pool import Pool
from modelyard.serve.rescue import rescued
from modelyard.serve.served import Backend, Pending, Served

_NONE: Final[Mapping[str, Served]] = MappingProxyType({})
CLIENT: Final = 16  # characters of a key's digest that name who calls
WINDOW = 2048  # records of one batch that are queued at a time, where the queue has room for twice as many


class Dataplane:
    """Resolves endpoints to pools and carries calls. ``table`` and ``pools`` are the node's."""

    def __init__(self, metrics: NodeCollector) -> None:
        self.metrics = metrics
        self.table = RouteTable()
        self.pools: dict[str, Pool] = {}
        self.caches = Caches()
        self.traced: Callable[[Served], Backend] | None = None  # wraps backends while tracing is on
        self._routes: dict[str, Served] = {}
        self._all = self._routes  # where a fallback is found, also for who does not see it by itself
        self._grants: dict[str, Grant] = {}  # by digest
        self.used: dict[
            str, float
        ] = {}  # when the key of each client was last let in, the keys of grants alone
        self._clients: dict[str, Grant | None] = {}  # by its beginning; None: sees all
        self._seen: dict[str, Dataplane] = {}

    def follow(
        self, table: RouteTable, pools: dict[str, Pool], elsewhere: Mapping[str, Served] = _NONE
    ) -> None:
        """Serve by ``table`` from now on; calls already queued stay where they are. ``elsewhere`` has the
        endpoints that are not, or not only, served by a pool of this node."""
        self.table = table
        self.pools = pools
        self._routes = {
            route.endpoint: Served(pool := pools[route.deployment], pool.metrics)
            for route in table.routes
            if route.deployment is not None and route.endpoint not in elsewhere
        } | dict(elsewhere)
        self._all = self._routes
        self._grants = {grant.digest: grant for grant in table.grants}
        whole: dict[str, Grant | None] = {digest[:CLIENT]: None for digest in table.keys or ()}
        self._clients = {digest[:CLIENT]: grant for digest, grant in self._grants.items()} | whole
        self._seen = {}
        self.used = {client: when for client, when in self.used.items() if client in self._clients}
        for route in table.routes:
            if (served := self._routes.get(route.endpoint)) is not None:
                spec = None if served.pool is None else served.pool.spec
                served.cache = self.caches.of(route, spec, served.metrics)
                served.plain = served.cache is None and served.serving.fallback is None
        self.caches.keep(self._routes)
        if self.traced is not None:
            for served in self._routes.values():
                served.backend = self.traced(served)

    def check_key(self, key: str | None) -> str:
        """Who calls: the beginning of the key's digest; "" when no key is asked for.

        Raises Unauthenticated unless ``key`` is known and has not expired, when keys are asked for at all.
        """
        if self.table.keys is None:
            return ""
        if key is None:
            raise Unauthenticated("Send an API key: 'Authorization: Bearer <key>'.")
        digest = hashlib.sha256(key.encode()).hexdigest()
        if not any(hmac.compare_digest(digest, known) for known in self.table.keys):
            # What is looked up is a digest: how long it takes says nothing of the key.
            grant = self._grants.get(digest)
            if grant is None:
                raise Unauthenticated("This API key is not known here.")
            now = time.time()
            if grant.expires is not None and grant.expires <= now:
                raise Unauthenticated("This API key has expired.")
            self.used[digest[:CLIENT]] = now
        return digest[:CLIENT]

    def note_uses(self, used: Mapping[str, float]) -> None:
        """Keys were let in elsewhere, at these times by client."""
        for client, when in used.items():
            if client in self._clients and when > self.used.get(client, 0.0):
                self.used[client] = when

    def seen_by(self, client: str) -> "Dataplane":
        """What a client that was let in sees: all of this, or the endpoints of its key.

        Raises Unauthenticated for a key that has gone since.
        """
        if not client or self.table.keys is None:
            return self
        seen = self._seen.get(client)
        if seen is None:
            if client not in self._clients:
                raise Unauthenticated("This API key is not known here any more.")
            grant = self._clients[client]
            if grant is None:
                return self
            from modelyard.serve.seen import SeenPlane  # which is made of this one

            seen = self._seen[client] = SeenPlane(self, grant)
        return seen

    @property
    def only(self) -> frozenset[str] | None:
        """The endpoints that are seen; None: all, and the node itself."""
        return None

    def may_manage(self) -> None:
        """Raises Forbidden for who may not load and unload models."""

    def endpoints(self) -> list[str]:
        """The names that calls can be made to."""
        return sorted(self._routes)

    def default(self) -> str:
        """The endpoint behind ``/predict``. Raises NotFound when nothing is deployed."""
        if self.table.default is None:
            raise NotFound("Nothing is deployed here yet; try: modelyard deploy PATH")
        return self.table.default

    def resolve(self, endpoint: str, version: str | None = None) -> Served:
        """Who serves ``endpoint`` (and that version of it).

        Raises NotFound for an unknown one, Unavailable while its first deployment starts.
        """
        served = self._routes.get(endpoint)
        if served is None:
            for other in self.pools.values():
                if other.spec.endpoint == endpoint:
                    raise Unavailable(
                        f"{endpoint!r} is starting; its first replica is not ready.", retry_after=1.0
                    )
            raise NotFound(
                f"There is no endpoint {endpoint!r} here; see: modelyard endpoints", field="model"
            )
        if version is not None and version != str(served.version):
            raise NotFound(
                f"{endpoint!r} serves version {served.version}, not {version!r}.", field="version"
            )
        return served

    def counting_refusals(self, served: Served) -> "_Refusals":
        """A context in which an error is a call of ``served`` that was refused before it was queued."""
        return _Refusals(served)

    async def predict(self, served: Served, call: Call) -> Answer:
        """One call, answered; raises its error."""
        started = time.perf_counter()
        code = "internal"
        pending: Pending | None = None
        try:
            if served.cache is None or not call.options.cache:
                pending = served.backend.submit(call)
            else:
                pending = served.cache.submit(served, call)
            result = await pending.future
            if isinstance(result, ModelyardError):
                raise result
            code = "ok"
            return result
        except ModelyardError as error:
            if error.code in RESCUED:
                left = call.timeout - (time.perf_counter() - started)
                code = Cancelled.code  # should the caller leave meanwhile
                answer = await rescued(served, call, error, left, self._all.get)
                if answer is not None:
                    code = "ok"
                    return answer
            code = error.code
            error.place = Place(served.endpoint, served.version, time.perf_counter() - started)
            raise
        except asyncio.CancelledError:
            code = Cancelled.code
            if pending is not None:
                pending.cancel()
            raise
        finally:
            served.metrics.called(served.version, code, time.perf_counter() - started)

    async def stream(self, served: Served, call: Call) -> AsyncGenerator[Answer, None]:
        """The answers to one call as they come, counted as one call. Raises its error.

        Close it (``aclose``) when nobody takes any more of it: the call is cancelled then.
        """
        started = time.perf_counter()
        code = Cancelled.code
        answers = served.backend.stream(call)
        try:
            async for answer in answers:
                yield answer
            code = "ok"
        except ModelyardError as error:
            code = error.code
            raise
        except Exception:
            code = "internal"
            raise
        finally:
            aclose = getattr(answers, "aclose", None)
            if aclose is not None:
                await aclose()
            served.metrics.called(served.version, code, time.perf_counter() - started)

    async def predict_all(self, served: Served, calls: Sequence[Call | ModelyardError]) -> list[Result]:
        """Several calls, each with its own result, in order. Raises only when the caller leaves.

        What is an error already stays one. They are queued in windows, so that a batch of any length
        neither fills the queue nor is refused by it; each has what is left of its time.
        """
        started = time.perf_counter()
        version = served.version
        window = max(1, min(WINDOW, served.serving.max_queue // 2))
        queued: deque[Pending | ModelyardError] = deque()
        results: list[Result] = []

        async def take_oldest() -> None:
            pending = queued[0]
            result = await _result_of(pending)
            if isinstance(result, Overloaded) and pending is not result and served.plain:
                # Its place was given to another client's call: it queues anew, once.
                again = calls[len(results)]
                assert not isinstance(again, ModelyardError)
                queued[0] = await _in_turn(served, again, started)
                result = await _result_of(queued[0])
            queued.popleft()
            if isinstance(result, ModelyardError) and result.code in RESCUED and not served.plain:
                call = calls[len(results)]
                if not isinstance(call, ModelyardError):
                    left = call.timeout - (time.perf_counter() - started)
                    result = await rescued(served, call, result, left, self._all.get) or result
            code = result.code if isinstance(result, ModelyardError) else "ok"
            served.metrics.called(version, code, time.perf_counter() - started)
            results.append(result)
            if tell is not None:
                tell(len(results) / len(calls), f"{len(results)} of {len(calls)} records")

        calls, tell = _quieted(calls)
        looked, waited = 0, 0.0  # calls that Redis was asked for, and the seconds that it took
        try:
            for index, call in enumerate(calls):
                if served.cache is not None and index == looked:
                    looked += window
                    waited += await served.cache.ahead(served, calls[index:looked], waited)
                while len(queued) >= window:
                    await take_oldest()
                if isinstance(call, ModelyardError):
                    queued.append(call)
                    continue
                while True:
                    try:
                        queued.append(_submit(served, call, started))
                    except Overloaded:
                        if queued:
                            await take_oldest()
                            continue
                        queued.append(await _in_turn(served, call, started))
                    except ModelyardError as error:
                        queued.append(error)
                    break
            while queued:
                await take_oldest()
        except asyncio.CancelledError:
            for pending in queued:
                if not isinstance(pending, ModelyardError):
                    pending.cancel()
                    served.metrics.called(version, Cancelled.code, time.perf_counter() - started)
            raise
        return results


class _Refusals:
    __slots__ = ("_served", "_started")

    def __init__(self, served: Served) -> None:
        self._served = served
        self._started = time.perf_counter()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ModelyardError):
            served, elapsed = self._served, time.perf_counter() - self._started
            error.place = Place(served.endpoint, served.version, elapsed)
            served.metrics.called(served.version, error.code, elapsed)


def _quieted(
    calls: Sequence[Call | ModelyardError],
) -> "tuple[Sequence[Call | ModelyardError], Callable[[float | None, str], None] | None]":
    """Of a job's records, the calls, which say nothing of themselves, and whoever is told how far they are."""
    first = next((call for call in calls if not isinstance(call, ModelyardError)), None)
    if first is None or first.options.progress is None:
        return calls, None
    quiet = first.options._replace(progress=_nobody)
    return [
        call if isinstance(call, ModelyardError) else call._replace(options=quiet) for call in calls
    ], first.options.progress


def _nobody(fraction: float | None, message: str) -> None:
    pass


async def _result_of(pending: Pending | ModelyardError) -> Result:
    return pending if isinstance(pending, ModelyardError) else await pending.future


async def _in_turn(served: Served, call: Call, started: float) -> Pending | ModelyardError:
    """Queue one call of a batch; where others fill the queue it waits for its turn, while it has time."""
    while True:
        try:
            return _submit(served, call, started)
        except Overloaded as error:
            wait = max(0.001, error.retry_after or 0.01)
            if not served.plain or wait >= call.timeout - (time.perf_counter() - started):
                return error
        except ModelyardError as error:
            return error
        await asyncio.sleep(wait)


def _submit(served: Served, call: Call, started: float) -> Pending:
    """Queue one call of a batch that began at ``started``. Raises Deadline when its time is over."""
    left = call.timeout - (time.perf_counter() - started)
    if left <= 0:
        raise Deadline(f"The call's {call.timeout:g} s were over before it could be queued.")
    call = call._replace(timeout=left)
    if served.cache is None or not call.options.cache:
        return served.backend.submit(call)
    return served.cache.submit(served, call, ask=False)
