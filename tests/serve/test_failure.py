"""What breaks stays where it broke: dead, hanging, greedy and raising models on a real node."""

import json
import os
import re
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelyard.core.signature import ParameterSpec, TensorSpec
from support.models import function_pool, mlp_pool
from support.node import NodeProcess, wait_until


def waits(go: Path, began: Path, when: str = "x == 1") -> str:
    """A model that writes down what it computes, and computes some of it until ``go`` is there."""
    return (
        "import os, time\ndef predict(x: float):\n"
        f"    with open({str(began)!r}, 'a') as file:\n        file.write(f'{{x}}\\n')\n"
        f"    while ({when}) and not os.path.exists({str(go)!r}):\n        time.sleep(0.01)\n"
        "    return x\n"
    )


def computed(began: Path) -> list[float]:
    """What such a model wrote down, but for what the node asks to see that it works."""
    return [x for x in map(float, began.read_text().split()) if x] if began.exists() else []


def test_killed_executors_cost_no_call(tmp_path: Path) -> None:
    go = tmp_path / "go"
    code = waits(go, tmp_path / "began", when="x > 100")
    pool = function_pool(tmp_path / "m", code, max_batch=8, timeout=250)
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        with ThreadPoolExecutor(200) as clients:
            calls = [clients.submit(node.post, "/predict", {"x": float(n)}) for n in range(200)]
            killed: set[int] = set()
            while len(killed) < 3:
                fresh = wait_until(lambda: set(node.pids("function")) - killed, what="a fresh executor")
                wait_until(lambda: node.status().pools[0].queued > 0, what="work in flight")
                os.kill(pid := fresh.pop(), signal.SIGKILL)
                killed.add(pid)
            go.touch()
            answers = [call.result() for call in calls]
        assert answers == [(200, {"output": float(n)}) for n in range(200)]
        assert node.log().count("SIGKILL") >= 3
        assert "killed by SIGKILL" in node.call(
            "GET", "/node/logs/function-1", headers={"authorization": "Bearer a-key-that-only-this-test-knows"}
        )[2].decode()  # fmt: skip


def test_a_lone_call_outlives_kills_that_are_not_its_fault(tmp_path: Path) -> None:
    began = tmp_path / "began"
    code = (
        "import os, time\ndef predict(x: float):\n"
        f"    if x:\n        open({str(began)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
        f"        time.sleep(0 if len(open({str(began)!r}).readlines()) > 3 else 3600)\n    return x\n"
    )
    with (
        NodeProcess(tmp_path / "home").serve(function_pool(tmp_path / "m", code, timeout=250)) as node,
        ThreadPoolExecutor(1) as clients,
    ):
        call = clients.submit(node.post, "/predict", {"x": 1.0})
        for number in (1, 2, 3):
            wait_until(
                lambda number=number: began.exists() and began.read_text().count("\n") == number,
                what=f"computation {number}",
            )
            os.kill(int(began.read_text().split()[-1]), signal.SIGKILL)
        assert call.result() == (200, {"output": 1.0})


def test_a_call_that_kills_its_executor_as_the_kernel_would_fails_alone(tmp_path: Path) -> None:
    code = "import os\ndef predict(x: float):\n    if x == 13:\n        os.kill(os.getpid(), 9)\n    return x\n"
    with NodeProcess(tmp_path / "home").serve(function_pool(tmp_path / "m", code)) as node:
        _, answer = node.post("/predict/batch", {"records": [{"x": float(n)} for n in range(11, 15)]})
        assert [prediction.get("output") for prediction in answer["predictions"]] == [
            11.0,
            12.0,
            None,
            14.0,
        ]
        assert answer["predictions"][2]["code"] == "internal"


def test_frames_that_nobody_asked_for_end_the_executor_and_lose_no_call(tmp_path: Path) -> None:
    code = (
        "import os, sys\ndef predict(x: float):\n"
        "    if x == 13:\n"
        '        frame = b\'{"type":"RESULT","batch":99,"compute_us":0,"items":[]}\'\n'
        "        os.write(int(sys.argv[1]), len(frame).to_bytes(4, 'little') + bytes(4) + frame)\n"
        "    return x\n"
    )
    with NodeProcess(tmp_path / "home").serve(function_pool(tmp_path / "m", code)) as node:
        status, answer = node.post("/predict", {"x": 13.0})
        assert (status, answer["code"]) == (500, "internal")
        assert [node.post("/predict", {"x": float(n)})[0] for n in range(5)] == [200] * 5


