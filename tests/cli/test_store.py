"""The store at the command line."""

import json
from pathlib import Path

import pytest

from support.models import save_mlp
from support.shell import Shell
from support.stores import damage

pytestmark = pytest.mark.timeout(300)


def test_the_store_is_told_checked_and_collected(shell: Shell, tmp_path: Path) -> None:
    shell.json("up")
    assert "No models yet" in shell.run("store", "usage").stdout
    model = save_mlp(tmp_path / "m.onnx", sizes=(512, 512, 512))
    shell.json("deploy", str(model))
    (one,) = shell.json("store", "usage")["models"]
    assert (one["model"], one["logical"], one["shared"]) == ("m", model.stat().st_size, 0)
    assert "are kept as" in shell.run("store", "usage").stdout
    assert "1 of 1 blobs" in shell.run("store", "verify", "--deep").stdout
    assert "removed or packed anew" in shell.run("store", "collect").stdout
    assert shell.json("store", "collect")["blobs"] == 0

    (blob,) = (shell.home / "blobs" / "objects").glob("??/*")
    damage(blob, 100_000)
    wrong = shell.run("store", "verify", "--deep", "--repair")
    assert wrong.returncode == 1
    assert "damaged: m/1/m.onnx" in wrong.stdout and "0 of 1 blobs" in wrong.stdout
    told = shell.run("store", "verify", "--deep", "--json")
    assert told.returncode == 1
    assert json.loads(told.stdout)["troubles"][0]["used_by"] == ["m/1/m.onnx"]
