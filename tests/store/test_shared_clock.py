"""Whose machine's clock is fast, or jumps, takes nothing from others who share the database."""

import time
from pathlib import Path

import pytest

from modelyard.core.manifest import FileEntry
from modelyard.registry.upload import begin, collect_garbage
from modelyard.store import repacking
from modelyard.store.blobs import BlobStore
from modelyard.store.bucket import open_bucket
from modelyard.store.database import Database
from modelyard.store.pieces import Pieces
from modelyard.store.shared_clock import SharedClock
from modelyard.store.uploads import Uploads
from modelyard.store.versions import Versions
from support.s3 import S3Server

HOURS = 3 * repacking.GRACE


def jump(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + seconds)


@pytest.mark.parametrize("seconds", [HOURS, -HOURS])
def test_a_clock_that_jumps_here_does_not_move_that_of_all(
    shared: Database, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    clock, before = SharedClock(shared), time.time()
    assert abs(clock() - before) < 60
    jump(monkeypatch, seconds)
    assert abs(clock() - before) < 60
    assert abs(SharedClock(shared)() - before) < 60


def test_a_home_of_its_own_goes_by_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, before = SharedClock(Database(tmp_path / "rows.db")), time.time()
    jump(monkeypatch, HOURS)
    assert clock() - before >= HOURS


def test_between_two_questions_the_database_may_be_away(shared: Database) -> None:
    clock = SharedClock(shared)
    first = clock()
    shared.close()
    assert first <= clock() < first + 60


def test_a_collector_whose_clock_is_fast_leaves_what_somebody_has_just_asked_for(
    shared: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with S3Server(tmp_path / "s3") as server:
        for name, value in server.variables.items():
            monkeypatch.setenv(name, value)
        right, fast = (
            BlobStore(tmp_path / name, Pieces(shared), open_bucket("s3://yard/x")) for name in ("a", "b")
        )
        uploads, versions = Uploads(shared), Versions(shared)
        digest = right.put([b"nobody refers to it yet"]).sha256
        upload, asked = begin(uploads, right, [FileEntry(path="a", size=23, sha256=digest)])
        assert asked == []
        uploads.delete(upload.id)  # between what it asked and what will refer to it
        under_way = right.incoming()
        under_way.write_bytes(b"an object whose rows are made now")
        right.place.keep(under_way, "packs/ab/cd")
        with monkeypatch.context() as patch:
            jump(patch, HOURS)
            assert collect_garbage(fast, uploads, versions) == 0
            assert fast.tidy().removed == 0
        assert right.verify(digest) and right.place.size("packs/ab/cd") > 0
        assert [each.key for each in right.place.objects("clock")] == []
