"""What the node counts: for Prometheus (``/metrics``) and for the control plane's pages.

Counting is on every call's path, so it is a bisect and an add; all formatting happens on scrape.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from modelyard.core.routes import EndpointTraffic
from modelyard.serve.observe.counts import BATCH_BOUNDS, LATENCY_BOUNDS, CacheCounts, Histogram, RedisCounts
from modelyard.serve.observe.families import cache_families, redis_families

WINDOW = 60  # seconds that "lately" means


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


class EndpointMetrics:
    """The counts of one endpoint, over all of its deployments."""

    def __init__(self, endpoint: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.endpoint = endpoint
        self.latency = Histogram(LATENCY_BOUNDS)
        self.queue = Histogram(LATENCY_BOUNDS)
        self.batch = Histogram(BATCH_BOUNDS)
        self.codes: dict[tuple[int, str], int] = {}
        self.restarts = 0
        self.cache = CacheCounts()
        self.failed = 0.0  # seconds of the calls that were answered with an error
        self._clock = clock
        self._recent = [_Second(-1) for _ in range(WINDOW)]

    def called(self, version: int, code: str, latency: float) -> None:
        """One call was answered, in ``latency`` seconds, with an error code or ``ok``."""
        key = (version, code)
        self.codes[key] = self.codes.get(key, 0) + 1
        bucket = bisect_left(LATENCY_BOUNDS, latency)
        self.latency.counts[bucket] += 1
        self.latency.total += latency
        second = int(self._clock())
        slot = self._recent[second % WINDOW]
        if slot.second != second:
            slot = self._recent[second % WINDOW] = _Second(second)
        slot.calls += 1
        slot.counts[bucket] += 1
        if latency > slot.longest:
            slot.longest = latency
        if code != "ok":
            slot.errors += 1
            self.failed += latency

    def last_call(self) -> float | None:
        """Seconds since the last answer, to the second; None before the first."""
        second = max(slot.second for slot in self._recent)
        return None if second < 0 else max(0.0, self._clock() - second)

    def traffic(self) -> EndpointTraffic:
        """Rates and quantiles of the last minute; rates are over the last ten full seconds."""
        now = int(self._clock())
        recent = [slot for slot in self._recent if now - WINDOW < slot.second <= now]
        lately = [slot for slot in recent if now - 10 <= slot.second < now]
        counts = [sum(column) for column in zip(*(slot.counts for slot in recent), strict=True)]
        return EndpointTraffic(
            endpoint=self.endpoint,
            calls_per_second=sum(slot.calls for slot in lately) / 10,
            errors_per_second=sum(slot.errors for slot in lately) / 10,
            p50=_at_most(quantile(counts, LATENCY_BOUNDS, 0.50), recent),
            p99=_at_most(quantile(counts, LATENCY_BOUNDS, 0.99), recent),
            calls=sum(self.codes.values()),
            errors=sum(count for (_, code), count in self.codes.items() if code != "ok"),
        )


def _at_most(estimate: float | None, recent: list[_Second]) -> float | None:
    """No quantile is longer than the longest call: interpolation does not know that."""
    if estimate is None:
        return None
    return min(estimate, max(slot.longest for slot in recent))


class PoolGauge:
    """What a scrape reads from a pool at that moment."""

    def __init__(self, endpoint: str, deployment: str, queued: int, ready: int, memory: int) -> None:
        self.labels = [endpoint, deployment]
        self.queued = queued
        self.ready = ready
        self.memory = memory


class NodeCollector(Collector):
    """Formats all of it for Prometheus."""

    def __init__(self, pools: Callable[[], list[PoolGauge]]) -> None:
        self.endpoints: dict[str, EndpointMetrics] = {}
        self.redis = RedisCounts()
        self._pools = pools

    def endpoint(self, name: str) -> EndpointMetrics:
        """The counts of one endpoint, made at first use."""
        metrics = self.endpoints.get(name)
        if metrics is None:
            metrics = self.endpoints[name] = EndpointMetrics(name)
        return metrics

    def keep(self, names: set[str]) -> None:
        """Forget the endpoints that are not among ``names``: deleted ones would be counted for ever."""
        for name in set(self.endpoints) - names:
            del self.endpoints[name]

    def collect(self) -> Iterator[Metric]:
        """Called by the Prometheus client on each scrape."""
        calls = CounterMetricFamily(
            "modelyard_calls", "Predictions answered.", labels=["endpoint", "version", "code"]
        )
        restarts = CounterMetricFamily(
            "modelyard_executor_restarts", "Executors that died.", labels=["endpoint"]
        )
        latency = HistogramMetricFamily(
            "modelyard_latency_seconds", "From a call's arrival to its answer.", labels=["endpoint"]
        )
        queue = HistogramMetricFamily(
            "modelyard_queue_seconds", "From a call's arrival to its batch's start.", labels=["endpoint"]
        )
        batch = HistogramMetricFamily(
            "modelyard_batch_size", "Calls computed together.", labels=["endpoint"]
        )
        for name, metrics in self.endpoints.items():
            for (version, code), count in metrics.codes.items():
                calls.add_metric([name, str(version), code], count)
            restarts.add_metric([name], metrics.restarts)
            latency.add_metric([name], metrics.latency.cumulative(), metrics.latency.total)
            queue.add_metric([name], metrics.queue.cumulative(), metrics.queue.total)
            batch.add_metric([name], metrics.batch.cumulative(), metrics.batch.total)
        labels = ["endpoint", "deployment"]
        queued = GaugeMetricFamily("modelyard_queue_length", "Calls that wait.", labels=labels)
        ready = GaugeMetricFamily("modelyard_replicas_ready", "Replicas that serve.", labels=labels)
        memory = GaugeMetricFamily(
            "modelyard_executor_memory_bytes", "Resident memory of a deployment's executors.", labels=labels
        )
        for pool in self._pools():
            queued.add_metric(pool.labels, pool.queued)
            ready.add_metric(pool.labels, pool.ready)
            memory.add_metric(pool.labels, pool.memory)
        yield from (calls, restarts, latency, queue, batch, queued, ready, memory)
        yield from cache_families(self.endpoints)
        yield from redis_families(self.redis)


def registry_of(collector: NodeCollector) -> CollectorRegistry:
    """A registry with the node's counts and the process' own (memory, CPU, descriptors)."""
    from prometheus_client import PROCESS_COLLECTOR

    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    registry.register(PROCESS_COLLECTOR)
    return registry