def test_what_an_author_puts_into_an_error_never_ends_the_executor(tmp_path: Path) -> None:
    code = (
        "from modelyard_executor.adapter import InvalidInput\n"
        "def predict(x: float):\n"
        "    if x == 1: raise InvalidInput('x', ValueError('odd'))\n"
        "    if x == 2: raise ValueError('\\ud800')\n"
        "    return x\n"
    )
    with NodeProcess(tmp_path / "home").serve(function_pool(tmp_path / "m", code)) as node:
        before = node.pids("function")
        assert node.post("/predict", {"x": 1.0})[0] == 400
        assert node.post("/predict", {"x": 2.0})[0] == 500
        assert node.pids("function") == before


def test_a_batch_longer_than_the_queue_is_answered_whole(tmp_path: Path) -> None:
    pool = function_pool(tmp_path / "m", "def predict(x: float):\n    return x\n", max_queue=10)
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        _, answer = node.post("/predict/batch", {"records": [{"x": float(n)} for n in range(500)]})
        assert [prediction.get("output") for prediction in answer["predictions"]] == [
            float(n) for n in range(500)
        ]


def test_a_parameter_too_large_for_a_header_is_refused(tmp_path: Path) -> None:
    pool = function_pool(
        tmp_path / "m",
        "def predict(x: float, note: str = ''):\n    return x\n",
        parameters=(ParameterSpec(name="note", type="string"),),
    )
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        status, answer = node.post("/predict", {"x": 1.0, "note": "a" * 100_000})
        assert (status, answer["field"]) == (413, "parameters")


def test_an_untyped_function_serves_although_nothing_could_be_made_up_for_it(tmp_path: Path) -> None:
    inputs = (TensorSpec(name="x", datatype="BYTES", kind="json"),)
    pool = function_pool(tmp_path / "m", "def predict(x):\n    return x['a'] + 1\n", inputs=inputs)
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        assert node.post("/predict", {"x": {"a": 1}}) == (200, {"output": 2})


def test_a_call_cut_off_by_the_end_of_a_drain_may_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import time\ndef predict(x: float):\n    time.sleep(600 if x else 0)\n    return x\n"
    pool = function_pool(tmp_path / "m", code, timeout=100)
    with NodeProcess(tmp_path / "home").serve(pool) as node, ThreadPoolExecutor(1) as clients:
        call = clients.submit(node.post, "/predict", {"x": 1.0})
        began = re.compile(rb'modelyard_batch_size_bucket\{[^}]*le="1"[^}]*\} 1\.0')
        wait_until(lambda: began.search(node.call("GET", "/metrics")[2]), what="the call's start")
        assert node.process is not None
        node.process.terminate()
        status, answer = call.result()
        assert (status, answer["code"], answer["retryable"]) == (503, "unavailable", True)


def test_an_executor_killed_while_idle_gets_no_call(tmp_path: Path) -> None:
    pool = function_pool(tmp_path / "m", "def predict(x: float):\n    return x\n", replicas=2)
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        pids = wait_until(lambda: len(node.pids("function")) == 2 and node.pids("function"), what="both")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: pid not in node.pids("function"), what="the death noticed")
            for number in range(4):
                assert node.post("/predict", {"x": float(number)}) == (200, {"output": float(number)})


def test_an_executor_that_dies_of_its_first_prediction_never_serves(tmp_path: Path) -> None:
    """Its input was made up from the signature: a model may refuse that, and must survive it."""
    pool = function_pool(tmp_path / "m", "import os\ndef predict(x: float):\n    os._exit(7)\n")
    with NodeProcess(tmp_path / "home").serve(pool).start(wait=False) as node:
        wait_until(lambda: node.status().pools[0].state == "failing", what="the failure told")
        assert "status 7" in (node.status().pools[0].failure or "")
        status, answer = node.post("/predict", {"x": 1.0})
        assert (status, answer["code"]) == (503, "unavailable")
        assert "a replica is ready" not in node.log()


