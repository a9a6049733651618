"""Bytes that have changed on the disk since they came are not laid out for a model."""

import os
import time
from pathlib import Path

import pytest

from modelyard.store import blobs as module
from modelyard.store.assembly import Damaged
from modelyard.store.blobs import BlobStore
from modelyard.store.database import Database
from modelyard.store.pieces import Pieces
from support import weights
from support.stores import damage, put

WHOLE = weights.tensors(1, rows=256)


@pytest.fixture
def blobs(tmp_path: Path, database: Database) -> BlobStore:
    return BlobStore(tmp_path / "blobs", Pieces(database))


def rot(path: Path) -> None:
    """A bit flips, and nothing says when."""
    told = path.stat().st_mtime
    damage(path, 1000)
    os.utime(path, (told, told))


def age(path: Path) -> None:
    before = time.time() - 2 * module._FRESH
    os.utime(path, (before, before))


def test_a_whole_blob_that_has_changed_is_named_and_not_served(blobs: BlobStore, tmp_path: Path) -> None:
    manifest = put(blobs, {"deep/a.bin": os.urandom(5000), "b.bin": os.urandom(5000)})
    for file in manifest.files:
        age(blobs.path(file.sha256))
    right = blobs.lay_out(manifest, tmp_path / "right")
    assert (right / "deep" / "a.bin").stat().st_size == 5000
    (file,) = [each for each in manifest.files if each.path == "deep/a.bin"]
    rot(blobs.path(file.sha256))
    with pytest.raises(Damaged, match=r"deep/a\.bin.*have changed.*store verify --deep"):
        blobs.lay_out(manifest, tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_has_just_come_is_believed(
    blobs: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was hashed on its way; whoever deploys what he has just sent does not wait for that again."""
    manifest = put(blobs, {"a.bin": os.urandom(5000)})
    monkeypatch.setattr(module, "is_file_of", lambda *_: pytest.fail("it was read again"))
    blobs.lay_out(manifest, tmp_path / "laid")


def test_a_file_of_the_cache_that_has_changed_is_put_together_again(
    blobs: BlobStore, tmp_path: Path
) -> None:
    put(blobs, {"a": weights.safetensors(WHOLE)})
    tuned = weights.safetensors(weights.tuned(WHOLE, 1))
    manifest = put(blobs, {"a": tuned})
    cached = blobs.path(manifest.files[0].sha256)
    assert cached.is_relative_to(tmp_path / "blobs" / "cache")
    rot(cached)
    laid = blobs.lay_out(manifest, tmp_path / "laid")
    assert (laid / "a").read_bytes() == tuned
