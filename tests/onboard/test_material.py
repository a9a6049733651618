"""Where a model comes from."""

import subprocess
from pathlib import Path

import pytest

from modelyard.core.errors import InvalidInput, NotFound
from modelyard.onboard.material import Material, bring


def brought(source: str, place: Path) -> Material:
    return bring(source, place, progress=lambda _: None)


def git(folder: Path, *arguments: str) -> str:
    told = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *told, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "there" / "moody.git"
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet")
    (folder / "moody.py").write_text("x = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "one")
    git(folder, "tag", "v1")
    (folder / "moody.py").write_text("x = 2\n")
    git(folder, "commit", "--quiet", "-am", "two")
    return folder


def test_a_repository_is_cloned(repository: Path, tmp_path: Path):
    material = brought(f"file://{repository}", tmp_path / "added")
    assert (material.kind, material.name) == ("git", "moody")
    assert (material.folder / "moody.py").read_text() == "x = 2\n"
    assert git(repository, "rev-parse", "HEAD")[:12] in material.told


def test_a_revision_of_it(repository: Path, tmp_path: Path):
    material = brought(f"git+file://{repository}@v1", tmp_path / "added")
    assert (material.folder / "moody.py").read_text() == "x = 1\n"


def test_it_is_fetched_anew_when_it_is_added_again(repository: Path, tmp_path: Path):
    brought(f"file://{repository}", tmp_path / "added")
    (repository / "moody.py").write_text("x = 3\n")
    git(repository, "commit", "--quiet", "-am", "three")
    material = brought(f"file://{repository}", tmp_path / "added")
    assert (material.folder / "moody.py").read_text() == "x = 3\n"
    assert len([path for path in (tmp_path / "added").iterdir() if path.name[0] != "."]) == 1


@pytest.mark.parametrize("revision", ["", "@nonsense"])
def test_what_is_not_there_is_told(repository: Path, tmp_path: Path, revision: str):
    source = f"file://{repository if revision else tmp_path / 'nowhere.git'}{revision}"
    with pytest.raises(NotFound, match="git cannot bring it"):
        brought(source, tmp_path / "added")
    assert not [path for path in (tmp_path / "added").iterdir() if path.name != ".locks"]


def test_a_users_name_begins_no_revision(tmp_path: Path):
    from modelyard.onboard.material import _revision

    assert _revision("git@example.org:owner/name.git") == ("git@example.org:owner/name.git", None)
    assert _revision("https://me@example.org/name") == ("https://me@example.org/name", None)
    assert _revision("https://example.org/name@v1") == ("https://example.org/name", "v1")


@pytest.mark.parametrize(
    "source", ["not a source!", "numpy @ https://example.org/x.whl", "a; python_version < '3'"]
)
def test_what_is_no_source_is_told(tmp_path: Path, source: str):
    with pytest.raises(InvalidInput):
        brought(source, tmp_path / "added")


def test_a_single_file_is_deployed_instead(tmp_path: Path):
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(InvalidInput, match="modelyard deploy"):
        brought(str(tmp_path / "model.onnx"), tmp_path / "added")
