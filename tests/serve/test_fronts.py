"""Several processes behind one port: the same answers and errors, whoever of them is asked or dies."""

import http.client
import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from modelyard.core.deployment import ServingOptions
from modelyard.core.routes import RouteTable
from modelyard.core.signature import TensorSpec
from support.models import function_pool, mlp_pool
from support.node import KEY, NodeProcess, wait_until

SLOW = """
import time
def predict(text: str, seconds: float = 0.0):
    if text == "boom":
        raise ValueError("no boom, please")
    time.sleep(seconds)
    return {"said": text}
"""
SLOW_INPUTS = (
    TensorSpec(name="text", datatype="BYTES", kind="text"),
    TensorSpec(name="seconds", datatype="FP64", optional=True),
)

NEGATED = "def predict(x: float):\n    return -x\n"
MARKS = {"modelyard-cache", "modelyard-fallback"}


class FrontedNode(NodeProcess):
    """A node with two fronts."""

    def __init__(self, root: Path, processes: int = 2, **environment: str) -> None:
        super().__init__(root, MODELYARD_NODE_PROCESSES=str(processes), **environment)

    def fronts(self) -> list[int]:
        """The fronts that run: the owner's children that are no executors."""
        assert self.process is not None
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if parent == self.process.pid and b"modelyard.serve.front" in command:
                    found.append(int(entry.name))
        return found


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("fronts")
    process = FrontedNode(root / "home", MODELYARD_MAX_BODY="1000000")
    process.serve(
        mlp_pool(root / "mlp"), function_pool(root / "echo", SLOW, name="echo", inputs=SLOW_INPUTS)
    )
    with process:
        yield process


def test_both_fronts_answer_what_one_process_answers(node: FrontedNode, tmp_path) -> None:
    assert len(node.fronts()) == 2
    with NodeProcess(tmp_path / "home").serve(mlp_pool(tmp_path / "mlp")) as alone:
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 64], "data": [0.25] * 64}]}
        expected = alone.post("/v2/models/mlp/infer", body, {"x-request-id": "same"})
        assert expected[0] == 200
        for _ in range(8):  # connections of their own: both fronts take some
            assert node.post("/v2/models/mlp/infer", body, {"x-request-id": "same"}) == expected
        for path in ("/v2/models/mlp", "/health", "/ready", "/v2"):
            assert node.get(path) == alone.get(path)
        refused = alone.post("/models/mlp/predict", {"x": [1.0]}, {"x-request-id": "same"})
        assert refused[0] == 400
        assert node.post("/models/mlp/predict", {"x": [1.0]}, {"x-request-id": "same"}) == refused
        missing = alone.post("/models/none/predict", {}, {"x-request-id": "same"})
        assert missing[0] == 404
        assert node.post("/models/none/predict", {}, {"x-request-id": "same"}) == missing


def test_errors_of_a_model_and_of_time_are_told(node: FrontedNode) -> None:
    status, answer = node.post("/models/echo/predict", {"text": "boom"})
    assert (status, answer["code"]) == (500, "internal")
    assert "no boom" in answer["error"]
    status, answer = node.post(
        "/models/echo/predict", {"text": "a", "seconds": 2.0}, {"modelyard-timeout": "0.2"}
    )
    assert (status, answer["code"]) == (504, "deadline")


