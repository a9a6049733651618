"""``modelyard analyze``: a description without a platform."""

from pathlib import Path

from support.shell import Shell


def test_a_function_is_described_and_nothing_of_it_runs(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        "raise SystemExit('ran')\ndef predict(text: str, top: int = 3): ...\n"
    )
    (tmp_path / "requirements.txt").write_text("numpy>=1.26\n")
    found = shell.json("analyze", str(tmp_path))
    assert found["format"] == "python-function"
    assert found["executes"] == "code"
    told = shell.run("analyze", str(tmp_path)).stdout
    for word in ("python-function", "numpy>=1.26", "text", "INT64", "optional"):
        assert word in told
    assert not shell.home.exists()


def test_what_is_no_model_is_refused_with_a_sentence(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    done = shell.run("analyze", str(tmp_path / "notes.txt"))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
