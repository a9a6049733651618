"""Blobs in a bucket: a real server of S3, several control planes beside one database, and faults between."""

import asyncio
import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from modelyard.core.errors import Forbidden, InvalidInput, ModelyardError, Unavailable
from modelyard.core.manifest import FileEntry
from modelyard.core.model import Analysis
from modelyard.registry.upload import begin, collect_garbage
from modelyard.store import repacking
from modelyard.store.assembly import Damaged
from modelyard.store.blobs import BlobStore
from modelyard.store.bucket import open_bucket
from modelyard.store.checking import Check
from modelyard.store.database import Database
from modelyard.store.pieces import Pieces
from modelyard.store.shared_clock import SharedClock
from modelyard.store.uploads import Uploads
from modelyard.store.versions import Versions
from support import weights
from support.buckets import damage, fill_through_faults, kill_writers, made_anew
from support.clouds import CloudServer
from support.failures import AGAIN, FAULTY, SENDERS, TURNS, USERS, WRITER_KILLS
from support.fault_proxy import FaultProxy
from support.stores import bytes_of, put, stored

pytestmark = pytest.mark.timeout(300)
WHOLE = weights.tensors(1, rows=1024)
BASE = {"a": weights.safetensors(WHOLE)}
TUNED = {"a": weights.safetensors(weights.tuned(WHOLE, 1))}


@pytest.fixture
def blobs(in_bucket: BlobStore) -> BlobStore:
    return in_bucket


def test_what_one_control_plane_keeps_another_serves(
    blobs: BlobStore, other: BlobStore, tmp_path: Path
) -> None:
    files = {"config.json": b"{}", "weights/a": BASE["a"], "empty": b""}
    manifest = put(blobs, files)
    folder = other.lay_out(manifest, tmp_path / "v")
    assert {name: (folder / name).read_bytes() for name in files} == files
    assert bytes_of(other, manifest) == files
    (big,) = (file for file in manifest.files if file.path == "weights/a")
    other.cache.remove(big.sha256)
    assert other.read(big.sha256, 1000, 5000) == BASE["a"][1000:6000]
    assert not any((tmp_path / "one" / "objects").iterdir())


def test_a_sibling_costs_what_differs_in_the_bucket_too(blobs: BlobStore, other: BlobStore) -> None:
    base = put(blobs, BASE)
    before = stored(blobs)
    tuned = put(other, TUNED)
    assert 0 < stored(blobs) - before < 0.2 * base.size
    other.cache.remove(tuned.files[0].sha256)
    assert other.path(tuned.files[0].sha256).read_bytes() == TUNED["a"]
    assert blobs.path(tuned.files[0].sha256).read_bytes() == TUNED["a"]


def test_a_large_blob_goes_in_parts_and_comes_in_ranges(blobs: BlobStore, other: BlobStore) -> None:
    data = os.urandom(50_000_000)
    manifest = put(blobs, {"a": data})
    path = other.path(manifest.files[0].sha256)
    assert path.read_bytes() == data
    assert other.verify(manifest.files[0].sha256)


def test_what_is_damaged_in_the_bucket_is_not_served_and_mended_from_the_cache(
    blobs: BlobStore, other: BlobStore
) -> None:
    base = put(blobs, BASE)
    damage(blobs, BASE["a"])
    with pytest.raises(Damaged, match=base.files[0].sha256):
        other.path(base.files[0].sha256)
    sizes = {base.files[0].sha256: base.size}
    assert blobs.pieces is not None
    (elsewhere,) = Check(other, blobs.pieces, deep=True, repair=True).run(sizes).troubles
    assert not elsewhere.repaired
    (here,) = Check(blobs, blobs.pieces, deep=True, repair=True).run(sizes).troubles
    assert here.repaired
    assert other.path(base.files[0].sha256).read_bytes() == BASE["a"]


def test_a_lost_database_is_made_anew_from_the_bucket(
    blobs: BlobStore, address: str, tmp_path: Path
) -> None:
    base, tuned = put(blobs, BASE), put(blobs, TUNED)
    with made_anew(tmp_path, address, base, tuned) as again:
        assert bytes_of(again, tuned) == TUNED


