"""``predict --detach`` and ``jobs``, for real: a function, and a program with files in and out."""

import json
from pathlib import Path

import pytest
import yaml

from support.shell import Shell

pytestmark = pytest.mark.timeout(300)

HALVE = """
import time
from modelyard_executor.adapter import progress

def predict(x: float, hang: bool = False):
    while hang:
        progress(0.5, "half way")
        time.sleep(0.02)
    return {"half": x / 2}
"""
COMMAND = {
    "command": {
        "run": ["python", "-c", "import sys; open('back.bin', 'wb').write(open(sys.argv[1], 'rb').read()[::-1])", "{data}"],
        "outputs": {"back": {"file": "back.bin"}},
    },
    "signature": {"inputs": [{"name": "data", "datatype": "BYTES", "kind": "bytes"}]},
    "example": {"data": "abc"},
}  # fmt: skip


def test_a_prediction_that_nobody_waits_for(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "halve"
    folder.mkdir()
    (folder / "model.py").write_text(HALVE)
    assert shell.run("deploy", str(folder)).returncode == 0

    told = shell.run("predict", "halve", "--set", "x=3", "--detach")
    assert told.returncode == 0, told.stderr
    job = told.stdout.split()[2]
    shown = shell.run("jobs", job)
    assert shown.returncode == 0, shown.stderr
    assert shell.json("jobs", job) == {"output": {"half": 1.5}}

    hanging = shell.json("predict", "halve", "--set", "x=3", "--set", "hang=true", "--detach")
    listed = shell.json("jobs")
    assert {each["id"] for each in listed} >= {job, hanging["id"]}
    table = shell.run("jobs").stdout
    assert "predict" in table
    assert "deploy" in table
    assert shell.json("jobs", hanging["id"], "--cancel")["state"] == "cancelled"
    refused = shell.run("jobs", hanging["id"])
    assert refused.returncode == 1
    assert "was cancelled" in refused.stderr

    wrong = shell.run("predict", "halve", "--set", "y=3", "--detach")
    assert wrong.returncode == 1
    assert "takes no 'y'" in wrong.stderr

    batch = tmp_path / "batch.json"
    batch.write_text(json.dumps([{"x": 1.0}, {"x": "no"}]))
    many = shell.json("predict", "halve", "-i", str(batch), "--detach")["id"]
    done = shell.run("jobs", many, "--json")
    assert done.returncode == 1  # a record failed
    answers = json.loads(done.stdout)
    assert answers[0] == {"output": {"half": 0.5}}
    assert answers[1]["code"] == "invalid_input"


def test_a_program_with_files_in_and_out(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "turn"
    folder.mkdir()
    (folder / "model.yaml").write_text(yaml.safe_dump(COMMAND))
    done = shell.run("deploy", str(folder))
    assert done.returncode == 0, done.stderr
    (tmp_path / "in.bin").write_bytes(b"\x00\xff1")
    job = shell.json("predict", "turn", "--set", f"data=@{tmp_path / 'in.bin'}", "--detach")["id"]
    saved = shell.run("jobs", job, "--save", str(tmp_path / "out"))
    assert saved.returncode == 0, saved.stderr
    assert (tmp_path / "out" / "back").read_bytes() == b"1\xff\x00"
