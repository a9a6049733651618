"""Where a model comes from."""

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from modelyard.core.errors import InvalidInput, NotFound, RejectedContent, Unavailable
from modelyard.onboard.material import Material, bring
from support.repositories import git
from support.web import Web


def brought(source: str, place: Path) -> Material:
    return bring(source, place, progress=lambda _: None)


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


def test_a_folder_that_is_no_project_is_refused_with_what_to_name_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "empty").mkdir()
    for source, told in (
        ("/", "no project"),
        ("~", "no project"),
        (str(tmp_path / "home"), "no project"),
        (str(tmp_path / "empty"), "is empty"),
    ):
        with pytest.raises(InvalidInput, match=told):
            brought(source, tmp_path / "added")


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
    with pytest.raises(NotFound, match=r"git cannot bring it|no tag or branch"):
        brought(source, tmp_path / "added")
    assert not [path for path in (tmp_path / "added").iterdir() if path.name != ".locks"]


def test_one_that_has_not_changed_is_not_fetched_again(repository: Path, tmp_path: Path):
    said: list[str] = []
    for _ in range(2):
        bring(f"file://{repository}", tmp_path / "added", progress=said.append)
    assert len([line for line in said if line.startswith("cloning")]) == 1


def test_a_file_of_the_web_is_taken_as_it_is_now(tmp_path: Path):
    web = Web({"/a/model.onnx": b"one"})
    with web.serve() as url:
        source = f"{url}/a/model.onnx"
        material = brought(source, tmp_path / "added")
        assert (material.kind, material.name) == ("file", "model")
        assert (material.folder / "model.onnx").read_bytes() == b"one"
        brought(source, tmp_path / "added")  # it is asked whether it has changed
        assert web.seen[-1]["if-none-match"].startswith('"')
        web.files["/a/model.onnx"] = b"two"
        assert (brought(source, tmp_path / "added").folder / "model.onnx").read_bytes() == b"two"
    assert (
        brought(source, tmp_path / "added").folder / "model.onnx"
    ).read_bytes() == b"two"  # nobody there
    pinned = f"{source}#sha256={'0' * 64}"
    with pytest.raises(Unavailable):
        brought(pinned, tmp_path / "added")


def test_an_archive_of_the_web_is_a_project(tmp_path: Path):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("moody-1.0/moody.py", "x = 1\n")
    data = made.getvalue()
    with Web({"/moody-1.0.zip": data}).serve() as url:
        digest = hashlib.sha256(data).hexdigest()
        material = brought(f"{url}/moody-1.0.zip#sha256={digest}", tmp_path / "added")
        assert (material.folder / "moody.py").read_text() == "x = 1\n"
        with pytest.raises(RejectedContent, match="checksum"):
            brought(f"{url}/moody-1.0.zip#sha256={'1' * 64}", tmp_path / "added")


def test_an_address_that_may_be_either_is_tried_as_both(repository: Path, tmp_path: Path):
    web = Web({"/download": b"weights"})
    web.headers = {"Content-Disposition": "attachment; filename=weights.bin"}
    with web.serve() as url:
        material = brought(f"{url}/download?id=7", tmp_path / "added")
        assert (material.kind, material.name) == ("file", "download")
        assert (material.folder / "weights.bin").read_bytes() == b"weights"
        with pytest.raises(NotFound, match="neither a git repository nor a file"):
            brought(f"{url}/nothing", tmp_path / "added")
    with pytest.raises(InvalidInput, match="Google Drive"):
        brought("https://drive.google.com/drive/folders/x", tmp_path / "added")


@pytest.mark.parametrize(
    "source", ["", "not a source!", "numpy @ https://example.org/x.whl", "a; python_version < '3'"]
)
def test_what_is_no_source_is_told(tmp_path: Path, source: str):
    with pytest.raises(InvalidInput):
        brought(source, tmp_path / "added")


def test_a_single_file_is_deployed_instead(tmp_path: Path):
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(InvalidInput, match="modelyard deploy"):
        brought(str(tmp_path / "model.onnx"), tmp_path / "added")
