"""What is written: Python that runs, that people can read, and that passes our own lint."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.analyze import analyze
from modelyard.core.errors import Conflict
from modelyard.onboard import write
from modelyard.store.files import FolderFiles
from support.projects import MOODY, Project, looked

ROOT = Path(__file__).parents[2]
READMES = {
    "object": """
        ```python
        from moody import Analyzer
        analyzer = Analyzer(language="en")
        mood = analyzer.analyze("what a good day")
        print(mood.label, mood.score)
        ```
        """,
    "function": ">>> from moody import score\n>>> score('good \\\\ \\'\"\"\" day', weight=2.0)\n2.0\n",
    "file at once": """
        ```python
        import moody
        print(moody.score(open("sample.txt").read()))
        ```
        """,
    "file": """
        ```python
        import moody
        with open("sample.txt") as file:
            print(moody.score(file.read()))
        ```
        """,
}


@pytest.mark.parametrize("form", READMES)
def test_it_is_readable_and_passes_our_own_lint(project: Project, form: str, tmp_path: Path):
    found = looked(
        project({**MOODY, "sample.txt": "good good", "README.md": READMES[form] + "\n" + " " * 300})
    )
    assert found.report.ready
    folder = tmp_path / "model"
    paths = write(found, folder)
    assert {"model.py", "model.yaml", "requirements.txt", "test_model.py", "moody/words.json"} <= set(paths)
    ruff = [sys.executable, "-m", "ruff", "check", "--no-cache", "--config", str(ROOT / "pyproject.toml")]
    checked = subprocess.run(
        [*ruff, "model.py", "test_model.py"], cwd=folder, capture_output=True, text=True
    )
    assert checked.returncode == 0, (folder / "model.py").read_text() + checked.stdout
    analysis = analyze(FolderFiles(folder))
    assert analysis.adapter == "function"
    assert analysis.example == found.example
    tested = subprocess.run([sys.executable, "test_model.py"], cwd=folder, capture_output=True, text=True)
    assert tested.returncode == 0, tested.stderr


def test_nothing_is_written_over(project: Project, tmp_path: Path):
    found = looked(project({**MOODY, "README.md": READMES["object"] + " " * 300}))
    folder = tmp_path / "model"
    write(found, folder)
    (folder / "model.py").write_text("# mine\n")
    with pytest.raises(Conflict, match="--overwrite"):
        write(found, folder)
    assert (folder / "model.py").read_text() == "# mine\n"
    write(found, folder, overwrite=True)
    assert "Analyzer" in (folder / "model.py").read_text()


def test_a_write_that_fails_leaves_what_was_there(project: Project, tmp_path: Path, monkeypatch):
    found = looked(project({**MOODY, "README.md": READMES["object"] + " " * 300}))
    folder = tmp_path / "model"
    write(found, folder)
    before = (folder / "model.py").read_text()
    monkeypatch.setattr("modelyard.onboard.writing._test_source", lambda look: json.loads("no"))
    with pytest.raises(ValueError, match="Expecting value"):
        write(found, folder, overwrite=True)
    assert (folder / "model.py").read_text() == before
    assert not list(tmp_path.glob(".model*"))
