"""The store at the command line."""

import json
import shutil
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

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
    used = shell.run("store", "usage").stdout
    assert "are kept as" in used and "Read and compared within the last 30 days: 100%." in used
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
    assert "damaged: m/1/m.onnx" in shell.run("store", "usage").stdout


def test_a_sibling_that_is_kept_as_pieces_is_served_again_after_all_is_removed(
    shell: Shell, tmp_path: Path
) -> None:
    """Deployed, looked at, its folder and cache lost, and deployed again: put together, and right."""
    shell.json("up")
    base = save_mlp(tmp_path / "base.onnx", sizes=(1024, 1024, 1024))
    shell.json("deploy", str(base))
    model = onnx.load(str(base))
    last = max(model.graph.initializer, key=lambda each: (len(each.raw_data), each.name))
    last.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(last) * 2, last.name))
    onnx.save(model, str(tmp_path / "tuned.onnx"))
    shell.json("deploy", str(tmp_path / "tuned.onnx"))
    shell.json("store", "collect")
    told = shell.json("store", "usage")
    print(shell.run("store", "usage").stdout)
    assert {each["model"] for each in told["models"]} == {"base", "tuned"}
    assert all(each["shared"] > 0.4 * each["logical"] for each in told["models"])
    assert told["stored"] < 0.8 * told["logical"]
    first = shell.json("predict", "tuned", "--set", "x=" + json.dumps([0.25] * 1024))

    shell.json("delete", "tuned", "--yes")
    shell.json("down")
    shutil.rmtree(shell.home / "versions")
    shell.json("up")
    shell.json("deploy", str(tmp_path / "tuned.onnx"))
    (laid_out,) = (shell.home / "versions").rglob("tuned.onnx")
    assert laid_out.read_bytes() == (tmp_path / "tuned.onnx").read_bytes()
    # Whether ONNX Runtime packs the weights is decided anew by each executor, and moves the last digits.
    again = shell.json("predict", "tuned", "--set", "x=" + json.dumps([0.25] * 1024))
    assert again["y"] == pytest.approx(first["y"], rel=1e-4, abs=1e-4)
    assert any((shell.home / "blobs" / "cache").glob("??/*"))
    assert shell.json("store", "verify", "--deep")["troubles"] == []
