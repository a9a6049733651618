"""``/metrics`` as text: all counts, or those of the endpoints that a key sees."""

from collections.abc import Iterator

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector, CollectorRegistry


class Exposition:
    """Of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def __call__(self, only: frozenset[str] | None) -> bytes:
        """All that is counted, in Prometheus' text format; with ``only`` what is counted for these endpoints. What is
        of no endpoint (the process, memory, remotes by their addresses) is of the node, and not told then."""
        if only is None:
            return generate_latest(self._registry)
        narrowed = CollectorRegistry(auto_describe=False)
        narrowed.register(_Narrowed(self._registry, only))
        return generate_latest(narrowed)


class _Narrowed(Collector):
    def __init__(self, registry: CollectorRegistry, only: frozenset[str]) -> None:
        self._registry = registry
        self._only = only

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            seen = [sample for sample in metric.samples if sample.labels.get("endpoint") in self._only]
            if seen:
                told = Metric(metric.name, metric.documentation, metric.type, metric.unit)
                told.samples = seen
                yield told
