"""Small blobs of a bucket are put together into packs, beside whoever reads, sends, deletes and collects."""

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.core.manifest import FileEntry
from modelyard.core.model import Analysis
from modelyard.registry.upload import begin, collect_garbage
from modelyard.store import gathering, repacking
from modelyard.store.blobs import BlobStore
from modelyard.store.bucket import open_bucket
from modelyard.store.checking import Check
from modelyard.store.database import Database
from modelyard.store.pieces import Pieces
from modelyard.store.shared_clock import SharedClock
from modelyard.store.uploads import Uploads
from modelyard.store.versions import Versions
from support.buckets import a_bucket_server
from support.failures import TURNS
from support.s3 import S3Server
from support.stores import stored

pytestmark = pytest.mark.timeout(300)
MANY = 50


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with a_bucket_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def address(server: S3Server, tmp_path: Path) -> str:
    return f"s3://yard/{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"


class Later(SharedClock):
    """An hour and more after everything that has come."""

    def __call__(self) -> float:
        return super().__call__() + 2 * repacking.GRACE


@pytest.fixture
def blobs(address: str, tmp_path: Path, database: Database) -> BlobStore:
    return BlobStore(tmp_path / "one", Pieces(database), open_bucket(address))


@pytest.fixture
def later(address: str, tmp_path: Path, database: Database) -> BlobStore:
    """Another control plane, that thinks it is later: it has no file of the cache."""
    return BlobStore(tmp_path / "two", Pieces(database, Later(database)), open_bucket(address))


def many(blobs: BlobStore, count: int = MANY) -> dict[str, bytes]:
    kept = [(f'{{"number": {number}}}' * 50).encode() for number in range(count)]
    return {blobs.put([data]).sha256: data for data in kept}


def objects(blobs: BlobStore) -> list[str]:
    return [found.key for prefix in ("objects", "packs") for found in blobs.place.objects(prefix)]


def test_many_small_blobs_become_one_object_and_are_read_as_before(
    blobs: BlobStore, later: BlobStore
) -> None:
    kept = many(blobs)
    large = blobs.put([data := os.urandom(300_000)]).sha256
    assert len(objects(blobs)) == MANY + 1
    assert blobs.gather() == 0  # they have just come
    assert later.gather() == MANY
    assert len(objects(blobs)) == 2 and stored(blobs) < len(data) + sum(map(len, kept.values())) / 2
    assert later.gather() == 0
    for digest, content in (*kept.items(), (large, data)):
        assert b"".join(later.open(digest)) == later.path(digest).read_bytes() == content
        assert later.read(digest, 3, 10) == content[3:13] and later.size(digest) == len(content)
    assert blobs.put([content], sha256=digest).size == len(content)
    check = Check(later, later.pieces, deep=True, repair=False)  # type: ignore[arg-type]
    assert check.run({digest: len(content) for digest, content in kept.items()}).troubles == ()


def test_a_few_stay_as_they_are(blobs: BlobStore, later: BlobStore) -> None:
    many(blobs, gathering.FEWEST - 1)
    assert later.gather() == 0


def test_who_has_begun_to_read_gets_the_bytes(blobs: BlobStore, later: BlobStore) -> None:
    kept = many(blobs)
    begun = [(blobs.open(digest), data) for digest, data in kept.items()]
    assert later.gather() == MANY
    assert all(b"".join(parts) == data for parts, data in begun)


def test_what_is_deleted_gives_its_space_back(blobs: BlobStore, later: BlobStore) -> None:
    kept = {blobs.put([data]).sha256: data for data in (os.urandom(200_000) for _ in range(MANY))}
    assert later.gather() == MANY
    gone = list(kept)[:-3]
    assert all(later.delete(digest) for digest in gone)
    assert later.tidy().repacked == 1
    assert stored(later) < 4 * 200_000
    assert all(later.verify(digest) is (digest not in gone) for digest in kept if later.has(digest))
    assert {digest for digest in kept if later.has(digest)} == set(kept) - set(gone)


def test_what_is_damaged_stays_to_be_named(blobs: BlobStore, later: BlobStore) -> None:
    kept = many(blobs)
    (key,) = [key for key in objects(blobs) if next(iter(kept)) in key]
    wrong = blobs.incoming()
    wrong.write_bytes(b"x" * len(next(iter(kept.values()))))
    blobs.place.keep(wrong, key)
    assert later.gather() == MANY - 1
    check = Check(later, later.pieces, deep=True, repair=False)  # type: ignore[arg-type]
    troubles = check.run({digest: len(data) for digest, data in kept.items()}).troubles
    assert [each.sha256 for each in troubles] == [next(iter(kept))]


