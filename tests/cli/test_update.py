"""``modelyard update`` and ``list``: what was added, at another version."""

import subprocess
from pathlib import Path

import pytest

from support.projects import MOODY, Project, project
from support.shell import Shell

__all__ = ["project"]

pytestmark = pytest.mark.timeout(300)

README = "```python\nfrom moody import score\nprint(score('so good'))\n```\n"


def git(folder: Path, *arguments: str) -> None:
    told = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *told, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(project: Project) -> Path:
    """Two versions: the second one scores tenfold; a third cannot be loaded."""
    folder = project({**MOODY, "README.md": README})
    core = folder / "moody" / "core.py"
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "one")
    git(folder, "tag", "v1")
    core.write_text(core.read_text().replace("return weight * (", "return 10 * weight * ("))
    git(folder, "commit", "--quiet", "-am", "two")
    git(folder, "tag", "v2")
    core.write_text(
        "raise RuntimeError('half done')\n\n\nclass Analyzer: ...\n\n\ndef score(text):\n    return 0\n"
    )
    git(folder, "commit", "--quiet", "-am", "three")
    git(folder, "tag", "v3")
    return folder


def test_a_model_that_was_added_is_brought_to_another_version(
    shell: Shell, repository: Path, tmp_path: Path
) -> None:
    to = str(tmp_path / "model")
    shell.json("add", f"file://{repository}@v1", "--to", to, "--name", "moody", "--test", "--deploy")
    assert shell.json("predict", "moody", "--text", "good good")["output"] == 2
    told = shell.json("update", "moody", "--version", "v2")
    assert told["same_answer"] is False
    assert told["state"] == "ready"
    assert shell.json("predict", "moody", "--text", "good good")["output"] == 20
    failed = shell.run("update", "moody", "--version", "v3")
    assert failed.returncode == 1
    assert "half done" in failed.stderr
    assert shell.json("predict", "moody", "--text", "good good")["output"] == 20
    back = shell.json("update", "moody", "--version", "v1")
    assert back["same_answer"] is False
    assert shell.json("predict", "moody", "--text", "good good")["output"] == 2
    assert [(line["model"], line["status"]) for line in shell.json("list")] == [("moody", "ready")]
    assert shell.json("list", "--status", "stored") == []
    assert shell.json("list", "--status", "deployed")[0]["endpoint"] == "moody"


def test_what_was_changed_by_hand_is_not_written_over(
    shell: Shell, repository: Path, tmp_path: Path
) -> None:
    to = tmp_path / "model"
    shell.json("add", f"file://{repository}@v1", "--to", str(to), "--name", "moody")
    (to / "model.py").write_text((to / "model.py").read_text() + "# mine\n")
    done = shell.run("update", "moody", "--version", "v2")
    assert done.returncode == 1
    assert "was changed since it was written" in done.stderr
    assert (to / "model.py").read_text().endswith("# mine\n")


def test_what_is_tried_but_does_not_serve_changes_nothing(
    shell: Shell, repository: Path, tmp_path: Path
) -> None:
    core = repository / "moody" / "core.py"
    git(repository, "checkout", "--quiet", "v2")
    core.write_text(
        "import os\n\nif 'modelyard-trial-' not in os.getcwd():\n    raise RuntimeError('not here')\n"
        + core.read_text()
    )
    git(repository, "commit", "--quiet", "-am", "four")
    git(repository, "tag", "v4")
    to = tmp_path / "model"
    shell.json("add", f"file://{repository}@v2", "--to", str(to), "--name", "moody", "--test", "--deploy")
    served = (to / "moody" / "core.py").read_text()
    failed = shell.run("update", "moody", "--version", "v4")
    assert failed.returncode == 1
    assert "not here" in failed.stderr
    assert (to / "moody" / "core.py").read_text() == served
    assert sorted(path.name for path in tmp_path.iterdir() if "model" in path.name) == ["model"]
    assert shell.json("predict", "moody", "--text", "good good")["output"] == 20
    assert shell.json("update", "moody", "--version", "v2")["same_answer"] is True


def test_a_change_stays_one_when_it_was_tried(shell: Shell, repository: Path, tmp_path: Path) -> None:
    to = tmp_path / "model"
    source = f"file://{repository}@v1"
    shell.json("add", source, "--to", str(to), "--name", "moody")
    (to / "model.py").write_text((to / "model.py").read_text() + "# mine\n")
    shell.json("add", source, "--to", str(to), "--name", "moody", "--test")
    done = shell.run("update", "moody", "--version", "v2")
    assert done.returncode == 1
    assert "was changed since it was written" in done.stderr
    assert (to / "model.py").read_text().endswith("# mine\n")


def test_a_folder_of_another_version_is_not_taken_for_this_one(
    shell: Shell, repository: Path, tmp_path: Path
) -> None:
    to = tmp_path / "model"
    shell.json("add", f"file://{repository}@v1", "--to", str(to), "--name", "moody")
    done = shell.run("add", f"file://{repository}@v2", "--to", str(to), "--name", "moody", "--test")
    assert done.returncode == 1
    assert "modelyard update moody --version" in done.stderr
    shell.json("add", f"file://{repository}@v2", "--to", str(to), "--name", "moody", "--overwrite")


def test_what_was_not_added_is_told(shell: Shell) -> None:
    done = shell.run("update", "nobody")
    assert done.returncode == 1
    assert "was not added here" in done.stderr
