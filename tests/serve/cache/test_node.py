"""A node that keeps answers: what hits, what does not, what is shared, what is told."""

import http.client
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import msgspec
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from serve.cache.counted import Counted, counting_pool
from support.node import NodeProcess, wait_until


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Counted]:
    with NodeProcess(tmp_path / "home").serve(counting_pool(tmp_path / "m")) as node:
        yield Counted(node, tmp_path / "m")


def test_the_same_question_is_computed_once_however_it_is_written(counted: Counted) -> None:
    before = counted.computed()
    said, answer = counted.ask('{"x": 1.5, "offset": 2.0}')
    assert said == "miss"
    for text in ('{"offset":2,"x":1.5}', ' {\n"offset" : 2.0 , "x":15e-1}'):
        assert counted.ask(text) == ("hit", answer)
    (stats,) = counted.node.get("/v2/models/function/stats")[1]["model_stats"]
    assert (stats["inference_count"], stats["execution_count"]) == (1, 1)
    assert counted.ask('{"x": 1.5}')[0] == "miss"
    assert counted.ask('{"x": 1.5, "offset": 0}')[0] == "hit"
    assert counted.computed() - before == 2


def test_v2_says_hit_and_miss_too_and_shares_with_the_native_protocol(counted: Counted) -> None:
    def body(x: float) -> dict:
        return {"inputs": [{"name": "x", "shape": [], "datatype": "FP64", "data": [x]}]}

    path = "/v2/models/function/infer"
    assert counted.ask(body(3.0), path)[0] == "miss"
    assert counted.ask(body(3.0), path)[0] == "hit"
    assert counted.ask({"x": 3.0})[0] == "hit"


