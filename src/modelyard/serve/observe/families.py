"""The node's counts as families of Prometheus: names, words and labels, in one place."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from modelyard.core.routes import MemoryStatus
from modelyard.serve.observe.counts import CacheCounts, Histogram, RedisCounts


class Versioned(Protocol):
    """The counts of one endpoint and version (``metrics.EndpointMetrics`` says what they are)."""

    endpoint: str
    model: str
    version: int
    latency: Histogram
    queue: Histogram
    batch: Histogram
    loads: Histogram
    codes: defaultdict[tuple[int, str], int]
    steps: defaultdict[str, int]
    refusals: defaultdict[str, int]
    busy: defaultdict[str, float]
    restarts: int
    cold_starts: int
    useful: float
    padded: float
    predicted: float
    measured: float
    error: float


class Gauge(Protocol):
    """What a pool says of itself at the time of a scrape."""

    labels: list[str]
    queued: int
    ready: int
    memory: int
    in_flight: int


_VERSION = ["endpoint", "version"]


def _counter(name: str, words: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"modelyard_{name}", words, labels=labels)


def _gauge(name: str, words: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"modelyard_{name}", words, labels=labels)


def _histogram(name: str, words: str, *labels: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"modelyard_{name}", words, labels=labels)


def call_families(versions: Sequence[Versioned]) -> Iterator[Metric]:
    """Calls and how long they took."""
    info = _gauge("endpoint", "1 for each model and version that an endpoint has had.", *_VERSION, "model")
    calls = _counter("calls", "Predictions answered, by error code or ok.", *_VERSION, "code")
    latency = _histogram("latency_seconds", "From a call's arrival to its answer.", *_VERSION)
    refusals = _counter(
        "refusals", "Calls refused before they were queued, by reason.", *_VERSION, "reason"
    )
    steps = _counter("ladder", "Steps of degradation taken, by name.", *_VERSION, "step")
    for each in versions:
        labels = [each.endpoint, str(each.version)]
        info.add_metric([*labels, each.model], 1)
        for (version, code), count in each.codes.items():
            calls.add_metric([each.endpoint, str(version), code], count)
        latency.add_metric(labels, each.latency.cumulative(), each.latency.total)
        for reason, count in each.refusals.items():
            refusals.add_metric([*labels, reason], count)
        for step, count in each.steps.items():
            steps.add_metric([*labels, step], count)
    yield from (info, calls, latency, refusals, steps)


def batch_families(versions: Sequence[Versioned]) -> Iterator[Metric]:
    """Queue and batches."""
    queue = _histogram("queue_seconds", "From a call's arrival to its batch's start.", *_VERSION)
    batch = _histogram("batch_size", "Calls computed together.", *_VERSION)
    useful = _counter("useful_cost", "What calls cost, in the adapter's unit (rows, tokens, …).", *_VERSION)
    padded = _counter(
        "padded_cost",
        "What was computed for them, padding included; 1 - useful / padded is the waste.",
        *_VERSION,
    )
    busy = _counter(
        "busy_seconds",
        "Seconds that a replica computed; its rate is the utilization.",
        *_VERSION,
        "replica",
    )
    for each in versions:
        labels = [each.endpoint, str(each.version)]
        queue.add_metric(labels, each.queue.cumulative(), each.queue.total)
        batch.add_metric(labels, each.batch.cumulative(), each.batch.total)
        useful.add_metric(labels, each.useful)
        padded.add_metric(labels, each.padded)
        for replica, seconds in each.busy.items():
            busy.add_metric([*labels, replica], seconds)
    yield from (queue, batch, useful, padded, busy)


def model_families(versions: Sequence[Versioned]) -> Iterator[Metric]:
    """Executors: how they start and end, and whether their speed is known."""
    loads = _histogram("load_seconds", "From a process' start to its first prediction.", *_VERSION)
    cold = _counter("cold_starts", "Loads that a call waited for.", *_VERSION)
    restarts = _counter("executor_restarts", "Executors that died.", *_VERSION)
    predicted = _counter(
        "predicted_seconds", "Seconds that the latency model foretold for batches.", *_VERSION
    )
    measured = _counter("measured_seconds", "Seconds that those batches took.", *_VERSION)
    error = _counter(
        "prediction_error_seconds",
        "Sum of the differences; over measured_seconds it is the model's error.",
        *_VERSION,
    )
    for each in versions:
        labels = [each.endpoint, str(each.version)]
        loads.add_metric(labels, each.loads.cumulative(), each.loads.total)
        cold.add_metric(labels, each.cold_starts)
        restarts.add_metric(labels, each.restarts)
        predicted.add_metric(labels, each.predicted)
        measured.add_metric(labels, each.measured)
        error.add_metric(labels, each.error)
    yield from (loads, cold, restarts, predicted, measured, error)


def pool_families(pools: Sequence[Gauge]) -> Iterator[Metric]:
    """What pools are at this moment."""
    labels = ("endpoint", "deployment")
    queued = _gauge("queue_length", "Calls that wait.", *labels)
    in_flight = _gauge("in_flight", "Calls that wait or are being computed.", *labels)
    ready = _gauge("replicas_ready", "Replicas that serve.", *labels)
    memory = _gauge("executor_memory_bytes", "Resident memory of a deployment's executors.", *labels)
    for pool in pools:
        queued.add_metric(pool.labels, pool.queued)
        in_flight.add_metric(pool.labels, pool.in_flight)
        ready.add_metric(pool.labels, pool.ready)
        memory.add_metric(pool.labels, pool.memory)
    yield from (queued, in_flight, ready, memory)


class MemoryCounts(Protocol):
    """What a scrape reads of the node's memory."""

    loads: int
    evictions: int

    def status(self) -> MemoryStatus: ...