def test_a_gathering_that_is_killed_changes_nothing_and_leaves_what_goes_by_itself(
    blobs: BlobStore, later: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = many(blobs)
    with monkeypatch.context() as patch:
        patch.setattr(Pieces, "gather", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            later.gather()
    assert len(objects(blobs)) == MANY + 1
    assert all(b"".join(later.open(digest)) == data for digest, data in kept.items())
    assert later.gather() == MANY
    assert later.pieces is not None
    repacking.tidy(
        later.place, later.pieces, later.incoming, clock=lambda: time.time() + 2 * repacking.GRACE
    )
    assert len(objects(blobs)) == 1
    with monkeypatch.context() as patch:  # and between the rows and the former objects
        more = [blobs.put([os.urandom(500)]).sha256 for _ in range(MANY)]
        patch.setattr(Pieces, "drop", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            later.gather()
    assert all(later.verify(digest) for digest in (*kept, *more))
    later.tidy()
    assert len(objects(blobs)) == 2


def test_a_lost_database_is_made_anew_from_them(
    blobs: BlobStore, later: BlobStore, address: str, tmp_path: Path
) -> None:
    kept = many(blobs)
    assert later.gather() == MANY
    database = Database(tmp_path / "new.db")
    database.migrate()
    again = BlobStore(tmp_path / "three", Pieces(database), open_bucket(address))
    check = Check(again, again.pieces, deep=True, repair=True)  # type: ignore[arg-type]
    assert check.run({digest: len(data) for digest, data in kept.items()}).troubles == ()
    assert all(b"".join(again.open(digest)) == data for digest, data in kept.items())
    database.close()


def test_two_gather_while_others_send_read_delete_and_collect(
    address: str, tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control planes with locks of their own; what comes is gathered and, once nobody refers to it, collected at once."""
    monkeypatch.setattr("modelyard.registry.upload.GRACE", 2.0)
    monkeypatch.setattr(gathering, "FEWEST", 3)
    stores = [BlobStore(tmp_path / f"cp{n}", Pieces(database), open_bucket(address)) for n in range(4)]
    uploads, versions = Uploads(database), Versions(database)
    stop = threading.Event()
    failed: list[BaseException] = []
    done = {"gathered": 0, "collected": 0, "read": 0}
    count = threading.Lock()

    def again(what: str, call: object) -> None:
        try:
            while not stop.is_set():
                number = call()  # type: ignore[operator]
                with count:
                    done[what] += number
        except BaseException as error:
            failed.append(error)
            stop.set()

    def gathers(store: BlobStore) -> int:
        assert store.pieces is not None
        return gathering.gather(store.place, store.pieces, store.incoming, grace=0.0)

    def collects(store: BlobStore) -> int:
        store.tidy()
        return collect_garbage(store, uploads, versions)

    def uses(store: BlobStore, name: str) -> None:
        try:
            for turn in range(TURNS):
                files = {f"f{n}": f"{name} {turn % 4} {n} ".encode() * 50 for n in range(6)}
                entries = [
                    FileEntry(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())
                    for path, data in files.items()
                ]
                upload, asked = begin(uploads, store, entries)
                for data in files.values():
                    if hashlib.sha256(data).hexdigest() in asked:
                        store.put([data])
                version, _ = versions.add(name, upload.manifest, Analysis(format="f", adapter="a"), False)
                uploads.delete(upload.id)
                for file in version.manifest.files:
                    store.cache.remove(file.sha256)
                    assert b"".join(store.open(file.sha256)) == files[file.path]
                    assert store.path(file.sha256).read_bytes() == files[file.path]
                    with count:
                        done["read"] += 1
                versions.delete_model(name)
        except BaseException as error:
            failed.append(error)

    loops = [threading.Thread(target=again, args=("gathered", lambda s=s: gathers(s))) for s in stores[:2]]
    loops += [threading.Thread(target=again, args=("collected", lambda: collects(stores[2])))]
    users = [threading.Thread(target=uses, args=(stores[n % 2 + 2], f"m{n}")) for n in range(2)]
    for each in (*loops, *users):
        each.start()
    for each in users:
        each.join()
    stop.set()
    for each in loops:
        each.join()
    assert failed == []
    assert done["read"] == 2 * TURNS * 6 and done["gathered"] > 0
