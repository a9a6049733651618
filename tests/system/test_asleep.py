"""More models than memory, from the command line: who sleeps, what wakes, what is said of it."""

import os
import signal
from pathlib import Path

import pytest

from modelyard.client import Client
from support.node import wait_until
from support.shell import Shell

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

CODE = "BALLAST = bytearray(b'x') * 100_000_000\ndef predict(x: float):\n    return x + 1\n"


def state(shell: Shell, name: str) -> str:
    return shell.json("endpoints", name)["state"]


def test_models_sleep_and_wake_and_the_command_line_says_so(shell: Shell, tmp_path: Path) -> None:
    shell.environment["MODELYARD_MEMORY"] = "350MB"
    shell.json("up")
    for number in range(3):
        (tmp_path / f"m{number}").mkdir()
        (tmp_path / f"m{number}" / "model.py").write_text(CODE)
        deployed = shell.json("deploy", str(tmp_path / f"m{number}"), "--name", f"m{number}")
        assert deployed["state"] in ("ready", "asleep")
    assert sorted(state(shell, f"m{number}") for number in range(3)) == ["asleep", "ready", "ready"]
    for number in (0, 1, 2, 0):
        assert shell.json("predict", f"m{number}", "--set", "x=1") == {"output": 2.0}
        assert state(shell, f"m{number}") == "ready"
    status = shell.run("status").stdout
    assert "of 350.0 MB; 2 awake, 1 asleep" in status

    assert shell.run("sleep", "m0").stdout == "m0 sleeps; the next call wakes it.\n"
    assert state(shell, "m0") == "asleep"
    assert shell.run("wake", "m0").stdout == "m0 is in memory.\n"
    assert state(shell, "m0") == "ready"
    assert shell.json("sleep", "m0") == {"asleep": "m0"}
    shown = shell.run("endpoints", "m0").stdout
    for part in ("m0 (asleep)", "wakes in", "when others need its memory", "0/1 ready"):
        assert part in shown
    wrong = shell.run("wake", "nobody")
    assert wrong.returncode == 1 and "There is no endpoint 'nobody'" in wrong.stderr

    # Another revision of one that sleeps, always in memory from now on.
    pinned = shell.json("deploy", str(tmp_path / "m0"), "--name", "m0", "--min-replicas", "1")
    assert pinned["state"] == "ready"
    assert shell.json("endpoints", "m0")["serving"]["revision"] == 2
    refused = shell.run("sleep", "m0")
    assert refused.returncode == 1 and "--min-replicas 0" in refused.stderr
    assert "never" in shell.run("endpoints", "m0").stdout

    # What sleeps is served by a node that was killed, too.
    shell.json("sleep", "m1")
    os.kill(shell.pid("node"), signal.SIGKILL)
    wait_until(lambda: state(shell, "m0") == "ready", what="the node's next start")
    assert state(shell, "m1") == "asleep"
    os.environ.pop("MODELYARD_URL", None)
    with Client(home=str(shell.home)) as client:
        client.wake("m1")
        assert client.endpoint("m1").state == "ready"
        client.sleep("m1")
        assert client.predict("m1", x=1.0) == {"output": 2.0}


def test_a_model_that_finds_no_room_fails_with_the_reason(shell: Shell, tmp_path: Path) -> None:
    shell.environment["MODELYARD_MEMORY"] = "200MB"
    shell.json("up")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.py").write_text(CODE)
    shell.json("deploy", str(tmp_path / "first"), "--min-replicas", "1")
    failed = shell.run("deploy", str(tmp_path / "second"), "--min-replicas", "1")
    assert (failed.returncode, "modelyard up --memory" in failed.stderr) == (1, True)
    assert shell.json("predict", "first", "--set", "x=1") == {"output": 2.0}
    wrong = Shell(tmp_path / "other", MODELYARD_MEMORY="8 bananas").run("up")
    assert wrong.returncode != 0 and "8 bananas" in wrong.stderr


def test_the_memory_of_devices_is_shared_out_and_the_command_line_says_so(
    shell: Shell, tmp_path: Path
) -> None:
    shell.environment["MODELYARD_DEVICES"] = "cpu:0=500MB"
    shell.json("up", "--device-memory", "cpu:0=220MB", "--memory", "4GiB")
    assert shell.run("up", "--device-memory", "cpu:0=220MB", "--memory", "4GiB").returncode == 0
    other = shell.run("up", "--device-memory", "1GB")
    assert (other.returncode, "device memory cpu:0=220MB, not 1GB" in other.stderr) == (1, True)
    for name in ("m0", "m1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.py").write_text(CODE)
        shell.json("deploy", str(tmp_path / name), "--name", name)
    assert sorted(state(shell, name) for name in ("m0", "m1")) == ["asleep", "ready"]
    for name in ("m0", "m1"):
        assert shell.json("predict", name, "--set", "x=1") == {"output": 2.0}
    status = shell.run("status").stdout
    assert "cpu:0 (simulated)" in status and "of 220.0 MB" in status
    (device,) = shell.json("status")["budget"]["devices"]
    assert 100_000_000 < device["used"] <= device["budget"]
    assert "takes of simulated devices" in shell.run("endpoints", "m0").stdout
    wrong = Shell(tmp_path / "other").run("up", "--device-memory", "cuda:0=8 bananas")
    assert (wrong.returncode, "bananas" in wrong.stderr) == (1, True)
