"""What the node counts: for Prometheus (``/metrics``) and for the control plane's pages.

Counting is on every call's path, so it is a bisect and an add; all formatting happens on scrape.
"""

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from modelyard.core.routes import EndpointTraffic
from modelyard.serve.observe.counts import (
    BATCH_BOUNDS,
    LATENCY_BOUNDS,
    LOAD_BOUNDS,
    CacheCounts,
    Histogram,
    RedisCounts,
)
from modelyard.serve.observe.families import (
    JobCounts,
    MemoryCounts,
    batch_families,
    cache_families,
    call_families,
    edge_families,
    job_families,
    memory_families,
    model_families,
    pool_families,
    redis_families,
)

WINDOW = 60  # seconds that "lately" means
EXACT = 1024  # rows up to which each size of a batch is told apart; above, by the next power of two


def quantile(counts: list[int], bounds: tuple[float, ...], q: float) -> float | None:
    """The ``q``-quantile by linear interpolation between bounds; None without any count."""
    total = sum(counts)
    if total == 0:
        return None
    wanted = q * total
    seen = 0
    for index, count in enumerate(counts):
        if seen + count >= wanted and count:
            low = bounds[index - 1] if index else 0.0
            high = bounds[index] if index < len(bounds) else bounds[-1]
            return low + (high - low) * (wanted - seen) / count
        seen += count
    return bounds[-1]


class _Second:
    __slots__ = ("calls", "counts", "errors", "longest", "second")

    def __init__(self, second: int) -> None:
        self.second = second
        self.calls = 0
        self.errors = 0
        self.longest = 0.0
        self.counts = [0] * (len(LATENCY_BOUNDS) + 1)


class EndpointTotals:
    """What all versions of one endpoint have in common: its traffic, its cache, what was refused."""

    def __init__(self, endpoint: str, clock: Callable[[], float]) -> None:
        self.endpoint = endpoint
        self.clock = clock
        self.cache = CacheCounts()
        self.versions: dict[int, EndpointMetrics] = {}
        # By second modulo WINDOW. Of a thousand endpoints most are not called for long: these have none.
        self.recent: dict[int, _Second] = {}
        self.last = -1  # the latest second with an answer

    def traffic(self) -> EndpointTraffic:
        """Rates and quantiles of the last minute; rates are over the last ten full seconds."""
        now = int(self.clock())
        for place, slot in list(self.recent.items()):
            if slot.second <= now - WINDOW:
                del self.recent[place]
        recent = [slot for slot in self.recent.values() if slot.second <= now]
        lately = [slot for slot in recent if now - 10 <= slot.second < now]
        counts = [sum(column) for column in zip(*(slot.counts for slot in recent), strict=True)]
        codes = [
            (code, count) for each in self.versions.values() for (_, code), count in each.codes.items()
        ]
        return EndpointTraffic(
            endpoint=self.endpoint,
            calls_per_second=sum(slot.calls for slot in lately) / 10,
            errors_per_second=sum(slot.errors for slot in lately) / 10,
            p50=_at_most(quantile(counts, LATENCY_BOUNDS, 0.50), recent),
            p99=_at_most(quantile(counts, LATENCY_BOUNDS, 0.99), recent),
            calls=sum(count for _, count in codes),
            errors=sum(count for code, count in codes if code != "ok"),
        )


