"""What is wrong in a store is found and named; what can be is put right; a lost database is made anew from packs."""

from pathlib import Path

import pytest
from sqlalchemy import delete

from modelyard.core.manifest import Manifest
from modelyard.store import tables
from modelyard.store.blobs import BlobStore
from modelyard.store.checking import Check, Checked, rebuild
from modelyard.store.database import Database
from modelyard.store.pieces import Pieces
from modelyard.store.usage import measure
from support import weights
from support.stores import bytes_of, damage, put, stored

WHOLE = weights.tensors(1, rows=1024)
BASE = {"a": weights.safetensors(WHOLE)}
TUNED = {"a": weights.safetensors(weights.tuned(WHOLE, 1))}


@pytest.fixture
def pieces(database: Database) -> Pieces:
    return Pieces(database)


@pytest.fixture
def blobs(tmp_path: Path, pieces: Pieces) -> BlobStore:
    return BlobStore(tmp_path / "blobs", pieces)


def check(blobs: BlobStore, *manifests: Manifest, deep: bool = True, repair: bool = False) -> Checked:
    assert blobs.pieces is not None
    sizes = {file.sha256: file.size for manifest in manifests for file in manifest.files}
    return Check(blobs, blobs.pieces, deep=deep, repair=repair).run(sizes)


def pack_of(blobs: BlobStore) -> Path:
    assert blobs.place.root is not None
    (pack,) = (path for path in (blobs.place.root / "packs").rglob("*") if path.is_file())
    return pack


def test_a_store_in_order_has_no_trouble(blobs: BlobStore) -> None:
    found = check(blobs, put(blobs, BASE), put(blobs, TUNED), put(blobs, {"small": b"x"}))
    assert (found.blobs, found.troubles, found.last) == (3, (), None)


def test_a_check_goes_on_where_it_stopped(blobs: BlobStore) -> None:
    manifest = put(blobs, {str(number): b"%d" % number for number in range(5)})
    assert blobs.pieces is not None
    sizes = {file.sha256: file.size for file in manifest.files}
    after, calls = "", 0
    while True:
        found = Check(blobs, blobs.pieces, deep=False, repair=False).run(sizes, after=after, seconds=0)
        calls += 1
        assert found.blobs == 1
        if found.last is None:
            break
        after = found.last
    assert calls == 5


def test_a_flipped_bit_is_found_when_every_byte_is_read(blobs: BlobStore) -> None:
    base, tuned = put(blobs, BASE), put(blobs, TUNED)
    damage(blobs.path(base.files[0].sha256), 3_000_000)
    assert check(blobs, base, tuned, deep=False).troubles == ()
    found = check(blobs, base, tuned)
    assert {each.sha256 for each in found.troubles} == {base.files[0].sha256, tuned.files[0].sha256}
    assert {each.kind for each in found.troubles} == {"damaged"}


def test_a_truncated_object_and_one_that_is_gone_are_found_at_a_glance(blobs: BlobStore) -> None:
    base, tuned, other = put(blobs, BASE), put(blobs, TUNED), put(blobs, {"b": b"12345"})
    path = blobs.path(other.files[0].sha256)
    path.chmod(0o644)
    path.write_bytes(b"1234")
    pack_of(blobs).unlink()
    found = {each.sha256: each.kind for each in check(blobs, base, tuned, other, deep=False).troubles}
    assert found == {tuned.files[0].sha256: "missing", other.files[0].sha256: "damaged"}


def test_a_damaged_pack_is_mended_from_a_file_of_the_cache(blobs: BlobStore) -> None:
    base, tuned = put(blobs, BASE), put(blobs, TUNED)
    blobs.path(tuned.files[0].sha256)
    damage(pack_of(blobs), 5000)
    assert [each.repaired for each in check(blobs, base, tuned).troubles] == [False]
    assert [each.repaired for each in check(blobs, base, tuned, repair=True).troubles] == [True]
    assert check(blobs, base, tuned).troubles == ()
    blobs.cache.remove(tuned.files[0].sha256)
    assert bytes_of(blobs, tuned) == TUNED


def test_a_damaged_whole_blob_is_mended_by_its_sibling(blobs: BlobStore) -> None:
    base, tuned = put(blobs, BASE), put(blobs, TUNED)
    blobs.path(tuned.files[0].sha256)
    damage(blobs.path(base.files[0].sha256), 3_000_000)
    found = check(blobs, base, tuned, repair=True)
    assert all(each.repaired for each in found.troubles)
    assert check(blobs, base, tuned).troubles == ()
    assert bytes_of(blobs, base) == BASE


