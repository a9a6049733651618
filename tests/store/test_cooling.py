"""What is cold becomes small where it lies: beside readers, collectors and others who cool, without the cache."""

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.policy.tiers import evictions
from modelyard.store.blobs import BlobStore
from modelyard.store.bucket import open_bucket
from modelyard.store.database import Database
from modelyard.store.pieces import Pieces
from modelyard.store.place import Place
from support import weights
from support.clouds import Clouds
from support.stores import bytes_of, put, spoil, stored

pytestmark = pytest.mark.timeout(300)
LARGEST = 64 * 1024 * 1024  # bytes that a header may have, and the most that is asked for at once


class Watched(Place):
    """A place that tells what is asked of it."""

    asked: list[int]
    then: Callable[[], object] | None = None

    def read(self, key: str, start: int, length: int) -> bytes:
        self.asked.append(length)
        if self.then is not None:
            then, self.then = self.then, None
            then()
        return super().read(key, start, length)


def watched(blobs: BlobStore, then: Callable[[], object] | None = None) -> Watched:
    """The place of a store from now on."""
    place = Watched(blobs.place._store, blobs.place.name, blobs.place.root)
    place.asked, place.then = [], then
    blobs.place = place
    return place


@pytest.fixture(params=["disk", "bucket"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str | None:
    if request.param == "disk":
        return None
    clouds: Clouds = request.getfixturevalue("clouds")
    for name, value in clouds.at("s3").variables.items():
        monkeypatch.setenv(name, value)
    return f"s3://yard/{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"


@pytest.fixture
def blobs(address: str | None, tmp_path: Path, database: Database) -> BlobStore:
    return _store(address, tmp_path, database, "one")


@pytest.fixture
def other(address: str | None, tmp_path: Path, database: Database) -> BlobStore:
    """Another control plane."""
    return _store(address, tmp_path, database, "two")


def _store(address: str | None, folder: Path, database: Database, name: str) -> BlobStore:
    root = folder / ("disk" if address is None else name)
    return BlobStore(root, Pieces(database), open_bucket(address) if address else None)


def _model(seed: int, rows: int = 1024) -> dict[str, bytes]:
    return {"a": weights.safetensors(weights.tensors(seed, rows=rows))}


@pytest.mark.parametrize("address", ["bucket"], indirect=True)
def test_a_small_cache_full_of_hot_files_keeps_all_of_them_while_many_are_cooled(
    blobs: BlobStore, other: BlobStore
) -> None:
    cold = [put(other, _model(seed)).files[0].sha256 for seed in range(8)]
    hot = [put(blobs, {"h": os.urandom(500_000)}).files[0].sha256 for _ in range(6)]
    before = {each.sha256: each for each in blobs.cache.files()}
    assert set(before) == set(hot)
    budget = sum(each.size for each in before.values())
    for sha256 in cold:
        cooled = blobs.cool(sha256)
        assert cooled is not None and not cooled.whole
        assert evictions(list(blobs.cache.files()), budget) == []
    assert {each.sha256: each for each in blobs.cache.files()} == before
    assert all(other.verify(sha256) for sha256 in cold)


def test_it_is_read_once_and_a_part_at_a_time(blobs: BlobStore) -> None:
    text = b"".join(b"%d " % number for number in range(3_000_000))
    files = {"tensors": weights.safetensors(weights.tensors(1, count=24)), "text": text}
    manifest = put(blobs, files)
    place = watched(blobs)
    for file in manifest.files:
        place.asked.clear()
        cooled = blobs.cool(file.sha256)
        assert cooled is not None and not cooled.whole
        assert sum(place.asked) <= file.size
        assert max(place.asked) < LARGEST / 2
    assert bytes_of(blobs, manifest) == files


def test_what_does_not_get_smaller_is_not_read_to_its_end(blobs: BlobStore) -> None:
    noise = put(blobs, {"a": os.urandom(20_000_000)}).files[0]
    place = watched(blobs)
    before = stored(blobs)
    cooled = blobs.cool(noise.sha256)
    assert cooled is not None and cooled.whole
    assert stored(blobs) == before and blobs.sweep() == 0
    assert sum(place.asked) <= noise.size


def test_what_is_collected_meanwhile_does_not_come_back(blobs: BlobStore, other: BlobStore) -> None:
    digest = put(blobs, _model(1)).files[0].sha256
    watched(blobs, then=lambda: other.delete(digest))
    assert blobs.cool(digest) is None
    assert not blobs.has(digest) and stored(blobs) == 0


def test_of_two_who_cool_the_same_one_does_and_both_packs_are_not_kept(
    blobs: BlobStore, other: BlobStore
) -> None:
    manifest = put(blobs, _model(1))
    digest = manifest.files[0].sha256
    first: list[object] = []
    watched(blobs, then=lambda: first.append(other.cool(digest)))
    assert blobs.cool(digest) is None
    assert first[0] is not None
    assert bytes_of(blobs, manifest) == _model(1)
    assert sum(1 for _ in blobs.place.objects("packs")) == 1


def test_a_sibling_has_its_pieces_in_the_new_pack_and_stays_when_the_base_goes(
    blobs: BlobStore, other: BlobStore
) -> None:
    whole = weights.tensors(1, rows=1024)
    tuned_file = {"a": weights.safetensors(weights.tuned(whole, 1))}
    base, tuned = put(blobs, {"a": weights.safetensors(whole)}), put(blobs, tuned_file)
    assert blobs.cool(base.files[0].sha256) is not None
    assert not any(blobs.place.objects("objects"))
    other.delete(base.files[0].sha256)
    other.tidy()
    assert bytes_of(other, tuned) == tuned_file


def test_what_is_damaged_or_cut_off_is_not_made_to_look_new(blobs: BlobStore) -> None:
    damaged, short = put(blobs, _model(1)).files[0].sha256, put(blobs, _model(2)).files[0].sha256
    assert blobs.pieces is not None
    every = {row.digest.hex(): row for row in blobs.pieces.blobs()}
    rows = {each: every[each] for each in (damaged, short)}
    spoil(blobs, rows[damaged].pack, 3_000_000)
    cut = blobs.incoming()
    cut.write_bytes(_model(2)["a"][:3_000_000])
    blobs.place.keep(cut, rows[short].pack)
    for each in (damaged, short):
        assert blobs.cool(each) is None
        assert blobs.pieces.blob(bytes.fromhex(each)) == rows[each]
    assert not any(blobs.place.objects("packs"))


def test_cooling_beside_readers_and_collectors_loses_nothing(blobs: BlobStore, other: BlobStore) -> None:
    """Two control planes cool the same blobs, while one tidies up and one reads without a pause."""
    files = [_model(seed, rows=256) for seed in range(4)]
    manifests = [put(blobs, each) for each in files]
    stop, failed = threading.Event(), []
    reads: list[int] = []

    def guarded(call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as error:
            failed.append(error)

    def cool(store: BlobStore) -> None:
        for manifest in manifests:
            store.cool(manifest.files[0].sha256)

    def tidy() -> None:
        while not stop.is_set():
            other.tidy()

    def read() -> None:
        while not stop.is_set():
            for each, manifest in zip(files, manifests, strict=True):
                assert other.read(manifest.files[0].sha256, 1000, 300_000) == each["a"][1000:301_000]
                reads.append(1)

    beside = [threading.Thread(target=guarded, args=(call,)) for call in (tidy, read)]
    cooling = [threading.Thread(target=guarded, args=(lambda s=s: cool(s),)) for s in (blobs, other)]
    for each in (*beside, *cooling):
        each.start()
    for each in cooling:
        each.join()
    stop.set()
    for each in beside:
        each.join()
    assert failed == []
    assert reads
    blobs.tidy()
    assert blobs.pieces is not None
    for each, manifest in zip(files, manifests, strict=True):
        row = blobs.pieces.blob(bytes.fromhex(manifest.files[0].sha256))
        assert row is not None and not row.whole
        assert bytes_of(other, manifest) == each
    assert not any(blobs.place.objects("objects"))
