"""A local file or folder as a model: what belongs to it, and what is refused."""

import os
import socket
from pathlib import Path

import pytest

from modelyard.core.errors import InvalidInput, NotFound
from modelyard.store.files import FolderFiles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    (root / "deep").mkdir(parents=True)
    (root / "deep" / "b.bin").write_bytes(b"0123456789")
    (root / "a.txt").write_bytes(b"a")
    return root


def test_a_folder_is_its_files_by_relative_path(folder: Path) -> None:
    files = FolderFiles(folder)
    assert list(files.paths) == ["a.txt", "deep/b.bin"]
    assert files.size("deep/b.bin") == 10
    assert (files.read("deep/b.bin", 3, 4), files.read("deep/b.bin", 8)) == (b"3456", b"89")


def test_a_file_is_known_by_its_name(folder: Path) -> None:
    files = FolderFiles(folder / "a.txt")
    assert list(files.paths) == ["a.txt"]
    assert files.read("a.txt") == b"a"


def test_what_is_no_part_of_a_model_is_left_out(folder: Path) -> None:
    for name in (".git", "__pycache__"):
        (folder / "deep" / name).mkdir()
        (folder / "deep" / name / "x").write_bytes(b"x")
    (folder / ".DS_Store").write_bytes(b"x")
    assert list(FolderFiles(folder).paths) == ["a.txt", "deep/b.bin"]


def test_links_that_stay_inside_are_followed(folder: Path) -> None:
    (folder / "c.bin").symlink_to("deep/b.bin")
    (folder / "again").symlink_to("deep")
    files = FolderFiles(folder)
    assert list(files.paths) == ["a.txt", "again/b.bin", "c.bin", "deep/b.bin"]
    assert files.read("c.bin") == b"0123456789"


def test_a_link_that_leaves_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"s")
    (folder / "deep" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidInput, match="leaves the folder") as caught:
        FolderFiles(folder)
    assert caught.value.field == "deep/link"


def test_a_link_to_a_folder_above_is_refused(folder: Path) -> None:
    (folder / "deep" / "up").symlink_to("..")
    with pytest.raises(InvalidInput, match="lies in"):
        FolderFiles(folder)


def test_a_link_to_nothing_is_refused(folder: Path) -> None:
    (folder / "broken").symlink_to("nowhere")
    with pytest.raises(InvalidInput, match="cannot be read"):
        FolderFiles(folder)


def test_a_pipe_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(InvalidInput, match="no regular file"):
        FolderFiles(folder)


def test_a_socket_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(InvalidInput, match="no regular file"):
            FolderFiles(folder)


def test_nothing_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        FolderFiles(tmp_path / "nowhere")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no files"):
        FolderFiles(tmp_path)
