"""What a node counts: by endpoint and version, in families that are all described."""

from pathlib import Path

import pytest

from modelyard.serve.http import Request, Response
from modelyard.serve.jobs.jobs import Jobs
from modelyard.serve.observe.metrics import NodeCollector, PoolGauge
from modelyard.serve.pool.memory import Memory
from modelyard.serve.remote.routes import RemoteRoutes

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def _nobody(request: Request) -> Response:
    return Response(b"")


def samples(collector: NodeCollector) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in collector.collect()
        for sample in family.samples
    }


def value(collector: NodeCollector, name: str, **labels: str) -> float:
    return samples(collector)[f"modelyard_{name}{sorted(labels.items())}"]


def test_every_family_is_described_on_the_page_with_its_labels_and_nothing_else_is() -> None:
    described = {
        line.split("|")[1].strip().strip("`"): line.split("|")[2].strip()
        for line in PAGE.read_text().splitlines()
        if line.startswith("| `modelyard_")
    }
    collector = NodeCollector(lambda: [PoolGauge("e", "d", 0, 0, 0)])
    collector.memory = Memory()
    collector.jobs = Jobs(Path("/nowhere"), _nobody, len, float, expiry=1.0)
    families = [*collector.collect(), *RemoteRoutes().collect()]
    suffix = {"counter": "_total"}
    exported = {
        f"{family.name}{suffix.get(family.type, '')}": ", ".join(getattr(family, "_labelnames", ()))
        for family in families
    }
    assert described == exported


def test_versions_of_an_endpoint_are_counted_apart_and_make_one_traffic() -> None:
    clock = Clock()
    collector = NodeCollector(lambda: [], clock)
    old, new = collector.endpoint("e", "m", 1), collector.endpoint("e", "m", 2)
    assert collector.endpoint("e", "m", 1) is old
    old.called(1, "ok", 0.001)
    new.called(2, "ok", 0.002)
    new.called(2, "internal", 0.002)
    assert value(collector, "latency_seconds_count", endpoint="e", version="1") == 1
    assert value(collector, "latency_seconds_count", endpoint="e", version="2") == 2
    assert value(collector, "calls_total", endpoint="e", version="2", code="internal") == 1
    traffic = collector.endpoints["e"].traffic()
    assert (traffic.calls, traffic.errors) == (3, 1)
    clock.now += 1
    assert old.traffic().calls_per_second == pytest.approx(0.3)


def test_padding_and_the_error_of_predictions_can_be_computed() -> None:
    collector = NodeCollector(lambda: [])
    metrics = collector.endpoint("e", "m", 1)
    metrics.batch_done(4, 30.0, 40.0, 0.2, 0.1, "e-0")
    metrics.batch_done(1, 10.0, 10.0, 0.1, None, "e-1")
    labels = {"endpoint": "e", "version": "1"}
    assert value(collector, "useful_cost_total", **labels) == 40.0
    assert value(collector, "padded_cost_total", **labels) == 50.0
    assert value(collector, "busy_seconds_total", replica="e-0", **labels) == 0.2
    assert value(collector, "prediction_error_seconds_total", **labels) == pytest.approx(0.1)
    assert value(collector, "measured_seconds_total", **labels) == 0.2


def test_the_sizes_of_batches_stay_few() -> None:
    metrics = NodeCollector(lambda: []).endpoint("e", "m", 1)
    for rows in (1024, *range(1025, 2049), 3000):
        metrics.executed(rows, rows, 0.5)
    metrics.executed(7, 0, 0.5)  # every call in it failed
    assert metrics.sizes == {1024: (1, 0.5), 2048: (1024, 512.0), 4096: (1, 0.5)}
    assert metrics.inferred == 1024 + sum(range(1025, 2049)) + 3000


def test_loads_and_cold_starts_are_told() -> None:
    collector = NodeCollector(lambda: [])
    metrics = collector.endpoint("e", "m", 1)
    metrics.loaded(1.5)
    metrics.loaded(2.5, cold=True)
    labels = {"endpoint": "e", "version": "1"}
    assert value(collector, "load_seconds_sum", **labels) == 4.0
    assert value(collector, "cold_starts_total", **labels) == 1


def test_what_is_deleted_is_forgotten() -> None:
    collector = NodeCollector(lambda: [])
    collector.endpoint("e", "m", 1).called(1, "ok", 0.1)
    collector.keep(set())
    assert not any("endpoint" in name for name in samples(collector))
