"""Too much work, or none who could do it: kept answers and the fallback stand in, and say so."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from modelyard.core.deployment import ServingOptions
from modelyard.core.signature import TensorSpec
from support.models import function_pool
from support.node import NodeProcess, wait_until

HOLD = """
import os, time
def predict(x: float):
    if x == 1:
        open({began!r}, "w").close()
        while not os.path.exists({go!r}):
            time.sleep(0.01)
    return x
"""
GIVES = (TensorSpec(name="output", datatype="BYTES", kind="json"),)


def serving(pool, **options: object):
    return msgspec.structs.replace(pool, serving=ServingOptions(**options))


def post(node: NodeProcess, path: str, value: object) -> tuple[int, dict, dict]:
    status, headers, body = node.call(
        "POST", path, msgspec.json.encode(value), {"content-type": "application/json"}
    )
    return status, dict(headers), msgspec.json.decode(body)


def test_a_full_queue_is_answered_by_the_fallback_which_is_named(tmp_path: Path) -> None:
    began, go = tmp_path / "began", tmp_path / "go"
    code = HOLD.format(began=str(began), go=str(go))
    slow = serving(
        function_pool(tmp_path / "slow", code, name="slow"),
        max_queue=1, max_batch=1, timeout=60.0, fallback="plain",
    )  # fmt: skip
    plain = serving(
        function_pool(tmp_path / "plain", "def predict(x: float):\n    return -x\n", name="plain"),
        fallback="slow",
    )
    other = function_pool(
        tmp_path / "other", "def predict(text: str):\n    return text\n", name="other",
        inputs=(TensorSpec(name="text", datatype="BYTES", kind="text"),),
    )  # fmt: skip
    with (
        NodeProcess(tmp_path / "home").serve(slow, plain, other) as node,
        ThreadPoolExecutor(2) as clients,
    ):
        first = clients.submit(node.post, "/models/slow/predict", {"x": 1.0})
        wait_until(began.exists, what="the first call")
        second = clients.submit(node.post, "/models/slow/predict", {"x": 2.0})
        wait_until(lambda: node.status().pools[0].queued == 1, what="a full queue")
        status, headers, answer = post(node, "/models/slow/predict", {"x": 3.0})
        assert (status, answer, headers.get("modelyard-fallback")) == (200, {"output": -3.0}, "plain")
        status, _, batch = post(node, "/models/slow/predict/batch", {"records": [{"x": 4.0}]})
        assert status == 200
        assert 'step="fallback"' in node.call("GET", "/metrics")[2].decode()
        go.touch()
        assert first.result() == (200, {"output": 1.0})
        assert second.result() == (200, {"output": 2.0})
        assert batch["predictions"] in ([{"output": -4.0}], [{"output": 4.0}])


def test_two_that_name_each_other_end_in_a_refusal(tmp_path: Path) -> None:
    dies = "import os\ndef predict(x: float):\n    return x\nif os.path.exists({!r}):\n    raise SystemExit(3)\n"
    broken = tmp_path / "broken"
    pools = [
        serving(function_pool(tmp_path / name, dies.format(str(broken)), name=name), fallback=other)
        for name, other in (("a", "b"), ("b", "a"))
    ]
    with NodeProcess(tmp_path / "home").serve(*pools) as node:
        broken.touch()
        for name in ("a", "b"):
            for pid in node.pids(name):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: {pool.state for pool in node.status().pools} == {"failing"}, what="both to fail")
        status, answer = node.post("/models/a/predict", {"x": 1.0})
        assert (status, answer["code"]) == (503, "unavailable")


def test_an_answer_that_was_kept_too_long_is_better_than_none(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    code = f"import os\ndef predict(x: float):\n    return x\nif os.path.exists({str(broken)!r}):\n    raise SystemExit(3)\n"
    pool = serving(function_pool(tmp_path / "m", code, name="m"), cache=1_000_000, cache_ttl=0.01)
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        assert post(node, "/models/m/predict", {"x": 1.0})[0] == 200
        broken.touch()
        for pid in node.pids("m"):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: node.status().pools[0].state == "failing", what="failing")
        status, headers, answer = post(node, "/models/m/predict", {"x": 1.0})
        assert (status, answer, headers.get("modelyard-cache")) == (200, {"output": 1.0}, "stale")
        assert post(node, "/models/m/predict", {"x": 2.0})[0] == 503
        assert 'step="stale"' in node.call("GET", "/metrics")[2].decode()
