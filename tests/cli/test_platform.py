"""The platform's programs for real: up, down, status, and what happens when one is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from modelyard.host import process
from support import lesser_kernel
from support.node import wait_until
from support.ports import free_port
from support.shell import PROGRAM, Shell

pytestmark = pytest.mark.timeout(300)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return response.status == 200
    except OSError:
        return False


def test_up_starts_everything_and_down_stops_everything(shell: Shell) -> None:
    up = shell.json("up")
    assert up["started"] is True
    assert answers(up["control"] + "/ready")
    assert answers(up["node"] + "/v2/health/live")
    status = shell.json("status")
    assert {name: entry["state"] for name, entry in status["programs"].items()} == {
        "supervisor": "running", "control": "running", "node": "running",
    }  # fmt: skip
    assert status["problem"] is None

    again = shell.run("up")
    assert again.returncode == 0
    assert "running already" in again.stdout

    pids = [shell.pid(program) for program in ("supervisor", "control", "node")]
    assert shell.json("down") == {"stopped": True}
    assert not [pid for pid in pids if Path(f"/proc/{pid}/stat").exists() and process.is_alive(pid)]
    assert shell.json("down") == {"stopped": False}


def test_the_supervisor_is_small_and_detached(shell: Shell) -> None:
    shell.json("up")
    pid = shell.pid("supervisor")
    described = process.describe(pid)
    assert described is not None
    assert described.memory <= 20 * 1024 * 1024
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/fd/1").readlink() == shell.home / "logs" / "supervisor.log"


def test_whichever_program_is_killed_comes_back_at_the_same_address(shell: Shell) -> None:
    """Also where it may take any port; it tries for its former one, from the very first start."""
    (shell.home / "run").mkdir(parents=True)
    for program in ("control", "node", "grpc"):
        (shell.home / "run" / f"{program}.url").write_text(f"http://127.0.0.1:{free_port()}")
        shell.environment[f"MODELYARD_{program.upper()}_PORT"] = "0"
    former = (shell.home / "run" / "node.url").read_text()
    up = shell.json("up")
    assert up["node"] == former
    for program, url in (("node", up["node"] + "/v2/health/live"), ("control", up["control"] + "/ready")):
        (killed,) = shell.kill(program)
        wait_until(lambda url=url: answers(url), what=f"the return of {program}")
        assert shell.holder(program) not in (None, killed)
    state = shell.json("status")["programs"]
    assert [state[name]["restarts"] for name in ("node", "control")] == [1, 1]
    assert "signal 9" in state["node"]["failure"]


def test_a_killed_supervisor_leaves_both_serving_and_the_next_adopts_them(shell: Shell) -> None:
    up = shell.json("up")
    before = (shell.holder("control"), shell.holder("node"))
    shell.kill("supervisor")
    assert answers(up["control"] + "/ready")
    assert answers(up["node"] + "/v2/health/live")
    assert "No supervisor" in shell.json("status")["problem"]

    shell.json("up")
    assert (shell.holder("control"), shell.holder("node")) == before
    assert shell.holder("supervisor") is not None
    state = json.loads((shell.home / "run" / "supervisor.json").read_text())["programs"]
    assert state["node"]["adopted"] and state["control"]["adopted"]

    (killed,) = shell.kill("node")
    wait_until(lambda: answers(up["node"] + "/v2/health/live"), what="the node's return")
    assert shell.holder("node") != killed


def test_down_without_a_supervisor_stops_its_programs(shell: Shell) -> None:
    shell.json("up")
    shell.kill("supervisor")
    assert shell.json("down") == {"stopped": True}
    assert shell.holder("node") is None
    assert shell.holder("control") is None


def test_two_ups_at_once_make_one_platform(shell: Shell) -> None:
    both = [shell.start("up", "--json") for _ in range(2)]
    told = [json.loads(process.communicate(timeout=150)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert told[0]["control"] == told[1]["control"]
    assert told[0]["node"] == told[1]["node"]


def test_a_taken_port_is_named_and_nothing_is_left(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = shell.run("up", "--port", port, "--json")
        assert done.returncode == 1
        assert port in done.stderr and "--port" in done.stderr
        assert json.loads(done.stdout)["code"] == "conflict"
        done = shell.run("up", "--node-port", port)
        assert done.returncode == 1
        assert "MODELYARD_NODE_PORT" in done.stderr
        done = shell.run("up", "--grpc-port", port)
        assert done.returncode == 1
        assert "MODELYARD_GRPC_PORT" in done.stderr
    assert shell.holder("supervisor") is None


def test_other_flags_than_the_running_platform_has_are_refused(shell: Shell) -> None:
    shell.json("up")
    done = shell.run("up", "--port", "1")
    assert done.returncode == 1
    assert "modelyard down" in done.stderr
    assert shell.run("up", "--port", shell.environment["MODELYARD_CONTROL_PORT"]).returncode == 0


def test_the_network_is_not_let_in_without_authentication(shell: Shell) -> None:
    done = shell.run("up", "--host", "0.0.0.0")
    assert done.returncode == 1
    assert "--authentication" in done.stderr
    assert not (shell.home / "run" / "supervisor.json").exists()


def test_a_program_that_cannot_start_is_told_with_its_last_words(shell: Shell) -> None:
    shell.home.mkdir(mode=0o700)
    (shell.home / "modelyard.db").mkdir()  # no database can be opened there
    done = shell.run("up")
    assert done.returncode == 1
    assert "control does not start" in done.stderr
    words = done.stderr.partition("last words")[2].splitlines()
    assert len(words) > 1 and len(set(words)) == len(words)  # it was started again and again
    assert shell.holder("supervisor") is None
    assert shell.holder("node") is None


def test_a_log_of_more_than_ten_megabytes_starts_anew(shell: Shell) -> None:
    (shell.home / "logs").mkdir(parents=True)
    (shell.home / "logs" / "node.log").write_bytes(b"x" * (10 * 1024 * 1024 + 1))
    shell.json("up")
    assert (shell.home / "logs" / "node.log.1").stat().st_size == 10 * 1024 * 1024 + 1
    assert (shell.home / "logs" / "node.log").stat().st_size < 1024 * 1024


def test_a_terminal_that_closes_does_not_take_the_platform_along(shell: Shell) -> None:
    """The command's whole process group is gone; what it started is not in it."""
    process = shell.start("up", "--json", start_new_session=True)
    up = json.loads(process.communicate(timeout=150)[0])
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    assert answers(up["control"] + "/ready")


def test_the_doctor_finds_nothing_in_a_home_that_was_used(shell: Shell) -> None:
    shell.json("up")
    shell.json("down")
    assert shell.json("doctor")["healthy"] is True
    assert "in order" in shell.run("doctor").stdout


def test_the_doctor_says_what_does_not_run_where_nothing_can_be_held(shell: Shell) -> None:
    lesser = [sys.executable, str(lesser_kernel.__file__), "landlock,seccomp", *PROGRAM[1:], "doctor"]
    done = subprocess.run(lesser, env=shell.environment, text=True, capture_output=True, timeout=150)
    assert (
        "trust let in (--trust-pickle) does not run here: files and the network cannot be held"
        in done.stdout
    )
    whole = shell.json("doctor")["confinement"]
    if whole["files"] and whole["network"] == "seccomp" and "all but" not in whole["files"]:
        assert "trust let in" not in shell.run("doctor").stdout
