"""Blobs below the file: what is there already is not kept again, and what is served is what came."""

import hashlib
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import update

from modelyard.core.errors import NotFound
from modelyard.store.assembly import Damaged
from modelyard.store.blobs import BlobStore
from modelyard.store.codec import PLANES2, PLANES4, RAW, ZSTD, decode, encode
from modelyard.store.database import Database
from modelyard.store.pack import Composition
from modelyard.store.pieces import Pieces
from modelyard.store.tables import blob_pieces
from support import weights
from support.stores import bytes_of, damage, put, stored

WHOLE = weights.tensors(1, rows=1024)


@pytest.fixture
def pieces(database: Database) -> Pieces:
    return Pieces(database)


@pytest.fixture
def blobs(tmp_path: Path, pieces: Pieces) -> BlobStore:
    return BlobStore(tmp_path / "blobs", pieces)


def test_a_first_model_is_kept_whole_and_linked(blobs: BlobStore, tmp_path: Path) -> None:
    data = weights.safetensors(WHOLE)
    manifest = put(blobs, {"model.safetensors": data})
    assert stored(blobs) == len(data)
    folder = blobs.lay_out(manifest, tmp_path / "v")
    assert (folder / "model.safetensors").stat().st_nlink == 2
    assert list(blobs.cache.files()) == []


def test_a_fine_tuned_sibling_costs_what_differs(blobs: BlobStore, tmp_path: Path) -> None:
    base = put(blobs, {"model.safetensors": weights.safetensors(WHOLE)})
    before = stored(blobs)
    files = {"model.safetensors": weights.safetensors(weights.tuned(WHOLE, 1))}
    sibling = put(blobs, files)
    assert 0 < stored(blobs) - before < 0.2 * base.size  # one of six, and its index
    assert bytes_of(blobs, sibling) == files
    folder = blobs.lay_out(sibling, tmp_path / "v")
    assert (folder / "model.safetensors").read_bytes() == files["model.safetensors"]
    assert stat.S_IMODE((folder / "model.safetensors").stat().st_mode) == 0o444
    assert [each.linked for each in blobs.cache.files()] == [True]
    assert all(blobs.verify(file.sha256) for each in (base, sibling) for file in each.files)


def test_the_same_weights_in_other_formats_cost_little(blobs: BlobStore) -> None:
    first = put(blobs, {"model.safetensors": weights.safetensors(WHOLE)})
    model, data = weights.onnx_outside(WHOLE, "model.data")
    others = [
        {"model.pt": weights.torch_zip(WHOLE)},
        {"model.onnx": weights.onnx(WHOLE)},
        {"model.gguf": weights.gguf(WHOLE)},
        {"onnx/model.onnx": model, "onnx/model.data": data},
    ]
    manifests = [put(blobs, files) for files in others]
    assert stored(blobs) < 1.05 * first.size
    assert [bytes_of(blobs, manifest) for manifest in manifests] == others


@pytest.mark.parametrize(("offset", "length"), [(0, 8), (100, 5_000_000), (1_048_000, 2000), (6_000_000, 10**9), (10**9, 1)])  # fmt: skip
def test_a_range_of_a_pieced_blob_is_read_in_place(blobs: BlobStore, offset: int, length: int) -> None:
    put(blobs, {"a": weights.safetensors(WHOLE)})
    data = weights.safetensors(weights.tuned(WHOLE, 2))
    digest = put(blobs, {"a": data}).files[0].sha256
    assert blobs.read(digest, offset, length) == data[offset : offset + length]
    assert list(blobs.cache.files()) == []


def test_settling_again_changes_nothing(blobs: BlobStore) -> None:
    put(blobs, {"a": weights.safetensors(WHOLE)})
    manifest = put(blobs, {"a": weights.safetensors(weights.tuned(WHOLE, 1))})
    before = stored(blobs)
    assert blobs.settle(manifest) == []
    put(blobs, {"a": weights.safetensors(weights.tuned(WHOLE, 1))})
    assert stored(blobs) == before


