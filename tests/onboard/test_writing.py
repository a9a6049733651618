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
    "data that may be left out": ">>> from moody import score\n>>> score('good', words=['day'])\n2.0\n",
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


@pytest.mark.parametrize(
    ("head", "call", "expected"),
    [
        (
            "def predict(text):\n    return text.upper()\n",
            "from moody import predict\npredict('so good')",
            "SO GOOD",
        ),
        (
            "class Model:\n    def run(self, text):\n        return text.upper()\n",
            "from moody import Model\nmodel = Model()\nmodel.run('so good')",
            "SO GOOD",
        ),
        (
            "def score(text):\n    return text.upper()\n",
            "from moody import score as predict\npredict('so good')",
            "SO GOOD",
        ),
    ],
    ids=["predict", "Model", "another name"],
)
def test_what_is_called_as_ours_is_not_mistaken_for_it(
    project: Project, tmp_path: Path, head: str, call: str, expected: str
):
    readme = f"```python\n{call}\n```\n" + " " * 300
    found = looked(project({**MOODY, "moody/__init__.py": head, "README.md": readme}))
    write(found, tmp_path / "model")
    asked = "import model; made = getattr(model, 'Model', lambda: model)()\nif hasattr(made, 'load'): made.load(None)\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{asked}print(made.predict('so good'))"],
        cwd=tmp_path / "model",
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == expected, done.stderr + (tmp_path / "model" / "model.py").read_text()


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


def test_what_is_written_over_is_kept_and_what_is_not_ours_is_left(project: Project, tmp_path: Path):
    found = looked(project({**MOODY, "README.md": READMES["object"]}))
    write(found, tmp_path / "model")
    (tmp_path / "model" / "mine.txt").write_text("mine")
    write(found, tmp_path / "model", overwrite=True)
    assert (tmp_path / "model.before" / "mine.txt").read_text() == "mine"
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years")
    with pytest.raises(Conflict, match="is not written over"):
        write(found, tmp_path / "thesis", overwrite=True)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years"


def test_a_link_that_leaves_the_project_is_not_followed(project: Project, tmp_path: Path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key").write_text("secret")
    folder = project({**MOODY, "README.md": READMES["object"]})
    (folder / "moody" / "data").symlink_to(tmp_path / "secrets")
    (folder / "moody" / "key").symlink_to(tmp_path / "secrets" / "key")
    (folder / "moody" / "same.json").symlink_to("words.json")
    write(looked(folder), tmp_path / "model")
    assert not (tmp_path / "model" / "moody" / "data").exists()
    assert not (tmp_path / "model" / "moody" / "key").exists()
    assert (tmp_path / "model" / "moody" / "same.json").read_text() == MOODY["moody/words.json"]


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
