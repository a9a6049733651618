"""Predictions that nobody waits for: taken at once, computed when there is room, kept, never lost."""

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelyard.core.deployment import ServingOptions
from modelyard.core.signature import TensorSpec
from support.models import function_pool, mlp_pool
from support.node import NodeProcess, wait_until

ASYNC = {"prefer": "respond-async"}
# Below 0 it notes that it has begun, and goes on until the gate is open.
OPEN = """
import os, time
def predict(x: float):
    if x < 0:
        open({go!r} + ".began", "a").close()
    while x < 0 and not os.path.exists({go!r}):
        time.sleep(0.01)
    return 2 * x
"""
TALKING = """
import os, time
from modelyard_executor.adapter import progress
def predict(x: float):
    step = 0
    while x and not os.path.exists({go!r}):
        step += 1
        progress(0.25, f"step {{step // 100}}")
        time.sleep(0.01)
    return x
"""


def post(node: NodeProcess, path: str, value: object, **headers: str) -> tuple[int, dict[str, Any]]:
    return node.post(path, value, {**ASYNC, **headers})


def computing(go: Path) -> None:
    """Wait until an executor has a job that waits at the gate."""
    wait_until(go.with_name("go.began").exists, what="the job's computation")


def ended(node: NodeProcess, id: str) -> dict[str, Any]:
    return wait_until(
        lambda: (
            (job := node.get(f"/jobs/{id}?wait=20")[1])["state"] in ("done", "failed", "cancelled") and job
        )
    )


@pytest.fixture
def go(tmp_path: Path) -> Path:
    return tmp_path / "go"


@pytest.fixture
def node(tmp_path: Path, go: Path):
    pools = [
        function_pool(tmp_path / "slow", OPEN.format(go=str(go)), name="slow"),
        function_pool(tmp_path / "talking", TALKING.format(go=str(go)), name="talking"),
        mlp_pool(tmp_path / "mlp"),
    ]
    with NodeProcess(tmp_path / "home").serve(*pools) as node:
        yield node


def test_the_caller_is_answered_at_once_and_fetches_the_answer_later(node: NodeProcess, go: Path) -> None:
    status, headers, body = node.call(
        "POST", "/models/slow/predict", b'{"x": -1}', {**ASYNC, "content-type": "application/json"}
    )
    job = json.loads(body)
    assert (status, headers["location"], headers["preference-applied"]) == (
        202,
        f"/jobs/{job['id']}",
        "respond-async",
    )
    assert job["state"] in ("queued", "running")
    assert node.get(f"/jobs/{job['id']}/result")[0] == 409
    assert node.get(f"/jobs/{job['id']}?wait=0.05")[1]["state"] in ("queued", "running")
    go.touch()
    done = ended(node, job["id"])
    assert (done["state"], done["status"], done["endpoint"], done["progress"]) == ("done", 200, "slow", 1.0)
    status, headers, body = node.call("GET", f"/jobs/{job['id']}/result")
    assert (status, json.loads(body), headers["modelyard-model"]) == (200, {"output": -2.0}, "slow")


def test_every_protocol_can_be_asked_so(node: NodeProcess) -> None:
    rows = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 64], "data": [0.5] * 64}]}
    asked = {
        "/v2/models/mlp/infer": rows,
        "/v1/models/mlp:predict": {"instances": [[0.5] * 64]},
        "/models/mlp/predict/batch": {"records": [{"x": [0.5] * 64}, {"x": [1.0]}]},
        "/models/mlp/predict": {"x": [0.5] * 64},
    }
    for path, value in asked.items():
        status, job = post(node, path, value)
        assert status == 202, job
        ended(node, job["id"])
        direct = node.post(path, value)
        kept = node.get(f"/jobs/{job['id']}/result")
        for answer in (direct[1], kept[1]):
            answer.pop("id", None)
        assert kept == direct


def test_what_is_wrong_is_told_at_once_and_makes_no_job(node: NodeProcess) -> None:
    status, body = post(node, "/models/slow/predict", {"y": 1})
    assert (status, body["code"], body["field"]) == (400, "invalid_input", "y")
    assert post(node, "/models/none/predict", {"x": 1.0})[0] == 404
    assert post(node, "/v2/models/slow/generate_stream", {"x": 1.0})[0] == 400
    assert post(node, "/models/slow/predict/batch", {"records": []})[0] == 400
    assert node.get("/jobs")[1] == {"jobs": []}


def test_a_state_that_no_job_has_is_not_looked_for(node: NodeProcess) -> None:
    status, answer = node.get("/jobs?state=finished")
    assert (status, answer["field"]) == (400, "state")
    assert node.get("/jobs?state=done") == (200, {"jobs": []})


