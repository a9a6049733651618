"""A version laid out as a folder: whole or not there, read-only, and linked rather than copied."""

import os
import stat
from pathlib import Path

import pytest

from modelyard.core.errors import InvalidInput, NotFound
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.store.blobs import BlobStore


def _manifest(blobs: BlobStore, files: dict[str, bytes]) -> Manifest:
    entries = [(path, blobs.put([data])) for path, data in sorted(files.items())]
    return Manifest(
        files=tuple(FileEntry(path=path, size=put.size, sha256=put.sha256) for path, put in entries)
    )


def test_the_files_lie_where_the_manifest_says_and_are_read_only(blobs: BlobStore, tmp_path: Path) -> None:
    files = {"config.json": b"{}", "deep/er/model.onnx": b"bytes"}
    folder = blobs.lay_out(_manifest(blobs, files), tmp_path / "versions" / "v")
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in found.items()} == files
    assert {stat.S_IMODE(path.stat().st_mode) for path in found.values()} == {0o444}
    assert all(path.stat().st_nlink == 2 for path in found.values())


def test_laying_out_twice_is_laying_out_once(blobs: BlobStore, tmp_path: Path) -> None:
    manifest = _manifest(blobs, {"a": b"1"})
    first = blobs.lay_out(manifest, tmp_path / "v")
    inode = first.stat().st_ino
    assert blobs.lay_out(manifest, tmp_path / "v").stat().st_ino == inode


def test_a_missing_blob_leaves_no_folder(blobs: BlobStore, tmp_path: Path) -> None:
    manifest = _manifest(blobs, {"a": b"1", "b": b"2"})
    blobs.delete(manifest.files[1].sha256)
    with pytest.raises(NotFound) as caught:
        blobs.lay_out(manifest, tmp_path / "versions" / "v")
    assert caught.value.field == "b"
    assert list((tmp_path / "versions").iterdir()) == []


def test_a_file_that_is_a_folder_too_is_refused(blobs: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        blobs.lay_out(_manifest(blobs, {"a": b"1", "a/b": b"2"}), tmp_path / "versions" / "v")
    assert list((tmp_path / "versions").iterdir()) == []


def test_the_folder_outlives_its_blobs(blobs: BlobStore, tmp_path: Path) -> None:
    manifest = _manifest(blobs, {"a": b"1"})
    folder = blobs.lay_out(manifest, tmp_path / "v")
    blobs.delete(manifest.files[0].sha256)
    assert (folder / "a").read_bytes() == b"1"


def test_on_another_disk_the_files_are_copied(blobs: BlobStore, small_disk: Path) -> None:
    folder = blobs.lay_out(_manifest(blobs, {"a": b"1"}), small_disk / "v")
    assert (folder / "a").read_bytes() == b"1"
    assert stat.S_IMODE((folder / "a").stat().st_mode) == 0o444


def test_the_files_of_a_manifest_are_read_in_place(blobs: BlobStore) -> None:
    data = os.urandom(100)
    files = blobs.files(_manifest(blobs, {"a/b": data, "empty": b""}))
    assert (list(files.paths), files.size("a/b")) == (["a/b", "empty"], 100)
    assert files.read("a/b") == data
    assert files.read("a/b", 90, 50) == data[90:]
    assert files.read("empty") == b""
    with pytest.raises(NotFound):
        files.read("nowhere")