def test_a_killed_settling_leaves_a_whole_blob_and_its_space_comes_back(
    blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the rows, before the whole blob is removed."""
    put(blobs, {"a": weights.safetensors(WHOLE)})
    files = {"a": weights.safetensors(weights.tuned(WHOLE, 1))}
    monkeypatch.setattr(blobs.place, "delete", lambda key: None)
    manifest = put(blobs, files)
    monkeypatch.undo()
    before = stored(blobs)
    assert bytes_of(blobs, manifest) == files
    blobs.tidy()
    assert stored(blobs) == before - manifest.size
    assert bytes_of(blobs, manifest) == files


def test_the_base_may_go_and_its_siblings_stay(blobs: BlobStore) -> None:
    base = put(blobs, {"a": weights.safetensors(WHOLE)})
    files = {"a": weights.safetensors(weights.tuned(WHOLE, 1))}
    sibling = put(blobs, files)
    assert not blobs.delete(base.files[0].sha256)
    assert bytes_of(blobs, sibling) == files
    blobs.tidy()
    assert bytes_of(blobs, sibling) == files
    assert blobs.delete(sibling.files[0].sha256)
    assert not blobs.has(sibling.files[0].sha256)
    assert blobs.delete(base.files[0].sha256)
    blobs.tidy()
    assert stored(blobs) == 0


def test_a_pack_of_which_less_than_half_lives_is_packed_anew(blobs: BlobStore) -> None:
    base = put(blobs, {"a": weights.safetensors(WHOLE)})
    files = {"a": weights.safetensors(weights.tuned(WHOLE, 4))}
    sibling = put(blobs, files)
    blobs.delete(base.files[0].sha256)
    tidied = blobs.tidy()
    assert (tidied.repacked, tidied.freed > 0.6 * base.size) == (1, True)
    assert bytes_of(blobs, sibling) == files
    assert not blobs.has(base.files[0].sha256)
    assert stored(blobs) < sibling.size + 10_000


def test_what_came_back_after_its_deletion_is_whole_again(blobs: BlobStore) -> None:
    files = {"a": weights.safetensors(WHOLE)}
    base = put(blobs, files)
    put(blobs, {"a": weights.safetensors(weights.tuned(WHOLE, 1))})
    blobs.delete(base.files[0].sha256)
    again = put(blobs, files)
    blobs.tidy()
    assert bytes_of(blobs, again) == files
    assert blobs.path(base.files[0].sha256).parent.parent.name == "objects"


def test_what_is_damaged_is_named_and_never_served(blobs: BlobStore, tmp_path: Path) -> None:
    base = put(blobs, {"a": weights.safetensors(WHOLE)})
    sibling = put(blobs, {"weights/a": weights.safetensors(weights.tuned(WHOLE, 1))})
    damage(blobs.path(base.files[0].sha256), 4_000_000)
    with pytest.raises(Damaged, match=r"weights/a.*store verify") as caught:
        blobs.lay_out(sibling, tmp_path / "versions" / "v")
    assert [each.pack for each in caught.value.pieces] == [f"objects/{base.files[0].sha256[:2]}/{base.files[0].sha256}"]  # fmt: skip
    assert list((tmp_path / "versions").iterdir()) == []
    assert list(blobs.cache.files()) == []
    assert not blobs.verify(sibling.files[0].sha256)
    with pytest.raises(Damaged):
        blobs.read(sibling.files[0].sha256, 0, sibling.size)


def test_a_damaged_pack_never_serves_either(blobs: BlobStore) -> None:
    put(blobs, {"a": weights.safetensors(WHOLE)})
    sibling = put(blobs, {"a": weights.safetensors(weights.tuned(WHOLE, 1))})
    assert blobs.place.root is not None
    (pack,) = (path for path in (blobs.place.root / "packs").rglob("*") if path.is_file())
    damage(pack, 5000)
    with pytest.raises(Damaged):
        blobs.path(sibling.files[0].sha256)


def test_pieces_that_are_right_in_an_order_that_is_not_are_not_served(
    blobs: BlobStore, database: Database
) -> None:
    """Rows are an index: where they differ from what the pack says, the whole is compared."""
    put(blobs, {"a": weights.safetensors(WHOLE)})
    files = {"a": weights.safetensors(weights.tuned(WHOLE, 1))}
    digest = put(blobs, files).files[0].sha256
    with database.begin() as session:
        for old, new in ((3, -1), (4, 3), (-1, 4)):
            session.execute(update(blob_pieces).where(blob_pieces.c.sequence == old).values(sequence=new))
    with pytest.raises(Damaged, match="its composition is wrong"):
        blobs.path(digest)
    assert list(blobs.cache.files()) == []


@pytest.mark.parametrize("compared", [True, False])
def test_a_pack_of_before_has_its_whole_compared(
    blobs: BlobStore, monkeypatch: pytest.MonkeyPatch, compared: bool
) -> None:
    """What a pack does not say was compared is read once more, and served all the same."""
    monkeypatch.setattr(
        "modelyard.store.settling.Composition",
        lambda **given: Composition(**{**given, "compared": compared}),
    )
    put(blobs, {"a": weights.safetensors(WHOLE)})
    files = {"a": weights.safetensors(weights.tuned(WHOLE, 1))}
    digest = put(blobs, files).files[0].sha256
    row = blobs.pieces.blob(bytes.fromhex(digest)) if blobs.pieces else None
    assert row is not None and blobs.pieces is not None
    composition = blobs.pieces.composition(row.digest)
    assert blobs.assembly.compared(row.pack, row.digest, composition) is compared
    assert blobs.path(digest).read_bytes() == files["a"]


def test_what_was_compared_stays_so_when_its_pack_is_written_anew(blobs: BlobStore) -> None:
    base = put(blobs, {"a": weights.safetensors(WHOLE)})
    sibling = put(blobs, {"a": weights.safetensors(weights.tuned(WHOLE, 1))})
    blobs.delete(base.files[0].sha256)
    other = put(blobs, {"a": weights.safetensors(weights.tuned(WHOLE, 5))})
    blobs.tidy()
    blobs.delete(other.files[0].sha256)
    blobs.tidy()
    assert blobs.pieces is not None
    row = blobs.pieces.blob(bytes.fromhex(sibling.files[0].sha256))
    assert row is not None
    assert blobs.assembly.compared(row.pack, row.digest, blobs.pieces.composition(row.digest))


def test_others_get_no_pieces_of_what_is_damaged(blobs: BlobStore) -> None:
    base = put(blobs, {"a": weights.safetensors(WHOLE)}, settle=False)
    damage(blobs.path(base.files[0].sha256), 4_000_000)
    assert [each.whole for each in blobs.settle(base)] == [True]
    files = {"a": weights.safetensors(weights.tuned(WHOLE, 1))}
    assert bytes_of(blobs, put(blobs, files)) == files
    assert stored(blobs) == base.size + len(files["a"])


def test_what_is_gone_is_not_found(blobs: BlobStore, tmp_path: Path) -> None:
    put(blobs, {"a": weights.safetensors(WHOLE)})
    sibling = put(blobs, {"a": weights.safetensors(weights.tuned(WHOLE, 1))})
    assert blobs.place.root is not None
    for path in (blobs.place.root / "packs").rglob("*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(NotFound) as caught:
        blobs.lay_out(sibling, tmp_path / "v")
    assert caught.value.field == "a"


@pytest.mark.parametrize(
    ("data", "codec"),
    [
        (os.urandom(1_000_001), RAW),
        (b"the same words again " * 5000, ZSTD),
        (weights.tensors(5, count=1)["layer.0.weight"].tobytes(), PLANES4),
        (weights.tensors(5, count=1)["layer.0.weight"].astype("float16").tobytes()[:-1], PLANES2),
        (b"", RAW),
        (b"x", RAW),
    ],
)
def test_a_piece_is_kept_as_is_smallest(data: bytes, codec: int) -> None:
    found, encoded = encode(data)
    assert found == codec
    assert len(encoded) <= len(data)
    assert decode(found, encoded, len(data)) == data


def test_two_who_settle_the_same_at_once_keep_it_once(
    tmp_path: Path, pieces: Pieces, blobs: BlobStore
) -> None:
    put(blobs, {"a": weights.safetensors(WHOLE)})
    before = stored(blobs)
    files = {"a": weights.safetensors(weights.tuned(WHOLE, 2))}
    manifest = put(blobs, files, settle=False)
    _at_once([lambda: BlobStore(tmp_path / "blobs", pieces).settle(manifest)] * 4)
    blobs.tidy()
    assert stored(blobs) - before < 0.4 * manifest.size
    assert bytes_of(blobs, manifest) == files


def test_who_reads_while_packs_are_written_anew_gets_the_right_bytes(blobs: BlobStore) -> None:
    """Siblings come and go, packs are written anew, and one that stays is put together again and again."""
    base = put(blobs, {"a": weights.safetensors(WHOLE)})
    kept = put(blobs, {"a": weights.safetensors(weights.tuned(WHOLE, 1))})
    digest = kept.files[0].sha256
    stop = threading.Event()
    read = 0

    def change() -> None:
        blobs.delete(base.files[0].sha256)
        try:
            for seed in range(12):
                other = put(blobs, {"a": weights.safetensors(weights.tuned(WHOLE, 5, seed))})
                blobs.tidy()
                blobs.delete(other.files[0].sha256)
                blobs.tidy()
        finally:
            stop.set()

    def reads() -> None:
        nonlocal read
        while not stop.is_set():
            blobs.cache.remove(digest)
            path = blobs.path(digest)
            if path.exists():
                assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
            assert blobs.verify(digest)
            read += 1

    _at_once([change, reads, reads])
    assert read > 10


def _at_once(calls: list[Callable[[], object]]) -> None:
    failed: list[BaseException] = []

    def run(call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_what_is_cold_is_smaller_and_read_as_before(blobs: BlobStore, tmp_path: Path) -> None:
    files = {"a": weights.safetensors(WHOLE)}
    base = put(blobs, files)
    tuned = put(blobs, {"a": weights.safetensors(weights.tuned(WHOLE, 1))})
    before = stored(blobs)
    cooled = blobs.cool(base.files[0].sha256)
    assert cooled is not None and not cooled.whole
    assert stored(blobs) < before - 0.1 * base.size
    assert bytes_of(blobs, base) == files
    assert bytes_of(blobs, tuned) == {"a": weights.safetensors(weights.tuned(WHOLE, 1))}
    assert (blobs.lay_out(base, tmp_path / "v") / "a").read_bytes() == files["a"]
    assert blobs.delete(base.files[0].sha256)
    blobs.tidy()
    assert bytes_of(blobs, tuned) == {"a": weights.safetensors(weights.tuned(WHOLE, 1))}


def test_what_is_laid_out_or_does_not_get_smaller_stays_whole(blobs: BlobStore, tmp_path: Path) -> None:
    base, noise = put(blobs, {"a": weights.safetensors(WHOLE)}), put(blobs, {"a": os.urandom(2_000_000)})
    before = stored(blobs)
    blobs.lay_out(base, tmp_path / "v")
    assert blobs.cool(base.files[0].sha256) is None
    tried = blobs.cool(noise.files[0].sha256)
    assert tried is not None and tried.whole
    assert stored(blobs) == before
    assert blobs.path(noise.files[0].sha256).parent.parent.name == "objects"


def test_what_is_damaged_is_not_made_to_look_new(blobs: BlobStore) -> None:
    base = put(blobs, {"a": weights.safetensors(WHOLE)})
    damage(blobs.path(base.files[0].sha256), 3_000_000)
    assert blobs.cool(base.files[0].sha256) is None
    assert not blobs.verify(base.files[0].sha256)
