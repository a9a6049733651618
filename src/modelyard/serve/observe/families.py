"""The node's counts as families of Prometheus: names, words and labels, in one place."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from modelyard.serve.observe.counts import CacheCounts, RedisCounts


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
