"""What users of other servers were hurt by, one test for each line of *Serving* in the notes on peers: on a
real node with real executors. The lines that speak of proteins are tests/system/test_esm2.py (means
without begin and end, the alphabet, nothing cut off in silence); that padding is avoided and not only
accounted for is tests/policy; much more of loading by memory is tests/serve/pool/test_memory.py.
"""

import json
import os
import socket
import venv
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest

from modelyard.core.deployment import ServingOptions
from modelyard.core.routes import Pool
from modelyard.core.signature import ParameterSpec
from support.models import function_pool, mlp_pool, simulated_pool
from support.node import NodeProcess, wait_until

LONG = 3600.0  # seconds: an answer that comes does not come from a time-out


class Gate:
    """A model that computes ``x == 1`` until somebody opens, and writes down whatever it computes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.open = folder / "open"
        self.seen = folder / "seen"
        self.folder = folder / "model"

    def pool(self, then: str = "return x", **changes: object) -> Pool:
        """``then`` is what it does with a number once it has written it down."""
        code = (
            "import os, time\ndef predict(x: float, times: int = 1):\n"
            f"    open({str(self.seen)!r}, 'a').write(f'{{x}}\\n')\n"
            f"    while x == 1 and not os.path.exists({str(self.open)!r}):\n        time.sleep(0.01)\n"
            f"    {then}\n"
        )
        times = ParameterSpec(name="times", type="int", default=1)
        return function_pool(self.folder, code, parameters=(times,), **{"timeout": LONG, **changes})  # type: ignore[arg-type]

    def computed(self) -> list[float]:
        """All that was computed, but for what the node asks to see that it works."""
        lines = self.seen.read_text().split() if self.seen.exists() else []
        return [float(line) for line in lines if float(line) != 0]

    def close(self, node: NodeProcess, clients: ThreadPoolExecutor) -> Future[tuple[int, dict]]:
        """Occupy the executor with a call that waits for the gate."""
        held = clients.submit(node.post, "/predict", {"x": 1.0})
        wait_until(lambda: 1.0 in self.computed(), what="the call that waits")
        return held

    def queued(self, node: NodeProcess, count: int) -> None:
        """Wait until so many calls wait."""
        wait_until(lambda: node.status().pools[0].queued >= count, what=f"{count} calls in the queue")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    made = Gate(tmp_path / "gate")
    yield made
    made.open.touch()


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool


def test_a_bad_item_in_a_batch_does_not_fail_its_batch_mates(
    gate: Gate, tmp_path: Path, clients: ThreadPoolExecutor
) -> None:
    pool = gate.pool("if x == 13: raise ValueError('no thirteen')\n    return x")
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        held = gate.close(node, clients)
        calls = [clients.submit(node.post, "/predict", {"x": x}) for x in (2.0, 13.0, 3.0)]
        gate.queued(node, 3)
        gate.open.touch()
        assert held.result() == (200, {"output": 1.0})
        assert calls[0].result() == (200, {"output": 2.0})
        assert calls[2].result() == (200, {"output": 3.0})
        status, answer = calls[1].result()
        assert status == 500
        assert "no thirteen" in answer["error"]


def test_a_workers_death_is_known_at_once(gate: Gate, tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "home").serve(
        gate.pool("os._exit(7) if x == 13 else 0\n    return x")
    ) as node:
        status, answer = node.post("/predict", {"x": 13.0})
        assert (status, answer["code"]) == (500, "internal")
        assert node.post("/predict", {"x": 2.0}) == (200, {"output": 2.0})


def test_a_worker_that_is_dead_is_not_called_ready(gate: Gate, tmp_path: Path) -> None:
    # It dies at every start but the first.
    gate.folder.mkdir(parents=True)
    pool = gate.pool()
    again = f"import os\nif os.path.exists({str(gate.seen)!r}): os._exit(7)\n"
    model = gate.folder / "model.py"
    model.write_text(again + model.read_text())
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        os.kill(node.pids("function")[0], 9)
        wait_until(lambda: node.get("/ready")[0] == 503, what="the node to say that it is not ready")
        assert node.get("/v2/models/function/ready")[0] == 503


def test_cancelling_one_caller_does_not_hang_the_others(
    gate: Gate, tmp_path: Path, clients: ThreadPoolExecutor
) -> None:
    with NodeProcess(tmp_path / "home").serve(gate.pool()) as node:
        held = gate.close(node, clients)
        before = clients.submit(node.post, "/predict", {"x": 2.0})
        gate.queued(node, 1)
        leaver = ask(node, 3.0)
        gate.queued(node, 2)
        after = clients.submit(node.post, "/predict", {"x": 4.0})
        gate.queued(node, 3)
        leaver.close()
        wait_until(lambda: node.status().pools[0].queued == 2, what="the leaver's call taken out")
        gate.open.touch()
        assert [call.result()[1]["output"] for call in (held, before, after)] == [1.0, 2.0, 4.0]


def test_cancelling_the_caller_that_is_computed_does_not_hang_the_others(
    gate: Gate, tmp_path: Path, clients: ThreadPoolExecutor
) -> None:
    with NodeProcess(tmp_path / "home").serve(gate.pool()) as node:
        leaver = ask(node, 1.0)
        wait_until(lambda: gate.computed() == [1.0], what="the call that waits")
        waiting = clients.submit(node.post, "/predict", {"x": 2.0})
        gate.queued(node, 1)
        leaver.close()
        gate.open.touch()
        assert waiting.result() == (200, {"output": 2.0})


def test_a_queued_request_whose_caller_left_is_not_computed(
    gate: Gate, tmp_path: Path, clients: ThreadPoolExecutor
) -> None:
    with NodeProcess(tmp_path / "home").serve(gate.pool()) as node:
        held = gate.close(node, clients)
        leaver = ask(node, 3.0)
        gate.queued(node, 1)
        leaver.close()
        wait_until(lambda: node.status().pools[0].queued == 0, what="the leaver's call taken out")
        gate.open.touch()
        assert held.result() == (200, {"output": 1.0})
        assert node.post("/predict", {"x": 2.0}) == (200, {"output": 2.0})
        assert gate.computed() == [1.0, 2.0]


def test_a_cache_key_includes_model_and_version_digest(tmp_path: Path) -> None:
    def cached(endpoint: str, digest: str, factor: int) -> Pool:
        code = f"def predict(x: float):\n    return {factor} * x\n"
        pool = function_pool(tmp_path / f"{endpoint}{digest}", code, name=endpoint)
        return msgspec.structs.replace(
            pool,
            digest=digest * 64,
            deployment=f"{endpoint}-{digest}",
            serving=ServingOptions(cache=1_000_000),
        )

    with NodeProcess(tmp_path / "home").serve(cached("a", "1", 2), cached("b", "1", 3)) as node:
        for _ in range(2):
            assert node.post("/models/a/predict", {"x": 5.0}) == (200, {"output": 10.0})
            assert node.post("/models/b/predict", {"x": 5.0}) == (200, {"output": 15.0})
        newer = cached("a", "2", 7)
        node.serve(newer, cached("b", "1", 3))
        wait_until(
            lambda: node.post("/models/a/predict", {"x": 6.0})[1].get("output") == 42.0, what="version 2"
        )
        assert node.post("/models/a/predict", {"x": 5.0}) == (200, {"output": 35.0})


def test_per_request_options_stay_per_request(
    gate: Gate, tmp_path: Path, clients: ThreadPoolExecutor
) -> None:
    with NodeProcess(tmp_path / "home").serve(gate.pool("return [x, times]")) as node:
        gate.close(node, clients)
        asked = [{"x": 2.0, "times": 7}, {"x": 3.0}, {"x": 4.0, "times": 9}, {"x": 5.0}]
        calls = [clients.submit(node.post, "/predict", record) for record in asked]
        gate.queued(node, 4)
        gate.open.touch()
        answers = [call.result()[1]["output"] for call in calls]
        assert answers == [[2.0, 7], [3.0, 1], [4.0, 9], [5.0, 1]]


def test_a_shape_change_at_the_head_does_not_end_the_batch(tmp_path: Path) -> None:
    pool = simulated_pool(tmp_path / "m", law={"fixed_ms": 20.0, "per_padded_us": 1.0})
    texts = ["x" * (1 + 40 * (number % 2)) for number in range(256)]
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        # Twice: by the second time the node knows what a batch costs here.
        for _ in range(2):
            before = batches(node)
            status, answer = node.post("/predict/batch", {"records": [{"text": text} for text in texts]})
            assert status == 200
            assert [each["length"] for each in answer["predictions"]] == [len(text) for text in texts]
        assert batches(node) - before <= len(texts) / 4


def test_a_misfit_stays_at_the_head(tmp_path: Path, clients: ThreadPoolExecutor) -> None:
    serving = ServingOptions(max_cost=100, timeout=LONG)
    pool = simulated_pool(tmp_path / "m", law={"fixed_ms": 2.0}, serving=serving)
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        stop = tmp_path / "stop"
        answered = [0] * 8

        def flood(number: int) -> None:
            while not stop.exists():
                assert node.post("/predict", {"text": "short"})[0] == 200
                answered[number] += 1

        floods = [clients.submit(flood, number) for number in range(8)]
        try:
            wait_until(lambda: all(answered), what="a flood")
            # More than a batch may cost: it goes alone, and it goes.
            assert node.post("/predict", {"text": "x" * 1000}) == (200, {"length": 1000})
        finally:
            stop.touch()
        for flooding in floods:
            flooding.result()


def test_time_outs_count_from_arrival(gate: Gate, tmp_path: Path, clients: ThreadPoolExecutor) -> None:
    with NodeProcess(tmp_path / "home").serve(gate.pool()) as node:
        held = gate.close(node, clients)
        status, answer = node.post("/predict", {"x": 2.0}, {"modelyard-timeout": "0.2"})
        assert (status, answer["code"]) == (504, "deadline")
        assert not held.done()
        gate.open.touch()
        assert held.result()[0] == 200
        assert node.post("/predict", {"x": 3.0})[0] == 200
        assert 2.0 not in gate.computed()


def test_time_outs_fire_while_running(gate: Gate, tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "home").serve(gate.pool()) as node:
        # Long enough to come to the executor, and it has to have come there.
        status, answer = node.post("/predict", {"x": 1.0}, {"modelyard-timeout": "3"})
        assert (status, answer["code"]) == (504, "deadline")
        assert gate.computed() == [1.0]


def test_models_are_loaded_by_memory_and_evicted_automatically(tmp_path: Path) -> None:
    """Five models in the memory of three: each is answered, and no more are in memory than fit."""
    code = "BALLAST = bytearray(b'x') * 100_000_000\ndef predict(x: float):\n    return x + 1\n"
    pools = [
        msgspec.structs.replace(function_pool(tmp_path / f"m{n}", code, name=f"m{n}"), memory=120_000_000)
        for n in range(5)
    ]
    budget = 420_000_000
    with NodeProcess(tmp_path / "home", MODELYARD_MEMORY=str(budget)).serve(*pools) as node:
        for n in [*range(5), *range(5)]:
            assert node.post(f"/models/m{n}/predict", {"x": 1.0}) == (200, {"output": 2.0})
            assert node.status().memory.used <= budget
        states = [pool.state for pool in node.status().pools]
        assert "asleep" in states


def test_two_models_load_at_the_same_time_and_a_third_serves_meanwhile(tmp_path: Path) -> None:
    def loading(name: str, other: str) -> Pool:
        code = (
            f"import os, time\nopen({str(tmp_path / name)!r}, 'w').close()\n"
            f"while not (os.path.exists({str(tmp_path / other)!r}) and os.path.exists({str(tmp_path / 'go')!r})):\n"
            "    time.sleep(0.01)\n"
            "def predict(x: float):\n    return x\n"
        )
        return function_pool(tmp_path / f"model-{name}", code, name=name)

    pools = (mlp_pool(tmp_path / "mlp"), loading("a", "b"), loading("b", "a"))
    with NodeProcess(tmp_path / "home").serve(*pools).start(wait=False) as node:
        wait_until(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists(), what="both loading")
        wait_until(lambda: node.get("/v2/models/mlp/ready")[0] == 200, what="the third")
        assert node.post("/models/mlp/predict", {"x": [0.0] * 64})[0] == 200
        (tmp_path / "go").touch()
        wait_until(lambda: node.get("/ready")[0] == 200, what="all three")


def test_dependencies_that_conflict_are_each_models_own(tmp_path: Path) -> None:
    def needing(version: str) -> Pool:
        environment = tmp_path / f"environment-{version}"
        venv.create(environment, with_pip=False, symlinks=True)
        (packages,) = environment.glob("lib/python3*/site-packages")
        (packages / "tiny.py").write_text(f"VERSION = {version!r}\n")
        code = "import tiny\ndef predict(x: float):\n    return tiny.VERSION\n"
        pool = function_pool(tmp_path / f"model-{version}", code, name=f"needs-{version}")
        python = str(environment / "bin" / "python")
        return msgspec.structs.replace(pool, executor=msgspec.structs.replace(pool.executor, python=python))

    with NodeProcess(tmp_path / "home").serve(needing("1"), needing("2")) as node:
        assert node.post("/models/needs-1/predict", {"x": 0.0}) == (200, {"output": "1"})
        assert node.post("/models/needs-2/predict", {"x": 0.0}) == (200, {"output": "2"})


def test_memory_is_not_models_times_workers(tmp_path: Path, clients: ThreadPoolExecutor) -> None:
    echo = "def predict(x: float):\n    return x\n"
    pools = [function_pool(tmp_path / name, echo, name=name) for name in ("a", "b", "c")]
    pools[2] = msgspec.structs.replace(pools[2], replicas=2)
    with NodeProcess(tmp_path / "home").serve(*pools) as node:
        pids = wait_until(
            lambda: (all_pids := executors(node)) and len(all_pids) == 4 and all_pids, what="four"
        )
        calls = [
            clients.submit(node.post, f"/models/{name}/predict", {"x": float(number)})
            for number in range(40)
            for name in ("a", "b", "c")
        ]
        assert all(call.result()[0] == 200 for call in calls)
        # One process for each replica that was asked for, however many call, and no copy besides.
        assert executors(node) == pids
        assert sorted(pids) == sorted(pid for name in ("a", "b", "c") for pid in node.pids(name))


def test_batched_equals_single_within_tolerance(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((32, 64)).astype("f")
    with NodeProcess(tmp_path / "home").serve(mlp_pool(tmp_path / "mlp")) as node:
        single = [node.post("/predict", {"x": row.tolist()})[1]["y"] for row in rows]
        _, answer = node.post("/predict/batch", {"records": [{"x": row.tolist()} for row in rows]})
        whole = {"name": "x", "datatype": "FP32", "shape": [32, 64], "data": rows.ravel().tolist()}
        _, tensor = node.post("/v2/models/mlp/infer", {"inputs": [whole]})
    together = np.array(tensor["outputs"][0]["data"]).reshape(32, 10)
    np.testing.assert_allclose([each["y"] for each in answer["predictions"]], single, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(together, single, rtol=1e-5, atol=1e-6)


def ask(node: NodeProcess, x: float) -> socket.socket:
    """A caller that has asked, and may leave."""
    body = json.dumps({"x": x}).encode()
    client = socket.create_connection(("127.0.0.1", node.port))
    client.sendall(
        b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    )
    return client


def batches(node: NodeProcess) -> int:
    """How many batches were computed."""
    text = node.call("GET", "/metrics")[2].decode()
    lines = [line for line in text.splitlines() if line.startswith("modelyard_batch_size_count")]
    assert lines, text
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines))


def executors(node: NodeProcess) -> list[int]:
    """The processes that the node has started."""
    assert node.process is not None
    return [
        int(pid)
        for pid in Path(f"/proc/{node.process.pid}/task/{node.process.pid}/children").read_text().split()
    ]
