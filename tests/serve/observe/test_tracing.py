"""Traces: from the caller's context to the batch and to the next node; and nothing when nobody collects."""

import gzip
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from modelyard.core.routes import Remote, Route, RouteTable
from modelyard.core.signature import TensorSpec
from modelyard.serve.observe.context import passed
from support.models import function_pool
from support.node import NodeProcess, wait_until

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
NOT_SAMPLED = f"00-{TRACE}-{PARENT}-00"
ECHO = "import time\ndef predict(x: float):\n    time.sleep(0.02)\n    if x < 0:\n        raise ValueError('no')\n    return x\n"


class Collector:
    """A real receiver of OTLP over HTTP."""

    def __init__(self) -> None:
        spans = self.spans = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                request = ExportTraceServiceRequest.FromString(body)
                for resource in request.resource_spans:
                    for scope in resource.scope_spans:
                        spans.extend(scope.spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def named(self, name: str, count: int = 1) -> list:
        """Spans whose name begins so, once there are so many."""

        def found() -> list | None:
            some = [span for span in list(self.spans) if span.name.startswith(name)]
            return some if len(some) >= count else None

        return wait_until(
            found, what=f"{count} spans {name!r}; there are {[span.name for span in self.spans]}"
        )


def attributes(span) -> dict[str, object]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def pool_of(folder: Path):
    return function_pool(folder, ECHO, inputs=(TensorSpec(name="x", datatype="FP64"),))


def test_a_call_is_a_span_under_its_callers_with_queue_and_batch_below(
    collector: Collector, tmp_path: Path
) -> None:
    with NodeProcess(tmp_path / "home", MODELYARD_OTLP_ENDPOINT=collector.url).serve(
        pool_of(tmp_path / "m")
    ) as node:
        assert node.post("/predict", {"x": 1.0}, {"traceparent": SAMPLED, "tracestate": "a=b"})[0] == 200
        (request,) = collector.named("POST /predict")
        (queue,), (batch,) = collector.named("queue"), collector.named("batch")
        assert request.trace_id.hex() == TRACE
        assert request.parent_span_id.hex() == PARENT
        assert attributes(request) | {"modelyard.request_id": ""} == {
            "http.request.method": "POST", "url.path": "/predict", "http.response.status_code": 200,
            "modelyard.protocol": "rest", "modelyard.request_id": "", "modelyard.endpoint": "function",
            "modelyard.version": 1, "modelyard.code": "ok",
        }  # fmt: skip
        assert queue.parent_span_id == batch.parent_span_id == request.span_id
        assert [link.span_id for link in batch.links] == [request.span_id]
        assert queue.end_time_unix_nano == batch.start_time_unix_nano
        assert batch.end_time_unix_nano - batch.start_time_unix_nano >= 20_000_000
        (compute,) = collector.named("compute")
        assert compute.parent_span_id == batch.span_id
        assert compute.end_time_unix_nano - compute.start_time_unix_nano >= 20_000_000
        assert batch.start_time_unix_nano <= compute.start_time_unix_nano + 1_000_000
        assert compute.end_time_unix_nano <= batch.end_time_unix_nano

        assert node.post("/predict", {"x": -1.0}, {"traceparent": SAMPLED})[0] == 500
        failed = collector.named("POST /predict", 2)[1]
        assert attributes(failed)["modelyard.code"] == "internal"
        assert failed.status.code == 2

        with ThreadPoolExecutor(12) as clients:
            assert all(clients.map(lambda x: node.post("/predict", {"x": x})[0] == 200, [1.0] * 12))
        collector.named("POST /predict", 14)
        wait_until(lambda: sum(len(span.links) for span in collector.named("batch")) == 14)
        batches = {span.span_id for span in collector.named("batch")}
        collector.named("compute", len(batches))
        assert {span.parent_span_id for span in collector.named("compute")} == batches

        node.post("/predict", {"x": 1.0}, {"traceparent": NOT_SAMPLED})
        node.get("/ready")
        node.post("/predict", {"x": 2.0}, {"traceparent": SAMPLED})
        assert len(collector.named("POST /predict", 15)) == 15
        assert not any(span.name.startswith("GET") for span in collector.spans)


def test_a_trace_goes_on_to_the_next_node(collector: Collector, tmp_path: Path) -> None:
    far = NodeProcess(tmp_path / "far", MODELYARD_OTLP_ENDPOINT=collector.url).serve(
        pool_of(tmp_path / "m")
    )
    with far:
        near = NodeProcess(tmp_path / "near", MODELYARD_OTLP_ENDPOINT=collector.url)
        remote = Remote(url=f"http://127.0.0.1:{far.port}", model="function")
        table = RouteTable(
            generation=1, routes=(Route(endpoint="function", remotes=(remote,)),), default="function"
        )
        near.home.routes.write_bytes(msgspec.json.encode(table))
        with near:
            assert near.post("/predict", {"x": 1.0}, {"traceparent": SAMPLED})[0] == 200
            (here,) = collector.named("POST /predict")
            (call,) = collector.named("call ")
            (there,) = collector.named("POST /v2/models/function/infer")
            assert call.parent_span_id == here.span_id
            assert there.parent_span_id == call.span_id
            assert {span.trace_id.hex() for span in (here, call, there)} == {TRACE}


def test_queue_and_batch_are_told_where_the_replicas_have_remotes_beside_them(
    collector: Collector, tmp_path: Path
) -> None:
    pool = pool_of(tmp_path / "m")
    node = NodeProcess(tmp_path / "home", MODELYARD_OTLP_ENDPOINT=collector.url)
    away = Remote(url="http://127.0.0.1:1", model="function")
    table = RouteTable(
        generation=1,
        pools=(pool,),
        routes=(Route(endpoint="function", deployment=pool.deployment, remotes=(away,)),),
        default="function",
    )
    node.home.routes.write_bytes(msgspec.json.encode(table))
    with node:
        assert node.post("/predict", {"x": 1.0}, {"traceparent": SAMPLED})[0] == 200
        (here,) = collector.named("POST /predict")
        for name in ("queue", "batch"):
            (span,) = collector.named(name)
            assert span.parent_span_id == here.span_id


def test_without_tracing_a_trace_goes_through_as_it_came(collector: Collector, tmp_path: Path) -> None:
    far = NodeProcess(tmp_path / "far", MODELYARD_OTLP_ENDPOINT=collector.url).serve(
        pool_of(tmp_path / "m")
    )
    with far:
        near = NodeProcess(tmp_path / "near")
        remote = Remote(url=f"http://127.0.0.1:{far.port}", model="function")
        table = RouteTable(
            generation=1, routes=(Route(endpoint="function", remotes=(remote,)),), default="function"
        )
        near.home.routes.write_bytes(msgspec.json.encode(table))
        with near:
            assert near.post("/predict", {"x": 1.0}, {"traceparent": SAMPLED})[0] == 200
            (there,) = collector.named("POST /v2/models/function/infer")
            assert (there.trace_id.hex(), there.parent_span_id.hex()) == (TRACE, PARENT)
            assert len(collector.spans) <= 4


def test_a_dead_collector_loses_spans_and_no_call(tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "home", MODELYARD_OTLP_ENDPOINT="http://127.0.0.1:1").serve(
        pool_of(tmp_path / "m")
    ) as node:
        for x in range(30):
            assert node.post("/predict", {"x": float(x)})[0] == 200
        node.stop()
        assert node.process is not None
        assert node.process.returncode == 0


def test_only_a_well_formed_context_is_passed_on() -> None:
    context = passed({b"traceparent": SAMPLED.encode(), b"tracestate": b"a=b"})
    assert context is not None
    assert context.lines() == f"traceparent: {SAMPLED}\r\ntracestate: a=b\r\n".encode()
    for wrong in (
        "",
        "00-x",
        f"00-{'0' * 32}-{PARENT}-01",
        f"ff-{TRACE}-{PARENT}-01",
        SAMPLED + "\r\nx: y",
    ):
        assert passed({b"traceparent": wrong.encode()}) is None
    context = passed({b"traceparent": SAMPLED.encode(), b"tracestate": b"a\r\nb: c"})
    assert context is not None
    assert context.state == b""
