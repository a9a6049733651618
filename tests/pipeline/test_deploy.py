"""A deployment from upload to traffic, with a real node and real executors."""

import threading
import time

import pytest


def test_an_onnx_model_becomes_an_endpoint_that_answers(running, scale) -> None:
    result = running.deploy("double", scale(2.0))
    assert result["endpoint"] == "double" and result["version"] == 1
    assert result["predict_url"].endswith("/models/double/predict")
    answer = running.predict("double", {"x": [1, 2, 3]})
    assert (answer.status_code, answer.json()) == (200, {"y": [2.0, 4.0, 6.0]})
    seen = running.endpoint("double")
    assert seen["state"] == "ready" and seen["serving"]["state"] == "ready"


def test_a_function_becomes_an_endpoint_and_its_story_has_every_stage(running, function) -> None:
    job, events = running.follow(running.submit("half", function("return x / 2")))
    assert job["state"] == "done", job
    done = [event.stage for event in events if event.kind == "stage_done"]
    assert done == ["register", "environment", "start", "ready", "route"]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert running.predict("half", {"x": 3.0}).status_code == 200


def test_the_stream_can_be_taken_up_after_a_sequence(running, function) -> None:
    job, events = running.follow(running.submit("half", function("return x / 2")))
    url = f"{running.url('control')}/api/v1/jobs/{job['id']}/events?after={events[-3].sequence}"
    assert running.http.get(url).text.count("data: ") == 2
    url = f"{running.url('control')}/api/v1/jobs/{job['id']}/events?after={events[-1].sequence}"
    assert running.http.get(url).text == ""


def test_an_identical_deployment_again_changes_nothing_and_is_quick(running, function) -> None:
    results, times = [], []
    for _ in range(5):
        begun = time.perf_counter()
        results.append(running.deploy("half", function("return x / 2")))
        times.append(time.perf_counter() - begun)
    assert {(each["deployment"], each["version"]) for each in results} == {(results[0]["deployment"], 1)}
    # The first one starts a process; how long that takes here and now is what the others are held to.
    assert min(times[1:]) < times[0] / 2, times


def test_a_new_version_takes_over_without_one_failed_request(running, scale) -> None:
    running.deploy("m", scale(2.0))
    answers: list[list[tuple[int, float]]] = [[], [], [], []]  # of each caller, in its order
    stop = threading.Event()

    def call(mine: list[tuple[int, float]]) -> None:
        while not stop.is_set():
            answer = running.predict("m", {"x": [1, 1, 1]})
            mine.append((answer.status_code, answer.json()["y"][0] if answer.status_code == 200 else 0))

    callers = [threading.Thread(target=call, args=(mine,)) for mine in answers]
    for caller in callers:
        caller.start()
    try:
        running.wait(lambda: all(answers))
        second = running.deploy("m", scale(3.0))
        before = [len(mine) for mine in answers]
        # The call that was under way at the end of the deployment, and one that began after it.
        running.wait(
            lambda: all(len(mine) >= count + 2 for mine, count in zip(answers, before, strict=True))
        )
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    assert {status for mine in answers for status, _ in mine} == {200}
    for mine in answers:
        values = [value for _, value in mine]
        assert set(values) == {2.0, 3.0} and values == sorted(values)
    seen = running.endpoint("m")
    assert seen["serving"]["id"] == second["deployment"] and seen["serving"]["version"] == 2


def test_a_model_that_raises_at_load_fails_the_job_with_its_own_traceback(running, function) -> None:
    files = function("return x", before="raise RuntimeError('no weights here')")
    job, _ = running.follow(running.submit("broken", files))
    assert job["state"] == "failed" and job["error"]["code"] == "rejected_content"
    assert "no weights here" in job["error"]["error"]
    seen = running.endpoint("broken")
    assert seen["state"] == "failed" and "no weights here" in seen["failure"]
    assert "no weights here" in running.api("GET", "/endpoints/broken/logs").text


def test_a_failed_replacement_leaves_the_former_revision_serving(running, function) -> None:
    first = running.deploy("e", function("return x + 1"))
    pid = running.endpoint("e")["replicas"][0]["pid"]
    job, _ = running.follow(running.submit("e", function("return x", before="import nothing_of_that_name")))
    assert job["state"] == "failed" and "nothing_of_that_name" in job["error"]["error"]
    seen = running.endpoint("e")
    assert seen["serving"]["id"] == seen["wanted"]["id"] == first["deployment"]
    assert seen["replicas"][0]["pid"] == pid
    assert "nothing_of_that_name" in seen["failure"]
    assert running.predict("e", {"x": 1.0}).status_code == 200
    assert "nothing_of_that_name" in running.api("GET", "/endpoints/e/logs").text