def test_who_waits_a_little_gets_a_quick_answer_as_usual(node: NodeProcess) -> None:
    status, answer = post(node, "/models/slow/predict", {"x": 4.0}, prefer="respond-async, wait=30")
    assert (status, answer) == (200, {"output": 8.0})
    status, job = post(node, "/models/slow/predict", {"x": -4.0}, prefer="respond-async, wait=0.1")
    assert status == 202
    assert node.call("DELETE", f"/jobs/{job['id']}")[0] in (200, 409)


def test_a_preference_for_something_else_is_ignored(node: NodeProcess) -> None:
    assert post(node, "/models/slow/predict", {"x": 4.0}, prefer="return=minimal") == (200, {"output": 8.0})


def test_the_model_says_how_far_it_is(node: NodeProcess, go: Path) -> None:
    _, job = post(node, "/models/talking/predict", {"x": 1.0})
    told = wait_until(lambda: (found := node.get(f"/jobs/{job['id']}")[1]).get("message") and found)
    assert (told["progress"], told["message"].split()[0]) == (0.25, "step")
    wait_until(lambda: node.get(f"/jobs/{job['id']}")[1]["message"] != told["message"])
    go.touch()
    assert ended(node, job["id"])["state"] == "done"


def test_a_batch_says_how_many_records_are_done(tmp_path: Path, go: Path) -> None:
    pool = function_pool(tmp_path / "m", OPEN.format(go=str(go)), max_batch=1)
    records = [{"x": 1.0}, {"x": 2.0}, {"x": "no"}, {"x": -1.0}]
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        _, job = post(node, "/predict/batch", {"records": records})
        told = wait_until(
            lambda: (
                (found := node.get(f"/jobs/{job['id']}")[1]).get("message") == "3 of 4 records" and found
            )
        )
        assert told["progress"] == 0.75
        go.touch()
        ended(node, job["id"])
        answers = node.get(f"/jobs/{job['id']}/result")[1]["predictions"]
    assert [answer.get("output", answer.get("code")) for answer in answers] == [
        2.0, 4.0, "invalid_input", -2.0,
    ]  # fmt: skip


def test_cancelled_the_model_lets_go_of_it(node: NodeProcess) -> None:
    _, job = post(node, "/models/talking/predict", {"x": 1.0})
    wait_until(lambda: node.get(f"/jobs/{job['id']}")[1].get("message"))
    (pid,) = node.pids("talking")
    assert node.call("DELETE", f"/jobs/{job['id']}")[0] == 200
    assert node.get(f"/jobs/{job['id']}")[1]["state"] == "cancelled"
    assert node.post("/models/talking/predict", {"x": 0.0}) == (200, {"output": 0.0})
    assert node.pids("talking") == [pid]  # it heard of it in progress()
    status, body = node.get(f"/jobs/{job['id']}/result")
    assert (status, body["code"]) == (409, "conflict")
    assert node.call("DELETE", f"/jobs/{job['id']}")[0] == 200  # forgotten
    assert node.get(f"/jobs/{job['id']}")[0] == 404


def test_cancelled_a_model_that_does_not_listen_is_ended(node: NodeProcess, go: Path) -> None:
    _, job = post(node, "/models/slow/predict", {"x": -1.0})
    computing(go)
    (pid,) = node.pids("slow")
    node.call("DELETE", f"/jobs/{job['id']}")
    wait_until(lambda: node.pids("slow") not in ([], [pid]), what="another executor")
    assert node.post("/models/slow/predict", {"x": 1.0}) == (200, {"output": 2.0})


def test_a_job_that_fails_has_the_models_error(tmp_path: Path) -> None:
    code = "def predict(x: float):\n    raise ValueError('no x today')\n"
    with NodeProcess(tmp_path / "home").serve(function_pool(tmp_path / "m", code)) as node:
        _, job = post(node, "/predict", {"x": 1.0})
        failed = ended(node, job["id"])
        assert (failed["state"], failed["error"]["code"]) == ("failed", "internal")
        status, body = node.get(f"/jobs/{job['id']}/result")
        assert (status, "no x today" in body["error"]) == (500, True)


def test_a_job_may_take_longer_than_a_call(tmp_path: Path) -> None:
    code = "import time\ndef predict(x: float):\n    time.sleep(x)\n    return x\n"
    pool = function_pool(tmp_path / "m", code, timeout=0.4)
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        assert node.post("/predict", {"x": 1.0})[0] == 504
        _, job = post(node, "/predict", {"x": 1.0})
        assert ended(node, job["id"])["state"] == "done"


