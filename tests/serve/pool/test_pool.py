"""A pool of real executors: batches ahead, streams, want of memory, devices, what is learnt and kept."""

import json
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from modelyard.core.deployment import ServingOptions
from support.models import function_pool, simulated_pool
from support.node import NodeProcess, wait_until


def texts(node: NodeProcess, count: int) -> list[dict]:
    status, answer = node.post(
        "/models/simulated/predict/batch", {"texts": ["x" * (1 + n % 50) for n in range(count)]}
    )
    assert status == 200, answer
    return answer["predictions"]


def test_mixed_lengths_are_answered_in_order_by_many_devices_and_the_law_is_kept(tmp_path: Path) -> None:
    pool = simulated_pool(
        tmp_path / "m", law={"fixed_ms": 4, "per_padded_us": 20}, replicas=4, speeds=[1, 1, 1, 3]
    )
    with NodeProcess(tmp_path / "home", MODELYARD_DEVICES="cpu:0,cpu:1,cpu:2,cpu:3").serve(pool) as node:
        assert [each["length"] for each in texts(node, 600)] == [1 + n % 50 for n in range(600)]
    kept = json.loads(next((tmp_path / "home" / "run" / "learnt").iterdir()).read_text())
    assert set(kept["devices"]) <= {"cpu:0", "cpu:1", "cpu:2", "cpu:3"}
    assert kept["devices"]
    with NodeProcess(tmp_path / "home", MODELYARD_DEVICES="cpu:0,cpu:1,cpu:2,cpu:3").serve(pool) as node:
        assert len(texts(node, 50)) == 50


def test_what_does_not_fit_into_memory_together_is_computed_in_smaller_batches(tmp_path: Path) -> None:
    pool = simulated_pool(tmp_path / "m", law={"fixed_ms": 5}, memory=400)
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        answers = texts(node, 300)
        assert [each.get("length") for each in answers] == [1 + n % 50 for n in range(300)]
        status, answer = node.post("/models/simulated/predict", {"text": "x" * 500})
        assert (status, answer["code"]) == (413, "too_large")


def test_a_burst_after_single_calls_is_not_judged_by_their_pace(tmp_path: Path) -> None:
    """100 ms a batch: single calls go at 10 a second, 200 in few batches take far less than their 2 seconds."""
    pool = msgspec.structs.replace(
        simulated_pool(tmp_path / "m", law={"fixed_ms": 100, "per_padded_us": 1}),
        serving=ServingOptions(timeout=2),
    )

    def call(_: int) -> int:
        return node.post("/models/simulated/predict", {"text": "x" * 25})[0]

    with NodeProcess(tmp_path / "home").serve(pool) as node, ThreadPoolExecutor(200) as clients:
        texts(node, 300)  # batches of more than one size: the law is learnt
        assert {call(n) for n in range(30)} == {200}
        assert set(clients.map(call, range(200))) == {200}


def test_a_generator_streams_and_a_caller_that_leaves_stops_it(tmp_path: Path) -> None:
    told = tmp_path / "told"
    code = (
        "import time\ndef predict(x: float):\n"
        "    for n in range(int(x)):\n"
        f"        open({str(told)!r}, 'a').write('.')\n        yield n\n        time.sleep(0.02)\n"
    )
    with NodeProcess(tmp_path / "home").serve(function_pool(tmp_path / "m", code, timeout=60)) as node:
        status, _, body = node.call(
            "POST", "/v2/models/function/generate_stream", b'{"x": 3}', {"content-type": "application/json"}
        )
        assert status == 200
        assert body.count(b"data:") == 3
        before = len(told.read_text())
        with socket.create_connection(("127.0.0.1", node.port)) as client:
            request = b'{"x": 3000}'
            client.sendall(
                b"POST /v2/models/function/generate_stream HTTP/1.1\r\nhost: localhost\r\n"
                b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(request), request)
            )
            wait_until(lambda: len(told.read_text()) > before + 2, what="a few pieces")
        # Its executor is free again long before the 3000 pieces would be through.
        assert node.post("/predict", {"x": 2.0})[0] == 200
        assert len(told.read_text()) < 1500


def test_a_flood_of_one_client_does_not_keep_another_waiting(tmp_path: Path) -> None:
    pool = msgspec.structs.replace(
        simulated_pool(tmp_path / "m", law={"fixed_ms": 400}),
        serving=ServingOptions(max_batch=4, timeout=60),
    )
    with NodeProcess(tmp_path / "home").serve(pool) as node, ThreadPoolExecutor(120) as clients:
        flood = [
            clients.submit(node.post, "/predict", {"text": "x"}, {"modelyard-client": "flood"})
            for _ in range(100)
        ]
        wait_until(lambda: node.status().pools[0].queued > 40, what="a long queue")
        status, _ = node.post("/predict", {"text": "x"}, {"modelyard-client": "other"})
        assert status == 200
        assert sum(not call.done() for call in flood) > 20
        assert {call.result()[0] for call in flood} == {200}


