"""``modelyard add``: from a project that nobody knows to an endpoint."""

import json
from pathlib import Path

import pytest

from support.projects import MOODY, Project, project
from support.shell import Shell

__all__ = ["project"]

pytestmark = pytest.mark.timeout(300)

README = (
    """
# moody

```python
from moody import Analyzer

analyzer = Analyzer(language="en")
mood = analyzer.analyze("what a good day")
print(mood.label, mood.score)
```
"""
    + " " * 300
)


def test_a_folder_becomes_an_endpoint(shell: Shell, project: Project, tmp_path: Path) -> None:
    source = project({**MOODY, "README.md": README})
    told = shell.json("add", str(source), "--to", str(tmp_path / "model"), "--test", "--deploy")
    assert told["trial"]["answer"] == {"output": {"label": "good", "score": 1}}
    assert (told["endpoint"], told["state"]) == ("moody", "ready")
    answer = shell.json("predict", "moody", "--text", "bad bad day")
    assert answer["output"] == {"label": "bad", "score": -2}


def test_a_report_writes_and_runs_nothing(shell: Shell, project: Project, tmp_path: Path) -> None:
    source = project(
        {
            **MOODY,
            "README.md": README,
            "moody/__init__.py": MOODY["moody/__init__.py"] + f"\nopen({str(tmp_path / 'ran')!r}, 'w')\n",
        }
    )
    shell.environment["PWD"] = str(tmp_path)
    done = shell.run("add", str(source), "--analyze")
    assert done.returncode == 0, done.stderr
    assert "analyzer.analyze('what a good day')" in done.stdout
    assert "README.md:" in done.stdout
    assert not (tmp_path / "ran").exists()
    assert not Path("moody-model").exists()


def test_what_is_not_known_is_asked_not_guessed(shell: Shell, project: Project, tmp_path: Path) -> None:
    source = project({**MOODY, "README.md": "It reads moods. " * 30})
    to = tmp_path / "model"
    done = shell.run("add", str(source), "--to", str(to))
    assert done.returncode == 1
    assert "answer with --call NUMBER" in done.stderr
    assert "answer with --example text=VALUE" in done.stderr
    assert not to.exists()
    as_json = shell.run("add", str(source), "--to", str(to), "--json")
    assert as_json.returncode == 1
    questions = json.loads(as_json.stdout)["report"]["questions"]
    assert {question["about"] for question in questions} == {"call", "example.text"}
    shell.json("add", str(source), "--to", str(to), "--call", "score", "--example", "text=good", "--test")
    assert (to / "model.yaml").is_file()


def test_what_was_changed_by_hand_is_taken_as_it_is(shell: Shell, project: Project, tmp_path: Path) -> None:
    source = project({**MOODY, "README.md": README})
    to = tmp_path / "model"
    shell.json("add", str(source), "--to", str(to))
    (to / "model.py").write_text("def predict(text: str):\n    return text.upper()\n")
    told = shell.json("add", str(source), "--to", str(to), "--test")
    assert told["trial"]["answer"] == {"output": "WHAT A GOOD DAY"}
    told = shell.json("add", str(source), "--to", str(to), "--test", "--overwrite")
    assert told["trial"]["answer"] == {"output": {"label": "good", "score": 1}}


def test_a_model_of_a_known_format_needs_no_files(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "double"
    folder.mkdir()
    (folder / "model.py").write_text("def predict(x: int):\n    return 2 * x\n")
    told = shell.json("add", str(folder))
    assert told["folder"] == str(folder)
    assert any(each["about"] == "format" for each in told["report"]["findings"])


def test_no_source_is_told(shell: Shell) -> None:
    done = shell.run("add", "not a source!")
    assert done.returncode == 1
    assert "neither a folder here" in done.stderr