class EndpointMetrics:
    """The counts of one endpoint and version, over all of its deployments.

    ``useful`` and ``padded`` are costs in the adapter's unit (rows, tokens, …): what was asked for, and what
    was computed for it; ``computing`` is the seconds of all batches, by replica in ``busy``. ``predicted``,
    ``measured`` and ``error`` (their absolute difference) are the seconds of the batches whose time was
    predicted. ``steps`` counts the steps of the ladder of degradation by name, ``refusals`` the calls that
    were refused by reason. ``inferred`` are the rows that were computed and answered well, ``sizes`` the
    batches by their rows: how many, and the seconds that executors computed them.
    """

    __slots__ = (
        "_clock", "_recent", "batch", "busy", "cache", "codes", "cold_starts", "computing", "endpoint", "error", "failed",
        "inferred", "latency", "loads", "measured", "model", "padded", "predicted", "queue", "refusals", "restarts", "sizes", "steps",
        "totals", "useful", "version",
    )  # fmt: skip

    def __init__(
        self,
        endpoint: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        model: str = "",
        version: int = 0,
        totals: EndpointTotals | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.model = model
        self.version = version
        self.totals = totals or EndpointTotals(endpoint, clock)
        self.totals.versions[version] = self
        self.latency = Histogram(LATENCY_BOUNDS)
        self.queue = Histogram(LATENCY_BOUNDS)
        self.batch = Histogram(BATCH_BOUNDS)
        self.loads = Histogram(LOAD_BOUNDS)
        self.codes: defaultdict[tuple[int, str], int] = defaultdict(int)
        self.steps: defaultdict[str, int] = defaultdict(int)
        self.refusals: defaultdict[str, int] = defaultdict(int)
        self.busy: defaultdict[str, float] = defaultdict(float)
        self.restarts = 0
        self.failed = 0.0  # seconds of the calls that were answered with an error
        self.cold_starts = 0
        self.inferred = 0
        self.sizes: dict[int, tuple[int, float]] = {}
        self.useful = self.padded = self.computing = 0.0
        self.predicted = self.measured = self.error = 0.0
        self.cache = self.totals.cache
        self._clock = self.totals.clock
        self._recent = self.totals.recent

    def called(self, version: int, code: str, latency: float) -> None:
        """One call was answered, in ``latency`` seconds, with an error code or ``ok``."""
        self.codes[version, code] += 1
        bucket = bisect_left(LATENCY_BOUNDS, latency)
        self.latency.add(bucket, latency)
        second = int(self._clock())
        slot = self._recent.get(second % WINDOW)
        if slot is None or slot.second != second:
            slot = self._recent[second % WINDOW] = _Second(second)
            self.totals.last = second
        slot.calls += 1
        slot.counts[bucket] += 1
        if latency > slot.longest:
            slot.longest = latency
        if code != "ok":
            slot.errors += 1
            self.failed += latency

    def last_call(self) -> float | None:
        """Seconds since the last answer, to the second; None before the first."""
        second = self.totals.last
        return None if second < 0 else max(0.0, self._clock() - second)

    def batch_done(
        self,
        calls: int,
        useful: float,
        padded: float,
        seconds: float,
        predicted: float | None,
        replica: str = "",
    ) -> None:
        """A batch of so many calls came back after ``seconds``, for which ``predicted`` were expected."""
        self.useful += useful
        self.padded += padded
        self.computing += seconds
        self.busy[replica] += seconds
        if predicted is not None:
            self.predicted += predicted
            self.measured += seconds
            self.error += abs(seconds - predicted)

    def executed(self, rows: int, inferred: int, seconds: float) -> None:
        """A batch of so many rows was computed for ``seconds``; so many of them were answered well."""
        self.inferred += inferred
        if not inferred:
            return
        if rows > EXACT:  # the sizes stay few, however large a call is
            rows = 1 << (rows - 1).bit_length()
        count, total = self.sizes.get(rows, (0, 0.0))
        self.sizes[rows] = count + 1, total + seconds

    def loaded(self, seconds: float, *, cold: bool = False) -> None:
        """A replica became ready ``seconds`` after its process was started; ``cold``: a call waited for it."""
        self.loads.observe(seconds)
        self.cold_starts += cold

    def traffic(self) -> EndpointTraffic:
        """That of the whole endpoint."""
        return self.totals.traffic()


def _at_most(estimate: float | None, recent: list[_Second]) -> float | None:
    """No quantile is longer than the longest call: interpolation does not know that."""
    if estimate is None:
        return None
    return min(estimate, max(slot.longest for slot in recent))


class PoolGauge:
    """What a scrape reads from a pool at that moment. ``in_flight`` are the calls that wait or are computed."""

    def __init__(
        self, endpoint: str, deployment: str, queued: int, ready: int, memory: int, in_flight: int = 0
    ) -> None:
        self.labels = [endpoint, deployment]
        self.queued = queued
        self.ready = ready
        self.memory = memory
        self.in_flight = in_flight


class NodeCollector(Collector):
    """All counts of a node; ``families`` says what they are called.

    ``connections`` and ``requests`` have a function for each protocol that this node listens for.
    """

    def __init__(
        self, pools: Callable[[], list[PoolGauge]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.endpoints: dict[str, EndpointTotals] = {}
        self.redis = RedisCounts()
        self.memory: MemoryCounts | None = None
        self.jobs: JobCounts | None = None
        self.connections: dict[str, Callable[[], int]] = {}
        self.requests: dict[str, Callable[[], int]] = {}
        self._pools = pools
        self._clock = clock

    def endpoint(self, name: str, model: str = "", version: int = 0) -> EndpointMetrics:
        """The counts of one endpoint and version, made at first use. Version 0: not known here."""
        totals = self.endpoints.get(name)
        if totals is None:
            totals = self.endpoints[name] = EndpointTotals(name, self._clock)
        metrics = totals.versions.get(version)
        if metrics is None:
            metrics = EndpointMetrics(name, model=model, version=version, totals=totals)
        return metrics

    def keep(self, names: set[str]) -> None:
        """Forget the endpoints that are not among ``names``: deleted ones would be counted for ever."""
        for name in set(self.endpoints) - names:
            del self.endpoints[name]

    def collect(self) -> Iterator[Metric]:
        """Called by the Prometheus client on each scrape."""
        versions = [each for totals in self.endpoints.values() for each in totals.versions.values()]
        yield from call_families(versions)
        yield from batch_families(versions)
        yield from model_families(versions)
        yield from pool_families(self._pools())
        if self.memory is not None:
            yield from memory_families(self.memory)
        if self.jobs is not None:
            yield from job_families(self.jobs)
        yield from cache_families(self.endpoints)
        yield from redis_families(self.redis)
        yield from edge_families(self.connections, self.requests)


def registry_of(collector: NodeCollector) -> CollectorRegistry:
    """A registry with the node's counts and the process' own (memory, CPU, descriptors)."""
    from prometheus_client import PROCESS_COLLECTOR

    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    registry.register(PROCESS_COLLECTOR)
    return registry
