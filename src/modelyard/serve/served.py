"""One endpoint as this node serves it: who it is, what it takes, and the backends its calls go to."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Protocol

from modelyard.core.deployment import ServingOptions
from modelyard.core.errors import Unavailable
from modelyard.core.routes import Route
from modelyard.core.signature import Signature
from modelyard.serve.cache.cache import EndpointCache
from modelyard.serve.call import Answer, Call, Result
from modelyard.serve.observe.metrics import EndpointMetrics
from modelyard.serve.pool.pool import Pool


class Pending(Protocol):
    """A call on its way. ``future`` gets its Result; ``cancel`` says that nobody waits any more."""

    future: "asyncio.Future[Result]"

    def cancel(self) -> None: ...


class Backend(Protocol):
    """What computes calls: a pool of local executors, or an address elsewhere."""

    @property
    def ready(self) -> bool:
        """Whether a call sent now would be computed."""
        ...

    @property
    def signature(self) -> Signature | None:
        """What it takes and gives; None while that is not known."""
        ...

    def submit(self, call: Call) -> Pending:
        """Take one call. Raises Overloaded or Unavailable at once when it cannot."""
        ...

    def stream(self, call: Call) -> AsyncIterator[Answer]:
        """The answers to one call as they come; at least one. Raises its error."""
        ...


class Served:
    """One endpoint of the table of routes. ``version`` is the one behind it, ``platform`` its adapter;
    ``pool`` is None where the route leads to remotes alone; ``cache`` stands before the backend when answers
    are kept (the dataplane sets it)."""

    __slots__ = (
        "backend",
        "cache",
        "digest",
        "endpoint",
        "metrics",
        "model",
        "plain",
        "platform",
        "pool",
        "serving",
        "version",
    )

    def __init__(self, pool: Pool, metrics: EndpointMetrics) -> None:
        spec = pool.spec
        self.endpoint = spec.endpoint
        self.model = spec.model
        self.version = spec.version
        self.digest = spec.digest
        self.platform = f"modelyard_{spec.executor.adapter}"
        self.serving: ServingOptions = spec.serving
        self.metrics = metrics
        self.pool: Pool | None = pool
        self.backend: Backend = pool
        self.cache: EndpointCache | None = None
        self.plain = True  # no cache, no fallback: nothing but the backend answers

    @classmethod
    def elsewhere(cls, route: Route, backend: Backend, metrics: EndpointMetrics) -> "Served":
        """An endpoint without a pool here. What it is, its remotes tell later: until then version 0."""
        served = cls.__new__(cls)
        served.endpoint = route.endpoint
        served.model = route.model
        served.version = 0
        where = repr([(remote.url, remote.model) for remote in route.remotes])
        served.digest = f"elsewhere-{hashlib.sha256(where.encode()).hexdigest()[:32]}"
        served.platform = ""
        served.serving = route.serving
        served.metrics = metrics
        served.pool = None
        served.backend = backend
        served.cache = None
        served.plain = True
        return served

    @property
    def ready(self) -> bool:
        """Whether a call made now would be computed."""
        return self.backend.ready

    @property
    def signature(self) -> Signature:
        """What calls are checked against. Raises Unavailable before it is known."""
        signature = self.backend.signature
        if signature is None:
            raise Unavailable(
                f"{self.endpoint!r} is starting; its signature is not known yet.", retry_after=1.0
            )
        return signature
