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
    wrong = shell.run("environments", "no-such", "--json")
    assert wrong.returncode == 1 and json.loads(wrong.stdout)["code"] == "not_found"