def test_a_killed_node_goes_on_with_its_jobs(tmp_path: Path) -> None:
    go = tmp_path / "go"
    pool = function_pool(tmp_path / "m", OPEN.format(go=str(go)))
    node = NodeProcess(tmp_path / "home").serve(pool)
    with node:
        jobs = [post(node, "/predict", {"x": -float(n)})[1]["id"] for n in range(1, 6)]
        done = post(node, "/predict", {"x": 1.0})[1]["id"]
        computing(go)
        node.kill()
        go.touch()
        node.start()
        assert [ended(node, id)["state"] for id in (*jobs, done)] == ["done"] * 6
        assert [node.get(f"/jobs/{id}/result")[1]["output"] for id in jobs] == [
            -2.0 * n for n in range(1, 6)
        ]
        assert [job["id"] for job in node.get("/jobs")[1]["jobs"]] == [done, *reversed(jobs)]


def test_a_stopped_node_goes_on_and_that_is_no_attempt(tmp_path: Path) -> None:
    go = tmp_path / "go"
    pool = function_pool(tmp_path / "m", OPEN.format(go=str(go)))
    node = NodeProcess(tmp_path / "home").serve(pool)
    with node:
        id = post(node, "/predict", {"x": -1.0})[1]["id"]
        wait_until(lambda: node.get(f"/jobs/{id}")[1]["state"] == "running")
        node.stop()
        go.touch()
        node.start()
        job = ended(node, id)
        assert (job["state"], job["attempts"]) == ("done", 1)


def test_a_job_that_ends_the_node_is_given_up(tmp_path: Path) -> None:
    pool = function_pool(tmp_path / "m", OPEN.format(go=str(tmp_path / "go")))
    node = NodeProcess(tmp_path / "home").serve(pool)
    with node:
        id = post(node, "/predict", {"x": -1.0})[1]["id"]
        kept = tmp_path / "home" / "jobs" / id / "job.json"
        for attempt in (1, 2, 3):
            wait_until(
                lambda n=attempt: (
                    (job := node.get(f"/jobs/{id}")[1])["attempts"] == n and job["state"] == "running"
                )
            )
            wait_until(lambda n=attempt: json.loads(kept.read_bytes())["job"].get("attempts") == n)
            node.kill()
            node.start()
        job = ended(node, id)
        assert (job["state"], "ended 3 times" in job["error"]["error"]) == ("failed", True)


def test_files_come_as_they_are_and_the_expired_goes(tmp_path: Path) -> None:
    code = "def predict(x: float):\n    return {'structure': b'ATOM\\xff', 'score': x}\n"
    outputs = (
        TensorSpec(name="structure", datatype="BYTES", kind="bytes"),
        TensorSpec(name="score", datatype="FP64"),
    )
    pool = function_pool(tmp_path / "m", code, outputs=outputs)
    with NodeProcess(tmp_path / "home", MODELYARD_JOB_EXPIRY="3600").serve(pool) as node:
        id = post(node, "/predict", {"x": 1.0})[1]["id"]
        job = ended(node, id)
        assert 3500 < job["expires"] - time.time() <= 3600
        assert node.get(f"/jobs/{id}/result")[1]["structure"] == {
            "b64": base64.b64encode(b"ATOM\xff").decode()
        }
        status, headers, body = node.call("GET", f"/jobs/{id}/files/structure")
        assert (status, body) == (200, b"ATOM\xff")
        assert headers["content-disposition"] == 'attachment; filename="structure"'
        assert node.call("GET", f"/jobs/{id}/files/score")[2] == b"1.0"
        assert node.get(f"/jobs/{id}/files/other")[0] == 404
        folder = tmp_path / "home" / "jobs" / id
        assert sorted(path.name for path in folder.iterdir()) == [
            "answer",
            "job.json",
        ]  # what was asked is not needed any more
        node.stop()
        kept = json.loads((folder / "job.json").read_bytes())
        kept["job"]["expires"] = time.time() - 1
        (folder / "job.json").write_text(json.dumps(kept))
        (tmp_path / "home" / "jobs" / ("p" + "0" * 24)).mkdir()  # half a job: it was never answered for
        node.start()
        wait_until(lambda: not list((tmp_path / "home" / "jobs").iterdir()))
        assert node.get(f"/jobs/{id}")[0] == 404


