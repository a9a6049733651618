"""A disk that is full: told clearly, nothing lost, nothing left behind."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelyard.core.errors import Unavailable
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.store.blobs import BlobStore
from modelyard.store.database import Database
from modelyard.store.jobs import Jobs
from modelyard.store.pieces import Pieces
from support import weights
from support.stores import bytes_of, put, stored

TOO_MUCH = 20


def _free(place: Path) -> int:
    usage = os.statvfs(place)
    return usage.f_bavail * usage.f_frsize


def test_a_blob_that_does_not_fit_gives_its_space_back(small_disk: Path) -> None:
    blobs = BlobStore(small_disk)
    kept = blobs.put([b"kept"]).sha256
    before = _free(small_disk)
    with pytest.raises(Unavailable, match="The disk is full"):
        blobs.put(os.urandom(1_000_000) for _ in range(TOO_MUCH))
    assert _free(small_disk) >= before - 64 * 1024
    assert list(blobs.digests()) == [kept]
    assert blobs.verify(kept)


def test_a_stream_that_does_not_fit_gives_its_space_back(small_disk: Path) -> None:
    blobs = BlobStore(small_disk)
    before = _free(small_disk)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(TOO_MUCH):
            yield os.urandom(1_000_000)

    with pytest.raises(Unavailable, match="The disk is full"):
        asyncio.run(blobs.put_stream(chunks()))
    assert _free(small_disk) >= before - 64 * 1024
    assert list(blobs.digests()) == []


def test_there_is_room_again_after_it_was_made(small_disk: Path) -> None:
    blobs = BlobStore(small_disk)
    ballast = blobs.put([os.urandom(5_000_000)]).sha256
    with pytest.raises(Unavailable):
        blobs.put([os.urandom(5_000_000)])
    blobs.delete(ballast)
    assert blobs.verify(blobs.put([os.urandom(5_000_000)]).sha256)


def test_laying_out_on_a_full_disk_leaves_no_folder(small_disk: Path, tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path / "blobs")
    found = blobs.put([os.urandom(12_000_000)])
    manifest = Manifest(files=(FileEntry(path="a", size=found.size, sha256=found.sha256),))
    with pytest.raises(Unavailable, match="The disk is full"):
        blobs.lay_out(manifest, small_disk / "version")
    assert list(small_disk.iterdir()) == []


def test_a_row_that_does_not_fit_is_told_and_the_others_stay(small_disk: Path) -> None:
    database = Database(small_disk / "modelyard.db")
    database.migrate()
    jobs = Jobs(database)
    first = jobs.create("deploy", "first", (), {})
    with pytest.raises(Unavailable, match="The disk is full"):
        for _ in range(TOO_MUCH):
            jobs.create("deploy", "big", (), {"text": "x" * 1_000_000})
    kept = jobs.list(100)
    assert kept[-1] == first
    assert all(job.parameters["text"] == "x" * 1_000_000 for job in kept[:-1])
    database.close()


def test_a_home_on_a_full_disk_is_told_at_the_migration(small_disk: Path) -> None:
    with (
        (small_disk / "ballast").open("wb", buffering=0) as ballast,
        pytest.raises(OSError, match="No space"),
    ):
        while True:
            ballast.write(b"x" * 4096)
    database = Database(small_disk / "modelyard.db")
    with pytest.raises(Unavailable, match="The disk is full"):
        database.migrate()
    database.close()


def _weights(changed: int) -> bytes:
    whole = weights.tensors(1, count=3, rows=1024, columns=256)
    return weights.safetensors(weights.tuned(whole, changed) if changed else whole)


def test_settling_on_a_full_disk_leaves_the_blob_as_it_was(small_disk: Path, tmp_path: Path) -> None:
    database = Database(tmp_path / "modelyard.db")
    database.migrate()
    blobs = BlobStore(small_disk, Pieces(database))
    put(blobs, {"a": _weights(0)})
    tuned = put(blobs, {"a": _weights(1)}, settle=False)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * max(0, _free(small_disk) - 200_000))
    before = _free(small_disk)
    with pytest.raises(Unavailable, match="The disk is full"):
        blobs.settle(tuned)
    assert _free(small_disk) >= before - 64 * 1024
    assert bytes_of(blobs, tuned) == {"a": _weights(1)}
    ballast.unlink()
    blobs.settle(tuned)
    assert bytes_of(blobs, tuned) == {"a": _weights(1)}
    assert stored(blobs) < 1.6 * tuned.size
    database.close()


def test_putting_together_on_a_full_disk_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    database = Database(tmp_path / "modelyard.db")
    database.migrate()
    blobs = BlobStore(small_disk, Pieces(database))
    put(blobs, {"a": _weights(0)})
    tuned = put(blobs, {"a": _weights(1)})
    (small_disk / "ballast").write_bytes(b"x" * max(0, _free(small_disk) - 1_000_000))
    before = _free(small_disk)
    with pytest.raises(Unavailable, match="The disk is full"):
        blobs.lay_out(tuned, tmp_path / "versions" / "v")
    assert _free(small_disk) >= before - 64 * 1024
    assert list((tmp_path / "versions").iterdir()) == []
    assert bytes_of(blobs, tuned) == {"a": _weights(1)}
    database.close()