def test_a_failed_deployment_can_be_repeated(running, function, tmp_path) -> None:
    (tmp_path / "given").mkdir()
    switch = tmp_path / "given" / "switch"
    leave = {"settings": {"leave": {"folders": [str(switch.parent)]}}}
    files = function("return x", before=f"open({str(switch)!r}).close()")
    job, _ = running.follow(running.submit("e", files, **leave))
    assert job["state"] == "failed"
    switch.touch()
    assert running.deploy("e", files, **leave)["deployment"] != job["result"]


def test_a_cancelled_deployment_does_not_go_on(running, function) -> None:
    job = running.submit("slow", function("return x", before="import time; time.sleep(600)"))
    running.wait(lambda: running.api("GET", f"/jobs/{job}").json()["stage"] == "ready")
    running.api("POST", f"/jobs/{job}/cancel")
    ended, events = running.follow(job)
    assert ended["state"] == "cancelled" and events[-1].kind == "cancelled"
    running.wait(lambda: running.endpoint("slow")["state"] == "failed")
    running.wait(lambda: running.endpoint("slow")["replicas"] == [])


def test_a_later_deployment_overtakes_one_that_never_becomes_ready(running, function) -> None:
    slow = running.submit("e", function("return x", before="import time; time.sleep(600)"))
    running.wait(lambda: running.api("GET", f"/jobs/{slow}").json()["stage"] == "ready")
    second = running.deploy("e", function("return x * 2"))
    ended, _ = running.follow(slow)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "conflict")
    assert running.endpoint("e")["serving"]["id"] == second["deployment"]


def test_a_deleted_endpoint_disappears_from_node_and_its_job_is_told(running, function) -> None:
    running.deploy("gone", function("return x"))
    pid = running.endpoint("gone")["replicas"][0]["pid"]
    running.api("DELETE", "/endpoints/gone")
    running.wait(lambda: running.predict("gone", {"x": 1.0}).status_code == 404)
    running.wait(lambda: not _lives(pid))


def test_deleting_an_endpoint_ends_its_running_deployment(running, function) -> None:
    job = running.submit("slow", function("return x", before="import time; time.sleep(600)"))
    running.wait(lambda: running.api("GET", f"/jobs/{job}").json()["stage"] == "ready")
    running.api("DELETE", "/endpoints/slow")
    ended, _ = running.follow(job)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "conflict")


def test_a_version_can_be_deployed_by_its_number(running, scale) -> None:
    running.deploy("m", scale(2.0))
    running.deploy("m", scale(3.0))
    running.deploy("m", model="m", version=1)
    assert running.predict("m", {"x": [1, 1, 1]}).json() == {"y": [2.0, 2.0, 2.0]}


@pytest.mark.parametrize(
    "body",
    [
        {"upload": "nothing"},
        {"model": "nothing"},
        {"model": "nothing", "version": 1},
    ],
)
def test_what_does_not_exist_is_refused_at_once(running, body) -> None:
    answer = running.http.post(
        f"{running.url('control')}/api/v1/deployments", json={"endpoint": "e", **body}
    )
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def _lives(pid: int) -> bool:
    from pathlib import Path

    return Path(f"/proc/{pid}").exists()


def test_a_request_that_is_sent_twice_is_one_job(running, function, tmp_path) -> None:
    go_on = tmp_path / "go on"
    before = f"import os, time\nwhile not os.path.exists({str(go_on)!r}): time.sleep(0.01)"
    upload = running.upload(function("return x", before=before))
    first = running.submit("e", upload=upload)
    # Also when the first has used up the upload by then.
    url = f"{running.url('control')}/api/v1/uploads/{upload}"
    running.wait(lambda: running.http.get(url).status_code == 404)
    assert running.submit("e", upload=upload) == first
    go_on.touch()
    assert running.follow(first)[0]["state"] == "done"


def test_a_refused_upload_gives_its_space_back_unless_trust_is_all_it_needs(running) -> None:
    rubbish = running.upload({"model.onnx": b"<html>"})
    assert running.follow(running.submit("e", upload=rubbish))[0]["state"] == "failed"
    assert running.http.get(f"{running.url('control')}/api/v1/uploads/{rubbish}").status_code == 404
    import pickle

    from sklearn.linear_model import LinearRegression

    model = pickle.dumps(LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]))
    distrusted = running.upload({"model.pkl": model})
    assert running.follow(running.submit("e", upload=distrusted))[0]["state"] == "failed"
    assert running.http.get(f"{running.url('control')}/api/v1/uploads/{distrusted}").status_code == 200


def test_packages_beside_a_format_that_runs_no_code_need_trust(running, scale) -> None:
    files = scale(2.0) | {"model.yaml": b"requirements: [iniconfig]\n"}
    job, _ = running.follow(running.submit("e", files))
    assert job["state"] == "failed"
    assert "--trust-pickle" in job["error"]["error"]