def test_jobs_are_their_clients_own(tmp_path: Path) -> None:
    import hashlib

    keys = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("ada", "bob")}
    ada, bob = ({"authorization": f"Bearer {name}"} for name in keys)
    pool = function_pool(tmp_path / "m", OPEN.format(go=str(tmp_path / "go")))
    with NodeProcess(tmp_path / "home").serve(pool, keys=tuple(keys.values())) as node:
        id = post(node, "/predict", {"x": 1.0}, **ada)[1]["id"]
        assert node.get(f"/jobs/{id}", ada)[0] == 200
        assert node.get(f"/jobs/{id}", bob)[0] == 404
        assert node.get("/jobs", bob)[1] == {"jobs": []}
        assert node.call("DELETE", f"/jobs/{id}", headers=bob)[0] == 404
        assert node.get("/jobs")[0] == 401
        assert b"Bearer" not in (tmp_path / "home" / "jobs" / id / "job.json").read_bytes()


def test_a_disk_that_takes_nothing_is_told(tmp_path: Path) -> None:
    pool = function_pool(tmp_path / "m", OPEN.format(go=str(tmp_path / "go")))
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        (tmp_path / "home" / "jobs").write_text("in the way")
        status, body = post(node, "/predict", {"x": 1.0})
        assert (status, body["code"]) == (503, "unavailable")
        assert "disk" in body["error"]
        assert node.post("/predict", {"x": 1.0})[0] == 200


def test_calls_do_not_wait_behind_a_long_batch(tmp_path: Path) -> None:
    code = "import time\ndef predict(x: float):\n    time.sleep(0.02)\n    return x\n"
    pool = function_pool(tmp_path / "m", code, max_batch=4)
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        _, job = post(node, "/predict/batch", {"records": [{"x": 1.0}] * 500})
        wait_until(lambda: node.get(f"/jobs/{job['id']}")[1].get("message"))
        for _ in range(5):
            assert node.post("/predict", {"x": 1.0})[0] == 200
        assert node.get(f"/jobs/{job['id']}")[1]["state"] == "running"  # they were answered in between
        node.call("DELETE", f"/jobs/{job['id']}")


def test_one_replica_is_left_to_those_who_wait(tmp_path: Path) -> None:
    go = tmp_path / "go"
    pool = function_pool(tmp_path / "m", OPEN.format(go=str(go)), replicas=2, max_batch=1)
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        wait_until(lambda: len(node.pids("function")) == 2, what="both replicas")
        jobs = [post(node, "/predict", {"x": -1.0})[1]["id"] for _ in range(4)]
        wait_until(lambda: node.get(f"/jobs/{jobs[0]}")[1]["state"] == "running")
        with ThreadPoolExecutor(4) as clients:
            answers = list(clients.map(lambda n: node.post("/predict", {"x": float(n)}), range(1, 5)))
        assert answers == [(200, {"output": 2.0 * n}) for n in range(1, 5)]
        go.touch()
        assert [ended(node, id)["state"] for id in jobs] == ["done"] * 4


def test_a_full_endpoint_is_waited_for(tmp_path: Path) -> None:
    go = tmp_path / "go"
    pool = function_pool(tmp_path / "m", OPEN.format(go=str(go)), max_queue=2, max_batch=1)
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        jobs = [post(node, "/predict", {"x": -float(n)})[1]["id"] for n in range(1, 7)]
        wait_until(lambda: any("waits" in node.get(f"/jobs/{id}")[1].get("message", "") for id in jobs))
        go.touch()
        assert [ended(node, id)["state"] for id in jobs] == ["done"] * 6


def test_with_fronts_the_owner_keeps_them(tmp_path: Path) -> None:
    pool = function_pool(tmp_path / "m", OPEN.format(go=str(tmp_path / "go")))
    with NodeProcess(tmp_path / "home", MODELYARD_NODE_PROCESSES="2").serve(pool) as node:
        ids = [post(node, "/models/function/predict", {"x": float(n)})[1]["id"] for n in range(6)]
        assert [ended(node, id)["state"] for id in ids] == ["done"] * 6
        assert [node.get(f"/jobs/{id}/result")[1] for id in ids] == [{"output": 2.0 * n} for n in range(6)]


def test_they_are_counted(node: NodeProcess) -> None:
    ended(node, post(node, "/models/slow/predict", {"x": 1.0})[1]["id"])
    post(node, "/models/slow/predict", {"x": -1.0})
    text = node.call("GET", "/metrics")[2].decode()
    assert 'modelyard_jobs_ended_total{endpoint="slow",state="done"} 1.0' in text
    assert 'modelyard_jobs{endpoint="slow",state="' in text


def test_a_timeout_of_jobs_holds(tmp_path: Path) -> None:
    code = "import time\ndef predict(x: float):\n    time.sleep(60 if x else 0)\n"
    pool = function_pool(tmp_path / "m", code)
    pool = msgspec.structs.replace(pool, serving=ServingOptions(job_timeout=0.5))
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        job = ended(node, post(node, "/predict", {"x": 1.0})[1]["id"])
        assert (job["state"], job["error"]["code"]) == ("failed", "deadline")
