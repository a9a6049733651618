"""``hf://``: a model of a hub from its name to an endpoint."""

from pathlib import Path

import pytest

from support.hub import Hub
from support.shell import Shell

pytestmark = pytest.mark.timeout(300)

DOUBLE = b"def predict(x: int):\n    return 2 * x\n"


def test_a_model_of_the_hub_is_one_command_away(shell: Shell, tmp_path: Path) -> None:
    hub = Hub({"Owner/Double-It": {"model.py": DOUBLE, "README.md": b"# Double"}})
    with hub.serve() as url:
        shell.environment |= {
            "HF_ENDPOINT": url,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_XET": "1",
        }
        analysis = shell.json("analyze", "hf://Owner/Double-It")
        assert analysis["adapter"] == "function"
        deployed = shell.json("deploy", "hf://Owner/Double-It")
        assert (deployed["endpoint"], deployed["state"]) == ("double-it", "ready")
        assert shell.json("predict", "double-it", "--set", "x=21")["output"] == 42
        wrong = shell.run("deploy", "hf://Owner/Nothing")
        assert wrong.returncode == 1
        assert "The hub shows no model 'Owner/Nothing'" in wrong.stderr
    missing = shell.run("deploy", "./nothing-here")
    assert missing.returncode == 2
    assert "There is no file or folder './nothing-here'" in missing.stderr


def test_bytes_go_in_as_a_file(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "count").mkdir()
    (tmp_path / "count" / "model.py").write_text(
        "def predict(file: bytes):\n    return {'bytes': len(file), 'first': list(file[:3])}\n"
    )
    shell.json("deploy", str(tmp_path / "count"))
    (tmp_path / "data.bin").write_bytes(b"\xff\x00\x01" + bytes(1000))
    (tmp_path / "text.txt").write_text("héllo")
    for name, expected in (
        ("data.bin", {"bytes": 1003, "first": [255, 0, 1]}),
        ("text.txt", {"bytes": 6, "first": [104, 195, 169]}),
    ):
        assert shell.json("predict", "count", "--set", f"file=@{tmp_path / name}")["output"] == expected
    gone = shell.run("predict", "count", "--set", f"file=@{tmp_path / 'gone'}")
    assert gone.returncode == 2
    assert "cannot be read" in gone.stderr