def test_what_the_cache_and_the_fallback_answered_is_marked(tmp_path) -> None:
    broken = tmp_path / "broken"
    code = f"import os\ndef predict(x: float):\n    return x\nif os.path.exists({str(broken)!r}):\n    raise SystemExit(3)\n"
    pools = [
        msgspec.structs.replace(
            function_pool(tmp_path / name, code if name == "fails" else NEGATED, name=name),
            serving=ServingOptions(**serving),
        )
        for name, serving in (
            ("fails", {"fallback": "plain"}),
            ("kept", {"cache": 1_000_000}),
            ("plain", {}),
        )
    ]
    with FrontedNode(tmp_path / "home").serve(*pools) as node:

        def marks(name: str, x: float) -> dict[str, str]:
            body = {"inputs": [{"name": "x", "shape": [], "datatype": "FP64", "data": [x]}]}
            found = []
            for path, value in ((f"/v2/models/{name}/infer", body), (f"/models/{name}/predict", {"x": x})):
                status, headers, answer = node.call(
                    "POST", path, msgspec.json.encode(value), {"content-type": "application/json"}
                )
                assert status == 200, answer
                found += [{k: v for k, v in headers.items() if k in MARKS}]
            assert found[0] == found[1] or found == [
                {"modelyard-cache": "miss"},
                {"modelyard-cache": "hit"},
            ]
            return found[0]

        assert marks("plain", 1.0) == marks("fails", 1.0) == {}
        assert marks("kept", 1.0) == {"modelyard-cache": "miss"}
        assert marks("kept", 1.0) == {"modelyard-cache": "hit"}
        records = json.dumps({"records": [{"x": 1.0}, {"x": 2.0}]}).encode()
        for word in ("miss", "hit"):
            _, headers, _ = node.call(
                "POST", "/models/kept/predict/batch", records, {"content-type": "application/json"}
            )
            assert headers["modelyard-cache"] == word
        broken.touch()
        for pid in node.pids("fails"):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: {pool.state for pool in node.status().pools} == {"ready", "failing"})
        assert marks("fails", 1.0) == {"modelyard-fallback": "plain"}


def test_a_batch_is_answered_in_order(node: FrontedNode) -> None:
    records = [{"text": str(number)} for number in range(50)]
    status, answer = node.post("/models/echo/predict/batch", {"records": records})
    assert status == 200
    assert [each["output"]["said"] for each in answer["predictions"]] == [str(n) for n in range(50)]


def test_a_body_over_the_limit_is_refused_at_the_front(node: FrontedNode) -> None:
    status, _, body = node.call("POST", "/models/echo/predict", b"x" * 1_000_001)
    assert (status, json.loads(body)["code"]) == (413, "too_large")


def test_metrics_are_those_of_all_fronts(node: FrontedNode) -> None:
    def answered() -> float:
        text = node.call("GET", "/metrics")[2].decode()
        lines = [
            line for line in text.splitlines()
            if line.startswith('modelyard_calls_total{code="ok",endpoint="mlp"')
        ]  # fmt: skip
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    before = answered()
    with ThreadPoolExecutor(8) as clients:
        statuses = list(
            clients.map(lambda _: node.post("/models/mlp/predict", {"x": [0.0] * 64})[0], range(40))
        )
    assert statuses == [200] * 40
    assert answered() == before + 40


def test_a_client_that_leaves_takes_its_call_with_it(node: FrontedNode) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", node.port)
    before = _count(node, "modelyard_queue_seconds_count")
    # Long enough that it leaves before it is answered.
    connection.request("POST", "/models/echo/predict", json.dumps({"text": "left", "seconds": 20.0}))
    wait_until(lambda: _count(node, "modelyard_queue_seconds_count") > before, what="a call being computed")
    connection.close()
    wait_until(
        lambda: _count(node, "modelyard_calls_total", "cancelled") == 1, what="the owner's hearing of it"
    )


def _count(node: NodeProcess, name: str, code: str = "") -> float:
    """The sum of a metric of the endpoint ``echo``."""
    text = node.call("GET", "/metrics")[2].decode()
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith(name) and 'endpoint="echo"' in line and code in line
    )


def test_a_killed_front_is_replaced_and_the_other_goes_on(node: FrontedNode) -> None:
    before = set(node.fronts())
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    lost = answered = 0
    for _ in range(50):
        try:
            answered += node.post("/models/mlp/predict", {"x": [0.0] * 64})[0] == 200
        except (http.client.HTTPException, OSError):
            lost += 1  # it was on a connection that the dead one had taken
    assert answered >= 48
    assert lost <= 2
    wait_until(lambda: len(node.fronts()) == 2 and victim not in node.fronts(), what="a new front")
    assert node.post("/models/mlp/predict", {"x": [0.0] * 64})[0] == 200