def test_grpc_says_it_in_its_initial_metadata(counted: Counted) -> None:
    tensor = service_pb2.ModelInferRequest.InferInputTensor(name="x", datatype="FP64")
    tensor.contents.fp64_contents.append(4.0)
    request = service_pb2.ModelInferRequest(model_name="function", inputs=[tensor])
    with grpc.insecure_channel(f"127.0.0.1:{counted.node.grpc_port}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        def said(**options: object) -> str | None:
            _, call = stub.ModelInfer.with_call(request, timeout=60, wait_for_ready=True, **options)
            return dict(call.initial_metadata()).get("modelyard-cache")

        assert said() == "miss"
        assert said() == "hit"
        assert said(compression=grpc.Compression.Gzip) == "hit"
        assert said(metadata=[("cache-control", "no-cache")]) is None
    assert counted.ask({"x": 4.0})[0] == "hit"


def test_no_cache_neither_reads_nor_keeps(counted: Counted) -> None:
    said, first = counted.ask({"x": 1.0}, cache_control="no-cache")
    assert said is None
    assert counted.ask({"x": 1.0})[0] == "miss"
    assert counted.ask({"x": 1.0}, cache_control="no-cache")[1] != first
    assert counted.ask({"x": 1.0})[0] == "hit"


def test_a_batch_computes_only_the_rows_that_are_new(counted: Counted) -> None:
    records = [{"x": float(x)} for x in range(10)]
    assert counted.ask({"records": records[:5]}, "/predict/batch")[0] == "miss"
    before = counted.computed()
    said, answer = counted.ask({"records": [*records, *records, {"x": "no"}]}, "/predict/batch")
    assert said == "miss"
    assert counted.computed() - before == 5
    values = [prediction["output"][0] for prediction in answer["predictions"][:-1]]
    assert values == [float(x) for x in range(10)] * 2
    assert answer["predictions"][-1]["code"] == "invalid_input"
    assert counted.ask({"records": records}, "/predict/batch")[0] == "hit"


def test_errors_are_not_kept(counted: Counted) -> None:
    before = counted.computed()
    for _ in range(2):
        assert counted.node.post("/predict", {"x": -1.0})[0] == 500
    assert counted.computed() - before == 2


def test_identical_calls_at_once_are_one_computation(counted: Counted) -> None:
    before = counted.computed()
    counted.hold.touch()
    with ThreadPoolExecutor(20) as clients:
        calls = [clients.submit(counted.ask, {"x": 7.0}) for _ in range(20)]
        wait_until(
            lambda: (
                counted.metric('modelyard_cache_calls_total{endpoint="function",result="coalesced"}') == 19
            )
        )
        counted.hold.unlink()
        answers = [call.result() for call in calls]
    assert answers == [answers[0]] * 20
    assert counted.computed() - before == 1


def test_callers_that_leave_take_nobody_with_them(counted: Counted) -> None:
    name = 'modelyard_cache_calls_total{endpoint="function",result="coalesced"}'
    counted.hold.touch()
    leaving = [http.client.HTTPConnection("127.0.0.1", counted.node.port) for _ in range(3)]
    with ThreadPoolExecutor(2) as clients:
        for connection in leaving[:2]:
            connection.request("POST", "/predict", b'{"x": 8.0}')
        wait_until(lambda: counted.metric(name) == 1)
        staying = clients.submit(counted.ask, {"x": 8.0})
        wait_until(lambda: counted.metric(name) == 2)
        leaving[2].request("POST", "/predict", b'{"x": 8.0}')
        wait_until(lambda: counted.metric(name) == 3)
        for connection in leaving:
            connection.close()
        cancelled = 'modelyard_calls_total{code="cancelled",endpoint="function",version="1"}'
        wait_until(lambda: cancelled in counted.node.call("GET", "/metrics")[2].decode())
        wait_until(lambda: counted.metric(cancelled) == 3)
        counted.hold.unlink()
        assert staying.result()[1]["output"][0] == 8.0


def test_a_short_deadline_is_kept_while_another_call_is_computed(counted: Counted) -> None:
    counted.hold.touch()
    with ThreadPoolExecutor(1) as clients:
        patient = clients.submit(counted.ask, {"x": 9.0})
        wait_until(lambda: counted.computed() > 1, what="the computation")
        status, answer = counted.node.post("/predict", {"x": 9.0}, {"modelyard-timeout": "0.05"})
        assert (status, answer["code"]) == (504, "deadline")
        counted.hold.unlink()
        assert patient.result()[1]["output"][0] == 9.0


def test_another_version_never_sees_the_answers_of_the_former(tmp_path: Path) -> None:
    old = counting_pool(tmp_path / "old")
    with NodeProcess(tmp_path / "home").serve(old) as node:
        counted = Counted(node, tmp_path / "new")
        assert counted.ask({"x": 1.0})[0] == "miss"
        assert counted.ask({"x": 1.0})[0] == "hit"
        new = msgspec.structs.replace(
            counting_pool(tmp_path / "new"), deployment="function-2", version=2, digest="1" * 64
        )
        node.serve(new)
        wait_until(lambda: node.status().pools[0].state == "ready")
        assert counted.ask({"x": 1.0})[0] == "miss"
        node.serve(new, keys=None)  # the same deployment in a newer table keeps its answers
        assert counted.ask({"x": 1.0})[0] == "hit"


def test_what_is_too_old_is_computed_again(tmp_path: Path) -> None:
    pool = counting_pool(tmp_path / "m", cache_ttl=0.001)
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        counted = Counted(node, tmp_path / "m")
        first = counted.ask({"x": 1.0})
        time.sleep(0.01)  # the next question may come within a millisecond
        assert counted.ask({"x": 1.0}) != first


def test_what_is_kept_stays_within_its_bytes_and_is_told(tmp_path: Path) -> None:
    pool = counting_pool(tmp_path / "m", cache=5000)
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        counted = Counted(node, tmp_path / "m")
        for x in range(30):
            counted.ask({"x": float(x)})
        assert 0 < counted.metric('modelyard_cache_bytes{endpoint="function"}') <= 5000
        entries = counted.metric('modelyard_cache_entries{endpoint="function"}')
        assert entries + counted.metric('modelyard_cache_evictions_total{endpoint="function"}') == 30
        assert counted.ask({"x": 29.0})[0] == "hit"
        assert counted.ask({"x": 0.0})[0] == "miss"


def test_an_endpoint_without_a_cache_says_nothing_of_it(tmp_path: Path) -> None:
    pool = counting_pool(tmp_path / "m", cache=0)
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        counted = Counted(node, tmp_path / "m")
        assert counted.ask({"x": 1.0})[0] is None
        assert counted.ask({"x": 1.0})[0] is None