def test_what_is_damaged_is_mended_when_it_is_needed(blobs: BlobStore) -> None:
    put(blobs, BASE)
    tuned = put(blobs, TUNED)
    other = put(blobs, {"a": TUNED["a"] + b"!" * 300_000})
    blobs.path(tuned.files[0].sha256)
    damage(pack_with(blobs, tuned), 5000)
    assert blobs.path(other.files[0].sha256).read_bytes() == TUNED["a"] + b"!" * 300_000


def pack_with(blobs: BlobStore, manifest: Manifest) -> Path:
    assert blobs.pieces is not None
    row = blobs.pieces.blob(bytes.fromhex(manifest.files[0].sha256))
    assert row is not None and blobs.place.root is not None
    return blobs.place.root / row.pack


def test_what_nobody_has_a_copy_of_stays_damaged_and_is_not_made_to_look_right(blobs: BlobStore) -> None:
    base, tuned = put(blobs, BASE), put(blobs, TUNED)
    damage(pack_of(blobs), 5000)
    before = pack_of(blobs)
    found = check(blobs, base, tuned, repair=True)
    assert [(each.sha256, each.repaired) for each in found.troubles] == [(tuned.files[0].sha256, False)]
    assert pack_of(blobs) == before


def test_a_lost_database_is_made_anew_from_the_packs(blobs: BlobStore, tmp_path: Path) -> None:
    base, tuned = put(blobs, BASE), put(blobs, TUNED)
    third = put(blobs, {"a": weights.torch_zip(weights.tuned(WHOLE, 2))})
    database = Database(tmp_path / "new.db")
    database.migrate()
    again = BlobStore(tmp_path / "blobs", Pieces(database))
    assert [each.kind for each in check(again, base, tuned, third).troubles] == ["missing", "missing"]
    assert check(again, base, tuned, third, repair=True).troubles == ()
    assert bytes_of(again, tuned) == TUNED
    assert again.delete(base.files[0].sha256) is False  # others have pieces of it
    assert check(again, tuned, third).troubles == ()
    database.close()


def test_a_lost_database_is_made_anew_after_packs_were_written_anew(
    blobs: BlobStore, tmp_path: Path
) -> None:
    base = put(blobs, BASE)
    tuned = put(blobs, {"a": weights.safetensors(weights.tuned(WHOLE, 4))})
    blobs.delete(base.files[0].sha256)
    assert blobs.tidy().repacked == 1
    database = Database(tmp_path / "new.db")
    database.migrate()
    again = BlobStore(tmp_path / "blobs", Pieces(database))
    assert check(again, tuned, repair=True).troubles == ()
    database.close()


def test_what_is_not_needed_is_not_made_anew(blobs: BlobStore, database: Database, pieces: Pieces) -> None:
    put(blobs, BASE)
    tuned = put(blobs, TUNED)
    with database.begin() as session:
        for table in (tables.blob_pieces, tables.blobs, tables.pieces, tables.packs):
            session.execute(delete(table))
    assert rebuild(blobs, pieces, []) == 0
    assert not blobs.has(tuned.files[0].sha256)
    assert rebuild(blobs, pieces, [tuned.files[0].sha256]) == 1


def test_usage_tells_what_a_model_takes_for_itself_and_with_others(
    blobs: BlobStore, pieces: Pieces
) -> None:
    base, tuned, small = put(blobs, BASE), put(blobs, TUNED), put(blobs, {"s": b"x" * 100})
    manifests = {"base": base, "tuned": tuned, "small": small}
    models = {
        name: {(file.sha256, file.size) for file in manifest.files} for name, manifest in manifests.items()
    }
    told = measure(blobs, pieces, models)
    by_name = {each.model: each for each in told.models}
    assert told.logical == base.size + tuned.size + 100
    assert told.stored == stored(blobs)
    assert told.packs == 1
    assert by_name["small"] == by_name["small"].__class__(
        model="small", blobs=1, logical=100, own=100, shared=0
    )
    assert by_name["base"].own + by_name["base"].shared == base.size
    assert by_name["base"].shared == by_name["tuned"].shared > 0.8 * base.size
    # But for the index of the pack, everything is somebody's.
    whole = sum(each.own for each in told.models) + by_name["base"].shared
    assert 0 < told.stored - whole < 5000
