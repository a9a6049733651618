"""kill -9 of the control plane and of the node, at any instant of a deployment."""

import contextlib
import time

import httpx
import pytest


def test_predictions_go_on_without_the_control_plane_and_its_return_touches_no_replica(
    running, scale
) -> None:
    running.deploy("m", scale(2.0))
    before = running.endpoint("m")
    running.kill("control")
    assert running.predict("m", {"x": [1, 1, 1]}).status_code == 200
    running.start("control")
    running.wait(lambda: running.api("GET", "/status").json()["node"]["generation"] > 0)
    running.deploy("other", scale(5.0))
    after = running.endpoint("m")
    assert [replica["pid"] for replica in after["replicas"]] == [each["pid"] for each in before["replicas"]]
    assert after["replicas"][0]["restarts"] == 0


@pytest.mark.parametrize("stage", ["register", "environment", "start", "ready", "route"])
def test_a_kill_in_any_stage_is_resumed_at_once(running, function, stage: str) -> None:
    job = running.submit("e", function("return x + 1", before="import time; time.sleep(0.3)"))
    _until_stage(running, job, stage)
    running.kill("control")
    running.start("control")
    ended, events = running.follow(job)  # ends in time only because nobody waits for the lease of the dead
    assert ended["state"] == "done", ended
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert running.predict("e", {"x": 1.0}).status_code == 200
    assert running.endpoint("e")["wanted"]["revision"] == 1
    assert running.api("GET", "/models/e").json()["latest"] == 1


def test_a_node_that_was_killed_comes_back_with_what_it_served(running, scale) -> None:
    running.deploy("m", scale(2.0))
    running.kill("node")
    assert running.endpoint("m")["state"] == "unknown"
    running.start("node")
    running.wait(lambda: running.predict("m", {"x": [1, 1, 1]}).status_code == 200)
    running.wait(lambda: running.endpoint("m")["state"] == "ready")


def test_a_node_that_is_down_fails_no_deployment(yard, function) -> None:
    yard.start("control")
    job = yard.submit("e", function("return x"))
    with yard.http.stream("GET", f"{yard.url('control')}/api/v1/jobs/{job}/events") as stream:
        assert any('"warning"' in line and "node" in line for line in stream.iter_lines())
    yard.start("node")
    ended, _ = yard.follow(job)
    assert ended["state"] == "done"


def test_a_node_that_lost_its_table_gets_it_again(running, scale) -> None:
    running.deploy("m", scale(2.0))
    running.kill("node")
    (running.home / "run" / "routes.json").unlink()
    running.start("node")
    running.wait(lambda: running.predict("m", {"x": [1, 1, 1]}).status_code == 200)


def test_kill_of_everything_during_a_rollout_converges(running, function) -> None:
    running.deploy("e", function("return x + 1"))
    job = running.submit("e", function("return x + 2", before="import time; time.sleep(0.5)"))
    _until_stage(running, job, "ready")
    running.kill("control", "node")
    running.start("node", "control")
    ended, _ = running.follow(job)
    assert ended["state"] == "done"
    running.wait(lambda: running.predict("e", {"x": 1.0}).status_code == 200)
    assert running.endpoint("e")["serving"]["revision"] == 2


def _until_stage(yard, job: str, stage: str) -> None:
    """Return as soon as the job is in ``stage`` or past it."""
    order = ["register", "environment", "start", "ready", "route"]
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            now = yard.api("GET", f"/jobs/{job}").json()
            if now["state"] == "done" or (now["stage"] and order.index(now["stage"]) >= order.index(stage)):
                return
    raise AssertionError(yard.logs())
