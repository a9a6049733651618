"""Pieces have names that say which digest they are: new ones BLAKE3, those of before SHA-256."""

import hashlib
from pathlib import Path

import pytest

from modelyard.store.assembly import Damaged
from modelyard.store.blobs import BlobStore
from modelyard.store.database import Database
from modelyard.store.piece_name import Checking, is_named, name_of
from modelyard.store.pieces import Pieces
from support import weights
from support.stores import bytes_of, damage, put, stored

WHOLE = weights.tensors(1, rows=1024)


@pytest.fixture
def blobs(tmp_path: Path, database: Database) -> BlobStore:
    return BlobStore(tmp_path / "blobs", Pieces(database))


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A store that names as it did before: what it keeps is then met by the one of today."""
    monkeypatch.setattr("modelyard.store.settling.name_of", lambda data: hashlib.sha256(data).digest())
    return monkeypatch


def test_blake3_as_its_authors_have_it() -> None:
    """The first of the test vectors of the BLAKE3 paper's repository, with multihash's prefix."""
    empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert name_of(b"").hex() == "1e20" + empty


@pytest.mark.parametrize("data", [b"", b"a", bytes(10_000_000)], ids=len)
def test_bytes_are_those_of_their_name_and_of_no_other(data: bytes) -> None:
    for name in (name_of(data), hashlib.sha256(data).digest()):
        assert is_named(name, data)
        assert is_named(name, memoryview(bytearray(data)))
        assert not is_named(name, data + b"x")
        assert not is_named(name[:-1] + bytes([name[-1] ^ 1]), data)


@pytest.mark.parametrize("change", [lambda name: name[:-1], lambda name: name + b"\0", lambda name: b"\x1f" + name[1:], lambda name: name[2:], lambda name: b"\x1e"])  # fmt: skip
def test_a_name_that_is_none_fits_nothing(change) -> None:
    assert not is_named(change(name_of(b"some bytes")), b"some bytes")


def test_parts_make_up_the_whole() -> None:
    check = Checking(name_of(b"some bytes"))
    check.update(b"some ")
    assert not check.right()
    check.update(memoryview(b"bytes"))
    assert check.right()


def test_pieces_of_before_are_served_compared_and_checked(
    blobs: BlobStore, before: pytest.MonkeyPatch
) -> None:
    put(blobs, {"a": weights.safetensors(WHOLE)})
    files = {"a": weights.safetensors(weights.tuned(WHOLE, 1))}
    old = put(blobs, files)
    before.undo()
    assert bytes_of(blobs, old) == files
    assert blobs.path(old.files[0].sha256).read_bytes() == files["a"]
    blobs.cache.remove(old.files[0].sha256)
    assert blobs.place.root is not None
    (pack,) = (path for path in (blobs.place.root / "packs").rglob("*") if path.is_file())
    damage(pack, 5000)
    with pytest.raises(Damaged):
        blobs.path(old.files[0].sha256)
    assert not blobs.verify(old.files[0].sha256)


def test_packs_with_pieces_of_before_are_packed_anew(blobs: BlobStore, before: pytest.MonkeyPatch) -> None:
    """What lives keeps its name: nothing else that names it has to be found."""
    base = put(blobs, {"a": weights.safetensors(WHOLE)})
    files = {"a": weights.safetensors(weights.tuned(WHOLE, 1))}
    old = put(blobs, files)
    before.undo()
    blobs.delete(base.files[0].sha256)
    blobs.tidy()
    assert bytes_of(blobs, old) == files
    assert blobs.verify(old.files[0].sha256)


def test_a_sibling_of_a_model_of_before_is_kept_by_itself_and_its_own_siblings_cost_little(
    blobs: BlobStore, before: pytest.MonkeyPatch
) -> None:
    """Names of two kinds never meet, so nothing of before is found again; nor is anything of it lost."""
    base = put(blobs, {"a": weights.safetensors(WHOLE)})
    before.undo()
    first = {"a": weights.safetensors(weights.tuned(WHOLE, 1))}
    put(blobs, first)
    between = stored(blobs)
    assert between >= 1.9 * base.size
    second = {"a": weights.safetensors(weights.tuned(WHOLE, 2))}
    assert bytes_of(blobs, put(blobs, second)) == second
    assert stored(blobs) - between < 0.5 * base.size