def test_a_changed_table_is_served_by_all_fronts_once_it_is_accepted(tmp_path) -> None:
    old = function_pool(tmp_path / "a", "def predict(x: float):\n    return 'old'\n")
    new = function_pool(
        tmp_path / "b",
        "def predict(word: str):\n    return 'new'\n",
        inputs=(TensorSpec(name="word", datatype="BYTES", kind="text"),),
    )
    new = msgspec.structs.replace(new, deployment="function-2", version=2)
    with FrontedNode(tmp_path / "home").serve(old) as node:
        assert node.post("/predict", {"x": 1.0}) == (200, {"output": "old"})
        node.serve(old, new, routes={"function": "function-1"})
        wait_until(
            lambda: [pool.state for pool in node.status().pools] == ["ready", "ready"], what="both pools"
        )
        node.serve(new)
        for _ in range(16):
            assert node.post("/predict", {"word": "a"}) == (200, {"output": "new"})
        key = "0" * 64
        table = RouteTable(generation=9, keys=(key,))
        body = msgspec.json.encode(table)
        assert node.call("PUT", "/node/routes", body, {"authorization": f"Bearer {KEY}"})[0] == 204
        for _ in range(8):
            assert node.post("/predict", {"word": "a"})[0] == 401


def test_an_endpoint_that_starts_is_told_as_such_and_served_when_ready(tmp_path) -> None:
    slow = "import time\ntime.sleep(1)\ndef predict(x: float):\n    return 'here'\n"
    pool = msgspec.structs.replace(function_pool(tmp_path / "slow", slow), signature=None)
    with FrontedNode(tmp_path / "home") as node:
        node.serve(pool)
        assert node.post("/predict", {"x": 1.0})[0] in (200, 503)
        wait_until(lambda: node.get("/ready")[0] == 200)
        assert node.post("/predict", {"x": 1.0}) == (200, {"output": "here"})


def test_on_sigterm_what_is_there_is_answered_and_all_end(tmp_path) -> None:
    pool = function_pool(tmp_path / "echo", SLOW, name="echo", inputs=SLOW_INPUTS)
    with FrontedNode(tmp_path / "home").serve(pool) as node:
        fronts = node.fronts()
        answers: list[int] = []
        call = threading.Thread(
            target=lambda: answers.append(
                node.post("/models/echo/predict", {"text": "a", "seconds": 2.0})[0]
            )
        )
        call.start()
        wait_until(lambda: _count(node, "modelyard_queue_seconds_count") == 1, what="a call being computed")
        node.stop()
        call.join()
        assert answers == [200]
        assert not any(_lives(pid) for pid in fronts)
        assert list(node.home.run.glob("*.sock")) == []


def test_fronts_end_when_their_owner_is_killed_and_the_port_is_free(tmp_path) -> None:
    node = FrontedNode(tmp_path / "home").serve(mlp_pool(tmp_path / "mlp")).start()
    fronts = node.fronts()
    node.kill()
    wait_until(lambda: not any(_lives(pid) for pid in fronts), what="the fronts' end")
    with node.start():
        assert node.post("/models/mlp/predict", {"x": [0.0] * 64})[0] == 200


def _lives(pid: int) -> bool:
    from modelyard.host.process import is_alive

    return is_alive(pid)


def test_a_home_with_a_long_path_has_fronts_too(tmp_path) -> None:
    home = tmp_path / ("a" * 60) / ("b" * 60)
    with FrontedNode(home).serve(mlp_pool(tmp_path / "mlp")) as node:
        assert node.post("/models/mlp/predict", {"x": [0.0] * 64})[0] == 200