def test_a_call_that_kills_its_executor_fails_alone(tmp_path: Path) -> None:
    code = "import os\ndef predict(x: float):\n    if x == 13:\n        os._exit(7)\n    return x\n"
    with NodeProcess(tmp_path / "home").serve(function_pool(tmp_path / "m", code)) as node:
        records = [{"x": float(n)} for n in range(20)]
        _, answer = node.post("/predict/batch", {"records": records})
        for n, prediction in enumerate(answer["predictions"]):
            if n == 13:
                assert prediction["code"] == "internal"
                assert "status 7" in prediction["error"]
            else:
                assert prediction == {"output": float(n)}


def test_a_hanging_call_ends_at_its_deadline_and_the_executor_is_replaced(tmp_path: Path) -> None:
    began = tmp_path / "began"
    pool = function_pool(tmp_path / "m", waits(tmp_path / "never", began, when="x == 13"))
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        (first,) = node.pids("function")
        # Long enough to come to the executor, and it has to have come there.
        status, answer = node.post("/predict", {"x": 13.0}, {"modelyard-timeout": "3"})
        assert (status, answer["code"]) == (504, "deadline")
        assert computed(began) == [13.0]
        assert node.pids("function") == [first]  # answered at its deadline, not at the executor's end
        # This one waits for the next executor: the hanging one is ended, not waited for.
        assert node.post("/predict", {"x": 1.0}) == (200, {"output": 1.0})
        assert first not in node.pids("function")


def test_a_model_that_raises_at_load_says_so_and_the_others_do_not_notice(tmp_path: Path) -> None:
    broken = function_pool(tmp_path / "b", "raise RuntimeError('no weights today')\n", name="broken")
    with NodeProcess(tmp_path / "home").serve(mlp_pool(tmp_path / "mlp"), broken).start(wait=False) as node:
        wait_until(lambda: node.get("/v2/models/mlp/ready")[0] == 200)
        status = wait_until(
            lambda: next((p for p in node.status().pools if p.state == "failing"), None), what="failing"
        )
        assert status.endpoint == "broken"
        assert "RuntimeError: no weights today" in (status.failure or "")
        code, answer = node.post("/models/broken/predict", {"x": 1.0})
        assert (code, answer["code"]) == (503, "unavailable")
        assert "no weights today" in answer["error"]
        assert node.post("/models/mlp/predict", {"x": [0.0] * 64})[0] == 200
        assert node.get("/ready")[0] == 503


@pytest.mark.parametrize(
    "exit_line", ["import sys; sys.exit(3)", "import os; os._exit(3)", "import os; os.abort()"]
)
def test_a_model_that_exits_at_load_is_failing(tmp_path: Path, exit_line: str) -> None:
    pool = function_pool(tmp_path / "m", f"print('almost there')\n{exit_line}\n")
    with NodeProcess(tmp_path / "home").serve(pool).start(wait=False) as node:
        status = wait_until(lambda: next((p for p in node.status().pools if p.state == "failing"), None))
        assert status.failure


def test_too_much_memory_at_load_is_told_with_the_limit(tmp_path: Path) -> None:
    code = "hoard = bytearray(600 * 2**20)\nhoard[::4096] = b'x' * len(hoard[::4096])\ndef predict(x: float):\n    return x\n"
    pool = function_pool(tmp_path / "m", code, name="greedy", memory=128 * 2**20)
    with NodeProcess(tmp_path / "home").serve(mlp_pool(tmp_path / "mlp"), pool).start(wait=False) as node:
        status = wait_until(lambda: next((p for p in node.status().pools if p.state == "failing"), None))
        assert "memory limit of 128 MiB" in (status.failure or "") or "MemoryError" in (
            status.failure or ""
        )
        wait_until(lambda: node.post("/models/mlp/predict", {"x": [0.0] * 64})[0] == 200)


