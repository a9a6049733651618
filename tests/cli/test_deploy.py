"""``modelyard deploy`` and what follows, for real: a Python function without dependencies."""

import hashlib
import json
import os
import pty
import shlex
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from modelyard.client import Client
from modelyard.core.job import JobEvent
from support.shell import PROGRAM, Shell

pytestmark = pytest.mark.timeout(300)

DOUBLE = """
def predict(x: int, note: str = "none"):
    print("asked for", x)
    return {"double": 2 * x, "note": note}
"""
BROKEN = """
class Model:
    def load(self, *anything):
        raise RuntimeError("the weights are missing")
    def predict(self, x: int):
        return x
"""


def save(folder: Path, source: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model.py").write_text(source)
    return folder


def test_from_nothing_to_a_prediction_and_back(shell: Shell, tmp_path: Path) -> None:
    done = shell.run("deploy", str(save(tmp_path / "Double", DOUBLE)))
    assert done.returncode == 0, done.stderr
    assert "No platform is running here; starting it." in done.stderr
    for stage in ("read", "upload", "analyze", "environment", "first prediction"):
        assert stage in done.stderr
    assert "double is serving double version 1" in done.stdout

    curl = next(line for line in done.stdout.splitlines() if line.strip().startswith("curl"))
    answer = json.loads(subprocess.run(shlex.split(curl), capture_output=True, check=True).stdout)
    assert "error" not in answer

    assert shell.json("predict", "double", "--set", "x=21", "--set", "note=2 words")["output"] == {
        "double": 42, "note": "2 words",
    }  # fmt: skip
    table = shell.run("predict", "double", "--set", "x=1").stdout
    assert table.startswith("output")
    piped = shell.run("predict", "double", "-i", "-", "--json", text='{"x": 5}')
    assert json.loads(piped.stdout)["output"]["double"] == 10
    assert shell.json("predict", "double", "--example").keys() >= {"x"}

    wrong = shell.run("predict", "double", "--set", "x=many", "--json")
    assert wrong.returncode == 1
    told = json.loads(wrong.stdout)
    assert told["code"] == "invalid_input"
    assert "x" in told["field"]
    assert told["error"] in wrong.stderr

    (tmp_path / "records.json").write_text('[{"x": 1}, {}]')
    batch = shell.run("predict", "double", "-i", str(tmp_path / "records.json"), "--json")
    assert batch.returncode == 1
    good, bad = json.loads(batch.stdout)
    assert good["output"]["double"] == 2
    assert bad["code"] == "invalid_input"

    (endpoint,) = shell.json("endpoints")
    assert endpoint["state"] == "ready"
    assert "double" in shell.run("endpoints").stdout
    assert "asked for 21" in shell.run("logs", "double").stdout
    assert [model["name"] for model in shell.json("models")] == ["double"]
    assert "python-function" in shell.run("models", "show", "double").stdout
    assert shell.json("jobs")[0]["state"] == "done"

    kept = shell.run("models", "delete", "double", "--yes", "--json")
    assert json.loads(kept.stdout)["code"] == "conflict"
    assert shell.run("delete", "double").returncode == 2  # nobody can answer, and --yes is not given
    assert shell.json("delete", "double", "--yes") == {"deleted": "double"}
    assert shell.json("endpoints") == []


def test_the_same_again_sends_nothing_and_is_fast(shell: Shell, tmp_path: Path) -> None:
    folder = save(tmp_path / "double", DOUBLE)
    (folder / "weights.bin").write_bytes(os.urandom(90_000_000))
    shell.json("up")
    times: list[float] = []
    for number in range(4):
        begin = time.perf_counter()
        again = shell.run("deploy", str(folder))
        times.append(time.perf_counter() - begin)
        assert again.returncode == 0
        assert ("Nothing to send" in again.stderr) is (number > 0)
        assert "version 1" in again.stdout
    print("a deploy and its repetitions:", [round(seconds, 3) for seconds in times])
    # Nothing is sent and nothing started; the budget of 0.5 s is measured in bench, on a quiet machine.
    assert min(times[1:]) < times[0]


def test_options_stay_until_they_are_given_again(shell: Shell, tmp_path: Path) -> None:
    folder = str(save(tmp_path / "double", DOUBLE))
    options = ("--max-batch", "8", "--cache", "1MB", "--latency-target", "0.02", "--device", "cpu")
    assert shell.run("deploy", folder, *options).returncode == 0
    assert shell.run("deploy", folder, "--cache-ttl", "5").returncode == 0
    settings = shell.json("endpoints", "double")["serving"]["settings"]
    assert (
        settings["serving"] | {"max_batch": 8, "cache": 1_000_000, "cache_ttl": 5.0} == settings["serving"]
    )
    assert (settings["serving"]["latency_target"], settings["resources"]["device"]) == (0.02, "cpu")
    table = shell.run("endpoints", "double").stdout
    assert "1.0 MB, each answer for 5.00 s" in table and "8 rows" in table
    call = ("predict", "double", "--set", "x=2", "--priority", "1", "--timeout", "9", "--no-cache")
    assert shell.json(*call)["output"]["double"] == 4

    wrong = shell.run("deploy", folder, "--fallback", "nobody")
    assert wrong.returncode == 1
    assert "is no endpoint" in wrong.stderr
    assert shell.run("deploy", folder, "--reset").returncode == 0
    assert shell.json("endpoints", "double")["serving"]["settings"]["serving"]["max_batch"] == 1024


def test_a_model_that_does_not_start_shows_its_own_traceback(shell: Shell, tmp_path: Path) -> None:
    done = shell.run("deploy", str(save(tmp_path / "broken", BROKEN)), "--json")
    assert done.returncode == 1
    assert "the weights are missing" in done.stderr
    assert "model.py" in done.stderr
    assert "the weights are missing" in json.loads(done.stdout)["error"]
    assert "the weights are missing" in shell.run("logs", "broken").stdout


def test_a_rejected_file_is_told_in_a_sentence(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a graph" * 100)
    done = shell.run("deploy", str(tmp_path / "model.onnx"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "model.onnx" in done.stderr


def test_a_detached_deploy_is_followed_by_its_job(shell: Shell, tmp_path: Path) -> None:
    job = shell.json("deploy", str(save(tmp_path / "double", DOUBLE)), "--detach")["job"]
    story = shell.json("jobs", job)
    assert story["job"]["state"] == "done"
    assert [event["sequence"] for event in story["events"]] == list(range(1, len(story["events"]) + 1))


def test_ctrl_c_while_following_detaches_and_the_deployment_goes_on(shell: Shell, tmp_path: Path) -> None:
    shell.json("up")
    go_on = tmp_path / "go on"
    slow = f"import os, time\nwhile not os.path.exists({str(go_on)!r}):\n    time.sleep(0.01)\n" + DOUBLE
    told: list[str] = []
    interrupted = False
    with shell.start("deploy", str(save(tmp_path / "slow", slow))) as process:
        assert process.stderr is not None
        for line in process.stderr:
            told.append(line)
            if "environment" in line and not interrupted:
                process.send_signal(signal.SIGINT)
                interrupted = True
    assert process.returncode == 130
    (follow,) = [line for line in told if "modelyard jobs" in line]
    go_on.touch()
    assert shell.json("jobs", follow.split()[-1])["job"]["state"] == "done"
    assert shell.json("predict", "slow", "--set", "x=1")["output"]["double"] == 2


def test_a_terminal_sees_a_tick_per_stage(shell: Shell, tmp_path: Path) -> None:
    shell.json("up")
    folder = save(tmp_path / "double", DOUBLE)
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "deploy", str(folder)],
        env=shell.environment | {"TERM": "xterm-256color"}, stdin=follower, stdout=follower, stderr=follower,
    )  # fmt: skip
    os.close(follower)
    seen: list[bytes] = []

    def read() -> None:
        try:
            while chunk := os.read(leader, 65536):
                seen.append(chunk)
        except OSError:  # the other end is closed
            pass

    thread = threading.Thread(target=read)
    thread.start()
    assert process.wait(120) == 0
    thread.join()
    os.close(leader)
    text = b"".join(seen).decode()
    assert text.count("✓") >= 6
    assert "double is serving" in text


def test_the_key_is_asked_for_when_authentication_is_on(shell: Shell, tmp_path: Path) -> None:
    assert shell.json("up") and shell.json("down")
    shell.environment["MODELYARD_AUTHENTICATION"] = "true"
    done = shell.json("deploy", str(save(tmp_path / "double", DOUBLE)))
    assert "$MODELYARD_API_KEY" in done["curl"]
    assert shell.json("predict", "double", "--set", "x=1")["output"]["double"] == 2
    command = ["curl", "-s", done["url"], "-d", '{"x": 1}', "-H", "Content-Type: application/json"]
    refused = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert refused["code"] == "unauthenticated"


def test_an_interrupted_upload_goes_on_where_it_was(shell: Shell, tmp_path: Path) -> None:
    shell.json("up")
    folder = save(tmp_path / "double", DOUBLE)
    weights = [os.urandom(3_000_000) for _ in range(14)]
    for number, data in enumerate(weights):
        (folder / f"weights{number}.bin").write_bytes(data)

    def interrupt(event: JobEvent) -> None:
        if event.stage == "upload" and event.kind == "progress" and (event.current or 0) > 7_000_000:
            raise KeyboardInterrupt

    with Client(home=str(shell.home)) as client:
        with pytest.raises(KeyboardInterrupt):
            client.begin_deploy(folder, on_event=interrupt)
        assert client.models() == []
        here = {path.name for path in (shell.home / "blobs" / "objects").glob("*/*")}
        missing = [data for data in weights if hashlib.sha256(data).hexdigest() not in here]
        assert 0 < len(missing) <= 11, len(missing)  # several are under way at a time
        told: list[JobEvent] = []
        client.deploy(folder, on_event=told.append)
    (started,) = [event for event in told if event.stage == "upload" and event.kind == "stage_started"]
    assert (started.message, started.total) == (f"Sending {len(missing)} file(s)", 3_000_000 * len(missing))


def test_deploy_gives_a_platform_without_supervisor_a_new_one(shell: Shell, tmp_path: Path) -> None:
    shell.json("up")
    before = (shell.pid("control"), shell.pid("node"))
    shell.kill("supervisor")
    done = shell.run("deploy", str(save(tmp_path / "double", DOUBLE)))
    assert done.returncode == 0
    assert (shell.pid("control"), shell.pid("node")) == before
    assert shell.json("status")["problem"] is None
