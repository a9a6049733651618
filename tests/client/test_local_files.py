"""Which files belong to a model, and their digests."""

import hashlib
import os
from pathlib import Path

import pytest

from modelyard.client.local_files import digest_files, find_files, whole_chunks
from modelyard.core.errors import InvalidInput, NotFound


def test_a_folder_gives_its_files_without_what_belongs_to_tools(tmp_path: Path) -> None:
    for name in ("model.py", "sub/data.bin", ".git/HEAD", "__pycache__/m.pyc", ".DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [file.path for file in find_files(tmp_path)] == ["model.py", "sub/data.bin"]


def test_digests_and_progress_are_of_all_bytes(tmp_path: Path) -> None:
    content = os.urandom(3 * 1024 * 1024 + 17)
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "b").write_bytes(b"")
    told: list[tuple[int, int]] = []
    manifest = digest_files(find_files(tmp_path), lambda done, total: told.append((done, total)))
    assert [file.sha256 for file in manifest.files] == [
        hashlib.sha256(content).hexdigest(),
        hashlib.sha256(b"").hexdigest(),
    ]
    assert told[-1] == (len(content), len(content))


def test_a_link_inside_the_folder_is_followed_and_one_that_leaves_it_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_bytes(b"w")
    (folder / "link").symlink_to("weights")
    assert [file.path for file in find_files(folder)] == ["link", "weights"]
    (tmp_path / "secret").write_bytes(b"s")
    (folder / "out").symlink_to("../secret")
    with pytest.raises(InvalidInput, match="leaves the folder"):
        find_files(folder)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInput, match="no regular file"):
        find_files(tmp_path)
    with pytest.raises(NotFound):
        find_files(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="no files"):
        find_files(tmp_path / "empty")


@pytest.mark.parametrize("change", [b"", b"longer than before"])
def test_a_file_that_changes_while_it_is_sent_is_noticed(tmp_path: Path, change: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(b"before")
    (file,) = find_files(tmp_path)
    (tmp_path / "model.onnx").write_bytes(change)
    with pytest.raises(InvalidInput, match="changed"):
        list(whole_chunks(file))