def test_records_of_a_batch_that_gave_their_place_to_another_client_come_back(tmp_path: Path) -> None:
    go = tmp_path / "go"
    code = (
        "import pathlib, time\ndef predict(x: float):\n"
        f"    while x and not pathlib.Path({str(go)!r}).exists():\n        time.sleep(0.01)\n    return x\n"
    )
    pool = function_pool(tmp_path / "m", code, max_batch=1, max_queue=8, timeout=100)
    records = [{"x": n + 1.0} for n in range(12)]
    single = (
        b"POST /predict HTTP/1.1\r\nhost: localhost\r\nmodelyard-client: few\r\n"
        b'content-type: application/json\r\ncontent-length: 8\r\n\r\n{"x": 5}'
    )
    with (
        NodeProcess(tmp_path / "home").serve(pool) as node,
        ThreadPoolExecutor(3) as clients,
        socket.create_connection(("127.0.0.1", node.port), timeout=100) as first,
        socket.create_connection(("127.0.0.1", node.port), timeout=100) as second,
    ):
        batches = [
            clients.submit(node.post, "/predict/batch", {"records": records}, {"modelyard-client": "many"})
            for _ in range(3)
        ]
        wait_until(lambda: node.status().pools[0].queued == 8, what="a full queue")
        for other in (first, second):
            other.sendall(single)
        for _ in range(3):
            assert node.status().pools[0].queued == 8  # by when both have a place
        go.touch()
        for other in (first, second):
            assert other.recv(65536).startswith(b"HTTP/1.1 200")
        for batch in batches:
            assert batch.result()[1]["predictions"] == [{"output": each["x"]} for each in records]


def test_a_stream_whose_executor_dies_ends_and_does_not_begin_again(tmp_path: Path) -> None:
    code = "import os, time\ndef predict(x: float):\n    yield 1\n    time.sleep(0.3)\n    os._exit(3) if x else None\n    yield 2\n"
    with NodeProcess(tmp_path / "home").serve(function_pool(tmp_path / "m", code)) as node:
        _, _, body = node.call(
            "POST", "/v2/models/function/generate_stream", b'{"x": 1}', {"content-type": "application/json"}
        )
        assert body.count(b'"output"') == 1
        assert b"in the middle" in body


def test_a_process_that_dies_while_results_are_on_their_way_is_not_held_against_them(
    tmp_path: Path,
) -> None:
    """The results of a batch are packed while the next one computes: its calls are computed again, unblamed."""
    pool = simulated_pool(tmp_path / "m", law={"fixed_ms": 20}, faults={"exit": "poison"})

    def call(number: int) -> int:
        text = "poison" if number % 150 == 149 else "x" * (1 + number % 30)
        status, _ = node.post("/models/simulated/predict", {"text": text})
        return status

    with NodeProcess(tmp_path / "home").serve(pool) as node, ThreadPoolExecutor(100) as clients:
        texts(node, 200)
        statuses = list(clients.map(call, range(450)))
    assert [number for number, status in enumerate(statuses) if status != 200] == [149, 299, 449]
    assert {statuses[number] for number in (149, 299, 449)} == {500}


def test_a_replica_that_has_outlived_its_environment_is_started_anew(tmp_path: Path) -> None:
    pool = function_pool(
        tmp_path / "m",
        "import os\ndef predict(x: float):\n    import colorsys\n    return float(os.getpid())\n",
    )
    place = tmp_path / "environment"
    command = [sys.executable, "-m", "venv", "--without-pip", place]
    subprocess.run(command, check=True)
    spec = msgspec.structs.replace(pool.executor, python=str(place / "bin" / "python"))
    with NodeProcess(tmp_path / "home").serve(msgspec.structs.replace(pool, executor=spec)) as node:
        before = node.post("/predict", {"x": 2.0})
        shutil.rmtree(place)
        subprocess.run(command, check=True)

        def renewed() -> bool:
            status, answer = node.post("/predict", {"x": 2.0})
            assert status in (200, 503), answer
            return status == 200 and answer != before[1]

        wait_until(renewed, what="another process")


def test_a_pool_whose_environment_is_not_there_waits_for_it_and_says_so(tmp_path: Path) -> None:
    pool = function_pool(tmp_path / "m", "def predict(x: float):\n    return 2 * x\n")
    place = tmp_path / "environment" / "bin" / "python"
    spec = msgspec.structs.replace(pool.executor, python=str(place))
    pool = msgspec.structs.replace(pool, executor=spec)
    with NodeProcess(tmp_path / "home").serve(pool).start(wait=False) as node:
        wait_until(lambda: node.status().pools[0].failure, what="a word on it")
        told = node.status().pools[0]
        assert told.state == "starting"  # it has not failed: a rollout waits for it
        assert "not on this machine" in (told.failure or "")
        status, answer = node.post("/predict", {"x": 2.0})
        assert (status, answer["code"]) == (503, "unavailable")
        assert "the control plane builds it again" in answer["error"]
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", place.parent.parent], check=True)
        wait_until(lambda: node.status().pools[0].state == "ready", what="a replica in the environment")
        assert node.status().pools[0].failure is None
        assert node.post("/predict", {"x": 2.0})[0] == 200