def test_an_answer_of_the_wrong_shape_is_the_models_error(tmp_path: Path) -> None:
    outputs = (TensorSpec(name="y", datatype="FP64", shape=(2,)),)
    code = "def predict(x: float):\n    return {'y': [x] * (3 if x == 13 else 2)}\n"
    with NodeProcess(tmp_path / "home").serve(function_pool(tmp_path / "m", code, outputs=outputs)) as node:
        assert node.post("/predict", {"x": 1.0}) == (200, {"y": [1.0, 1.0]})
        status, answer = node.post("/predict", {"x": 13.0})
        assert (status, answer["code"]) == (500, "internal")
        assert "y" in answer["error"]
        records = [{"x": 1.0}, {"x": 13.0}, {"x": 2.0}]
        first, wrong, last = node.post("/predict/batch", {"records": records})[1]["predictions"]
        assert (first, last) == ({"y": [1.0, 1.0]}, {"y": [2.0, 2.0]})
        assert wrong["code"] == "internal"
        assert "y" in wrong["error"]


def test_a_model_that_fails_its_own_example_is_not_ready(tmp_path: Path) -> None:
    import msgspec

    pool = function_pool(tmp_path / "m", "def predict(x: float):\n    return 1 / x\n")
    pool = msgspec.structs.replace(pool, example={"x": 0.0})
    with NodeProcess(tmp_path / "home").serve(pool).start(wait=False) as node:
        status = wait_until(lambda: next((p for p in node.status().pools if p.state == "failing"), None))
        assert "ZeroDivisionError" in (status.failure or "")


def test_a_full_queue_answers_429_with_retry_after(tmp_path: Path) -> None:
    go, began = tmp_path / "go", tmp_path / "began"
    pool = function_pool(tmp_path / "m", waits(go, began), max_batch=1, max_queue=2)
    with NodeProcess(tmp_path / "home").serve(pool) as node, ThreadPoolExecutor(3) as clients:
        calls = [clients.submit(node.call, "POST", "/predict", b'{"x": 1}')]
        wait_until(lambda: computed(began) == [1.0], what="the first call")
        calls += [clients.submit(node.call, "POST", "/predict", b'{"x": %d}' % n) for n in (2, 3)]
        wait_until(lambda: node.status().pools[0].queued == 2, what="a full queue")
        for _ in range(9):
            status, headers, body = node.call("POST", "/predict", b'{"x": 4}')
            refused = json.loads(body)
            assert (status, headers["retry-after"]) == (429, "1")
            assert (refused["code"], refused["retryable"]) == ("overloaded", True)
        go.touch()
        answers = [call.result() for call in calls]
        assert [(status, headers["retry-after"]) for status, headers, _ in answers] == [(200, None)] * 3


def test_what_nobody_waits_for_is_not_computed(tmp_path: Path) -> None:
    go, seen = tmp_path / "go", tmp_path / "seen"
    pool = function_pool(tmp_path / "m", waits(go, seen), max_batch=1)
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        body = b'{"x": %d}'
        head = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 8\r\n\r\n"
        leavers = []
        for number in (1, 2, 3):
            client = socket.create_connection(("127.0.0.1", node.port))
            client.sendall(head + body % number)
            leavers.append(client)
            wait_until(lambda: computed(seen) == [1.0], what="the first call")
            wait_until(lambda number=number: node.status().pools[0].queued == number - 1, what="the queue")
        for client in leavers[1:]:
            client.close()
        wait_until(lambda: node.status().pools[0].queued == 0, what="the leavers' calls taken out")
        go.touch()
        assert node.post("/predict", {"x": 4.0}) == (200, {"output": 4.0})
        leavers[0].close()
        assert computed(seen) == [1.0, 4.0]


def test_a_batch_that_nobody_waits_for_is_not_computed(tmp_path: Path) -> None:
    go, seen = tmp_path / "go", tmp_path / "seen"
    pool = function_pool(tmp_path / "m", waits(go, seen, when="x"), max_batch=1)
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        body = b'{"xs": [1, 2, 3, 4, 5, 6]}'
        head = b"POST /predict/batch HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body)
        with socket.create_connection(("127.0.0.1", node.port)) as client:
            client.sendall(head + body)
            wait_until(lambda: node.status().pools[0].queued >= 4, what="a queue")
        wait_until(lambda: node.status().pools[0].queued == 0, what="the leaver's calls taken out")
        go.touch()
        assert node.post("/predict", {"x": 7.0}) == (200, {"output": 7.0})
        assert computed(seen)[-1] == 7.0
        assert 6.0 not in computed(seen)