def test_what_was_asked_for_within_the_hour_is_not_collected(
    blobs: BlobStore, other: BlobStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads, versions = Uploads(database), Versions(database)
    digest = put(blobs, {"a": b"nobody wants me yet"}).files[0].sha256
    assert collect_garbage(other, uploads, versions) == 0
    later = time.time() + 2 * repacking.GRACE
    monkeypatch.setattr(SharedClock, "__call__", lambda clock: later)
    # Another control plane begins with it at the last moment.
    claimed = BlobStore(blobs.incoming(), Pieces(database), blobs.place)
    upload, asked = begin(uploads, claimed, [FileEntry(path="a", size=19, sha256=digest)])
    assert asked == []
    uploads.delete(upload.id)
    assert collect_garbage(other, uploads, versions) == 0
    monkeypatch.setattr(SharedClock, "__call__", lambda clock: later + 2 * repacking.GRACE)
    assert collect_garbage(other, uploads, versions) == 1
    assert not blobs.has(digest)
    assert stored(blobs) == 0


def test_what_is_cold_in_the_bucket_is_smaller_and_read_as_before(
    blobs: BlobStore, other: BlobStore, tmp_path: Path
) -> None:
    manifest = put(blobs, BASE)
    (digest,) = [file.sha256 for file in manifest.files]
    begun = other.open(digest)
    cooled = blobs.cool(digest)
    assert cooled is not None and not cooled.whole
    assert stored(blobs) == cooled.added < 0.95 * len(BASE["a"])
    assert b"".join(begun) == b"".join(other.open(digest)) == BASE["a"]
    assert (other.lay_out(manifest, tmp_path / "laid") / "a").read_bytes() == BASE["a"]
    other.cache.remove(digest)
    assert other.verify(digest) and blobs.cool(digest) is None


def test_orphans_in_the_bucket_go_after_an_hour_and_not_before(blobs: BlobStore, pieces: Pieces) -> None:
    put(blobs, BASE)
    for key in ("packs/ab/killed", "objects/ab/" + "ab" * 32 + "-12345678"):
        place = blobs.incoming()
        place.write_bytes(b"left by somebody who was killed")
        blobs.place.keep(place, key)
    before = stored(blobs)
    blobs.tidy()
    assert stored(blobs) == before
    repacking.tidy(blobs.place, pieces, blobs.incoming, clock=lambda: time.time() + 2 * repacking.GRACE)
    assert stored(blobs) == len(BASE["a"])


def test_faults_between_are_retried_and_nothing_half_is_seen(
    server: CloudServer, address: str, tmp_path: Path, pieces: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a hundred requests ten are answered 500, ten drop, ten are slow. What was said to be kept is right."""
    with FaultProxy(server.port, seed=7) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        fill_through_faults(BlobStore(tmp_path / "faulty", pieces, open_bucket(address)), proxy, FAULTY)


def test_a_bucket_that_is_away_is_told_and_nothing_is_kept(
    server: CloudServer, address: str, tmp_path: Path, pieces: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelyard.store.clouds.RETRIES", 0)
    with FaultProxy(server.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        store = BlobStore(tmp_path / "away", pieces, open_bucket(address))
        proxy.fail = 1.0
        with pytest.raises(Unavailable, match=r"s3://yard/.* cannot be used"):
            store.put([b"data"])
        assert list(store.digests()) == []
        assert store.sweep() == 0


def test_a_wrong_secret_is_told_without_telling_it(
    address: str, tmp_path: Path, pieces: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    store = BlobStore(tmp_path / "wrong", pieces, open_bucket(address))
    with pytest.raises(Forbidden) as caught:
        store.put([b"data"])
    assert "AWS_SECRET_ACCESS_KEY" in caught.value.message
    assert "not-the-secret" not in str(caught.value) and "test-key" not in caught.value.message


@pytest.mark.parametrize("wrong", ["s3://", "s3://UP/x", "ftp://bucket", "bucket", "s3://a..b/../c/"])
def test_an_address_that_is_none_is_refused(wrong: str) -> None:
    if wrong == "s3://a..b/../c/":
        wrong = "s3:///etc"
    with pytest.raises(InvalidInput) as caught:
        open_bucket(wrong)
    assert caught.value.field == "blobs"


@pytest.mark.parametrize("where", ["bucket", "disk"])
def test_writers_that_are_killed_lose_nothing_and_leave_nothing_half(
    where: str, address: str, tmp_path: Path, database: Database, place: Path | str, pieces: Pieces
) -> None:
    """kill -9 at random instants of uploads, deletions, packing anew and cooling: what was acknowledged and not
    deleted is there, whatever is visible is right, and what is left over goes."""
    bucket = address if where == "bucket" else ""
    store = BlobStore(tmp_path / "home", pieces, open_bucket(bucket) if bucket else None)
    kill_writers(store, tmp_path / "home", place, bucket, kills=WRITER_KILLS)


@pytest.mark.parametrize("where", ["bucket", "disk"])
def test_collecting_beside_uploads_and_materialisation_loses_nothing(
    where: str, address: str, tmp_path: Path, database: Database
) -> None:
    """Versions come, are served and are deleted while everything is collected again and again."""
    stores = [
        BlobStore(tmp_path / (f"cp{number}" if where == "bucket" else "cp"), Pieces(database),
                  open_bucket(address) if where == "bucket" else None)
        for number in range(2)
    ]  # fmt: skip
    uploads, versions = Uploads(database), Versions(database)
    whole = weights.tensors(1, rows=512)
    stop = threading.Event()
    failed: list[BaseException] = []
    served: list[int] = []

    def guarded(call: object, *arguments: object) -> None:
        try:
            call(*arguments)  # type: ignore[operator]
        except BaseException as error:
            failed.append(error)
            stop.set()

    def collect(store: BlobStore) -> None:
        while not stop.is_set():
            collect_garbage(store, uploads, versions)
            store.tidy()

    def user(store: BlobStore, number: int) -> None:
        for turn in range(TURNS):
            name = f"m{number}"
            data = weights.safetensors(weights.tuned(whole, turn % 3, number * 100 + turn))
            entry = FileEntry(path="a", size=len(data), sha256=hashlib.sha256(data).hexdigest())
            upload, asked = begin(uploads, store, [entry])
            for digest in asked:
                asyncio.run(store.put_stream(_body(data), sha256=digest, size=len(data)))
            versions.add(name, upload.manifest, Analysis(format="safetensors", adapter="x"), False)
            uploads.delete(upload.id)
            store.settle(upload.manifest)
            folder = stores[turn % 2].lay_out(upload.manifest, tmp_path / "laid" / f"{number}-{turn}")
            assert (folder / "a").read_bytes() == data
            served.append(1)
            try:
                versions.delete_model(name)
            except ModelyardError as error:
                raise AssertionError from error

    users = [threading.Thread(target=guarded, args=(user, stores[n % 2], n)) for n in range(USERS)]
    collectors = [threading.Thread(target=guarded, args=(collect, store)) for store in stores]
    for each in (*users, *collectors):
        each.start()
    for each in users:
        each.join()
    stop.set()
    for each in collectors:
        each.join()
    assert failed == []
    assert len(served) == USERS * TURNS


async def _body(data: bytes):
    for start in range(0, len(data), 1 << 18):
        yield data[start : start + (1 << 18)]


@pytest.mark.parametrize("where", ["bucket", "disk"])
def test_two_uploaders_of_the_same_bytes_keep_them_once(
    where: str, address: str, tmp_path: Path, database: Database
) -> None:
    stores = [
        BlobStore(tmp_path / (f"cp{number}" if where == "bucket" else "cp"), Pieces(database),
                  open_bucket(address) if where == "bucket" else None)
        for number in range(SENDERS)
    ]  # fmt: skip
    threads = [threading.Thread(target=store.put, args=([BASE["a"]],)) for store in stores]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert list(stores[0].digests()) == [hashlib.sha256(BASE["a"]).hexdigest()]
    pieces = Pieces(database)
    repacking.tidy(
        stores[0].place, pieces, stores[0].incoming, clock=lambda: time.time() + 2 * repacking.GRACE
    )
    assert stored(stores[0]) == len(BASE["a"])
    assert stores[1].verify(hashlib.sha256(BASE["a"]).hexdigest())


def test_one_collects_while_another_uploads_the_same_bytes_again_and_again(
    address: str, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two control planes, each with locks of its own machine: what holds them apart is the claim alone (decision 29).

    Without an hour's grace a collector takes whatever no row refers to at that moment; with it, what somebody asked
    for meanwhile. The same bytes come and go while the other collects without a pause; whoever was told that they
    are there, or has sent them, has them.
    """
    monkeypatch.setattr("modelyard.registry.upload.GRACE", 0.4)
    stores = [BlobStore(tmp_path / f"cp{n}", Pieces(database), open_bucket(address)) for n in range(2)]
    uploads, versions = Uploads(database), Versions(database)
    data = os.urandom(3000)
    digest = hashlib.sha256(data).hexdigest()
    entry = FileEntry(path="a", size=len(data), sha256=digest)
    stop, collected = threading.Event(), 0
    failed: list[BaseException] = []

    def collect() -> None:
        nonlocal collected
        try:
            while not stop.is_set():
                collected += collect_garbage(stores[1], uploads, versions)
        except BaseException as error:
            failed.append(error)

    collector = threading.Thread(target=collect)
    collector.start()
    sent = found = 0
    try:
        for turn in range(AGAIN):
            upload, asked = begin(uploads, stores[0], [entry])
            for missing in asked:
                asyncio.run(stores[0].put_stream(_body(data), sha256=missing, size=len(data)))
            sent, found = sent + len(asked), found + (not asked)
            version, _ = versions.add("m", upload.manifest, Analysis(format="x", adapter="x"), False)
            uploads.delete(upload.id)
            stores[0].cache.remove(digest)
            assert b"".join(stores[0].open(version.manifest.files[0].sha256)) == data
            versions.delete_model("m")
            if turn % 3 == 2:
                before = collected
                ends = time.monotonic() + 30
                while collected == before and not failed:  # until it is gone, so that it has to come again
                    assert time.monotonic() < ends
                    time.sleep(0.01)
    finally:
        stop.set()
        collector.join()
    assert failed == []
    assert collected >= 8 and sent >= 8 and found >= 8