class JobCounts(Protocol):
    """What a scrape reads of the node's jobs."""

    counts: dict[tuple[str, str], int]

    def waiting(self) -> Mapping[tuple[str, str], int]: ...


def job_families(jobs: JobCounts) -> Iterator[Metric]:
    """Predictions that nobody waits for at the other end of a connection."""
    now = _gauge("jobs", "Jobs that have not ended, by endpoint and state.", "endpoint", "state")
    for key, count in jobs.waiting().items():
        now.add_metric(list(key), count)
    ended = _counter("jobs_ended", "Jobs that ended, by endpoint and how.", "endpoint", "state")
    for key, count in jobs.counts.items():
        ended.add_metric(list(key), count)
    yield from (now, ended)


def memory_families(memory: MemoryCounts) -> Iterator[Metric]:
    """The node's budget, and who is in memory."""
    now = memory.status()
    budget = _gauge("memory_budget_bytes", "What the node may take with all of its models.")
    budget.add_metric([], math.inf if now.budget is None else now.budget)
    used = _gauge(
        "memory_used_bytes", "What it and its models take; of those that load, what they are expected to."
    )
    used.add_metric([], now.used)
    models = _gauge("models", "Models by where they are.", "state")
    for state, count in (("awake", now.awake), ("asleep", now.asleep), ("waiting", now.waiting)):
        models.add_metric([state], count)
    loads = _counter("wakes", "Models that were loaded, at their first start or for a call.")
    loads.add_metric([], memory.loads)
    evictions = _counter("evictions", "Models that were put to sleep because others needed their memory.")
    evictions.add_metric([], memory.evictions)
    yield from (budget, used, models, loads, evictions)
    budget = _gauge("device_budget_bytes", "What models may take of a device's memory.", "device")
    used = _gauge(
        "device_used_bytes", "What they take; of those that load, what they are expected to.", "device"
    )
    others = _gauge("device_others_bytes", "What others hold of it, where that is told.", "device")
    for device in now.devices:
        budget.add_metric([device.name], device.budget)
        used.add_metric([device.name], device.used)
        if device.others is not None:
            others.add_metric([device.name], device.others)
    yield from (budget, used, others)


def edge_families(
    connections: Mapping[str, Callable[[], int]], requests: Mapping[str, Callable[[], int]]
) -> Iterator[Metric]:
    """Who is connected, and how."""
    now = _gauge("connections", "Connections of clients.", "protocol")
    for protocol, count in connections.items():
        now.add_metric([protocol], count())
    asked = _counter("requests", "Requests received, probes and metrics included.", "protocol")
    for protocol, count in requests.items():
        asked.add_metric([protocol], count())
    yield from (now, asked)


class _Cached(Protocol):
    @property
    def cache(self) -> CacheCounts: ...


def cache_families(endpoints: Mapping[str, _Cached]) -> Iterator[Metric]:
    """What the caches of the endpoints did."""
    calls = CounterMetricFamily(
        "modelyard_cache_calls",
        "Calls by what the cache had: hit (kept), coalesced (an identical call was being computed), miss (computed "
        "and kept), stale (answered although too old).",
        labels=["endpoint", "result"],
    )
    fetched = CounterMetricFamily(
        "modelyard_cache_fetched", "Answers that came from Redis.", labels=["endpoint"]
    )
    evictions = CounterMetricFamily(
        "modelyard_cache_evictions", "Answers that gave room to others.", labels=["endpoint"]
    )
    size = GaugeMetricFamily("modelyard_cache_bytes", "Memory of the answers kept.", labels=["endpoint"])
    entries = GaugeMetricFamily("modelyard_cache_entries", "Answers kept.", labels=["endpoint"])
    for name, metrics in endpoints.items():
        counts = metrics.cache
        for result, count in (
            ("hit", counts.hits),
            ("coalesced", counts.coalesced),
            ("miss", counts.misses),
            ("stale", counts.stale),
        ):
            calls.add_metric([name, result], count)
        fetched.add_metric([name], counts.fetched)
        evictions.add_metric([name], counts.evictions)
        size.add_metric([name], counts.bytes)
        entries.add_metric([name], counts.entries)
    yield from (calls, fetched, evictions, size, entries)


def redis_families(counts: RedisCounts) -> Iterator[Metric]:
    """What the second level did."""
    up = GaugeMetricFamily(
        "modelyard_redis_up", "1: Redis is asked; 0: it is too slow or away, calls do without it."
    )
    if counts.state is not None:
        up.add_metric([], counts.state())
    wait = HistogramMetricFamily(
        "modelyard_redis_seconds", "From a look-up to its answer, when it came in time."
    )
    wait.add_metric([], counts.wait.cumulative(), counts.wait.total)
    failures = CounterMetricFamily(
        "modelyard_redis_failures",
        "Look-ups over the budget (late), values that were no answer (corrupt), commands that Redis refused "
        "(refused), answers not written because too many were on their way (unwritten).",
        labels=["reason"],
    )
    for reason, count in (
        ("late", counts.late),
        ("corrupt", counts.corrupt),
        ("refused", counts.refused),
        ("unwritten", counts.unwritten),
    ):
        failures.add_metric([reason], count)
    yield from (up, wait, failures)