def test_a_call_that_waits_in_the_queue_ends_at_its_deadline(tmp_path: Path) -> None:
    go, began = tmp_path / "go", tmp_path / "began"
    pool = function_pool(tmp_path / "m", waits(go, began), max_batch=1)
    with NodeProcess(tmp_path / "home").serve(pool) as node, ThreadPoolExecutor(1) as clients:
        first = clients.submit(node.post, "/predict", {"x": 1.0})
        wait_until(lambda: computed(began) == [1.0], what="the first call")
        try:
            status, answer = node.post("/predict", {"x": 2.0}, {"modelyard-timeout": "0.3"})
            assert (status, answer["code"]) == (504, "deadline")
            assert not first.done()
        finally:
            go.touch()
        assert first.result() == (200, {"output": 1.0})


def test_a_killed_node_leaves_no_executor_and_serves_from_its_kept_table(tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "home").serve(mlp_pool(tmp_path / "mlp")) as node:
        (executor,) = node.pids("mlp")
        node.kill()
        wait_until(lambda: not Path(f"/proc/{executor}").exists(), what="the end of the executor")
        node.start()
        assert node.post("/predict", {"x": [0.0] * 64})[0] == 200


def test_even_a_hanging_executor_ends_with_its_node(tmp_path: Path) -> None:
    code = "import time\ndef predict(x: float):\n    time.sleep(3600 if x else 0)\n    return x\n"
    with NodeProcess(tmp_path / "home").serve(function_pool(tmp_path / "m", code)) as node:
        (executor,) = node.pids("function")
        status, _ = node.post("/predict", {"x": 1.0}, {"modelyard-timeout": "0.2"})
        assert status == 504
        node.kill()
        wait_until(lambda: not Path(f"/proc/{executor}").exists(), what="the end of the executor")


def test_a_node_told_to_stop_answers_what_it_has(tmp_path: Path) -> None:
    go = tmp_path / "go"
    pool = function_pool(tmp_path / "m", waits(go, tmp_path / "began", when="x"), max_batch=1)
    with NodeProcess(tmp_path / "home").serve(pool) as node, ThreadPoolExecutor(5) as clients:
        calls = [clients.submit(node.post, "/predict", {"x": float(n)}) for n in range(1, 6)]
        wait_until(lambda: node.status().pools[0].queued == 4, what="a queue")
        assert node.process is not None
        node.process.terminate()
        wait_until(lambda: refuses(node.port), what="the node not listening any more")
        go.touch()
        node.process.wait(60)
        assert [call.result() for call in calls] == [(200, {"output": float(n)}) for n in range(1, 6)]
        assert node.process.returncode == 0


def refuses(port: int) -> bool:
    """Whether nobody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return True
    return False


def test_chatter_of_a_model_lands_in_its_log_and_only_so_much_of_it(tmp_path: Path) -> None:
    code = "def predict(x: float):\n    print('line', x, 'y' * 1000, flush=True)\n    return x\n"
    with NodeProcess(tmp_path / "home").serve(function_pool(tmp_path / "m", code)) as node:
        node.post("/predict", {"x": 5.0})
        path = node.home.logs / "models" / "function-1.log"
        wait_until(lambda: path.is_file() and "line 5.0" in path.read_text())


def test_the_log_is_cut_at_its_limit(tmp_path: Path) -> None:
    from modelyard.serve.observe.logs import ModelLog, tail

    log = ModelLog(tmp_path / "a.log", limit=10_000)
    for number in range(1000):
        log.write("r", f"{number} " + "x" * 100)
    log.close()
    assert (tmp_path / "a.log").stat().st_size <= 10_000
    assert (tmp_path / "a.log.1").stat().st_size <= 10_000
    assert tail(tmp_path / "a.log", 100).count("\n") == 100
    assert tail(tmp_path / "a.log", 1).split()[2] == "999"
