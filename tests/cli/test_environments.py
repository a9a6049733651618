"""Environments at the command line: which there are, for whom, with what in them."""

import json
from pathlib import Path

import pytest

from support.shell import Shell

pytestmark = pytest.mark.timeout(300)


def test_environments_are_listed_and_shown(shell: Shell, tmp_path: Path) -> None:
    shell.json("up")
    assert "No environments yet" in shell.run("environments").stdout
    (tmp_path / "double").mkdir()
    (tmp_path / "double" / "model.py").write_text("def predict(x: float):\n    return 2 * x\n")
    shell.json("deploy", str(tmp_path / "double"))
    shell.json("deploy", str(tmp_path / "double"), "--name", "twice")
    (one,) = shell.json("environments")
    assert sorted(user["endpoint"] for user in one["used_by"]) == ["double", "twice"]
    row = next(line for line in shell.run("environments").stdout.splitlines() if one["id"][:16] in line)
    assert "double, twice" in row
    assert shell.json("environments", one["id"][:8])["id"] == one["id"]
    shown = shell.run("environments", one["id"]).stdout
    assert "double (double v1)" in shown and "twice (twice v1)" in shown
    assert shell.run("environments", "show", one["id"]).stdout == shown
    wrong = shell.run("environments", "no-such", "--json")
    assert wrong.returncode == 1 and json.loads(wrong.stdout)["code"] == "not_found"


def test_environments_that_nobody_needs_are_cleaned(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "model.py").write_text("def predict(x: float):\n    return x\n")
    shell.json("deploy", str(folder))
    (folder / "requirements.txt").write_text("iniconfig<2.2\n")
    shell.json("deploy", str(folder))
    (used,) = [each["id"] for each in shell.json("environments", "list") if each["used_by"]]
    (unused,) = [each["id"] for each in shell.json("environments") if each["id"] != used]

    told = shell.run("environments", "clean").stdout
    assert "0 removed" in told and "1 in use, 1 unused for a short time only" in told
    told = shell.json("environments", "clean", "--older-than", "0s", "--dry-run")
    assert [each["id"] for each in told["removed"]] == [unused]
    assert told["used"] == [used] and told["freed"] > 0
    assert len(shell.json("environments")) == 2
    shown = shell.run("environments", "clean", "--older-than", "0s", "--dry-run").stdout
    assert unused[:16] in shown and "1 would be removed; that frees" in shown

    assert shell.json("environments", "clean", "--older-than", "0s")["freed"] == told["freed"]
    left = shell.home / "environments" / ("0" * 32)  # of an interpreter that is no more
    (left / "bin").mkdir(parents=True)
    (left / "bin" / "python").symlink_to("/no/such/python")
    told = shell.json("environments", "clean", "--older-than", "0s")
    assert [each["id"] for each in told["removed"]] == [left.name] and not left.exists()
    assert all(each["freed"] <= each["size"] for each in told["removed"])
    assert [each["id"] for each in shell.json("environments")] == [used]
    assert "0 removed" in shell.run("environments", "clean", "--older-than", "0s").stdout
    assert shell.json("predict", "m", "--set", "x=2")["output"] == 2
    assert shell.run("environments", "clean", "--older-than", "soon").returncode == 2
    shell.kill("supervisor", "node")
    refused = shell.run("environments", "clean", "--older-than", "0s")
    assert refused.returncode == 1 and "The node does not answer" in refused.stderr
