"""Blobs in buckets of Google Cloud Storage and Azure: what is proven for S3 (test_bucket.py), where the clouds can differ."""

import asyncio
import hashlib
import os
import time
from pathlib import Path

import pytest

from modelyard.core.errors import Forbidden, InvalidInput, Unavailable
from modelyard.core.manifest import FileEntry
from modelyard.registry.upload import begin, collect_garbage
from modelyard.store import repacking
from modelyard.store.assembly import Damaged
from modelyard.store.blobs import BlobStore
from modelyard.store.bucket import open_bucket
from modelyard.store.checking import Check
from modelyard.store.database import Database
from modelyard.store.pieces import Pieces
from modelyard.store.uploads import Uploads
from modelyard.store.versions import Versions
from support import weights
from support.buckets import damage, fill_through_faults, kill_writers, made_anew
from support.clouds import Clouds, CloudServer
from support.fault_proxy import FaultProxy
from support.stores import bytes_of, put, stored

pytestmark = pytest.mark.timeout(300)
WHOLE = weights.tensors(1, rows=1024)
BASE = {"a": weights.safetensors(WHOLE)}
TUNED = {"a": weights.safetensors(weights.tuned(WHOLE, 1))}


@pytest.fixture(params=["gs", "az"])
def scheme(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Of the rows: that they are the same in PostgreSQL, S3 tells."""
    return tmp_path / "modelyard.db"


@pytest.fixture
def blobs(in_bucket: BlobStore) -> BlobStore:
    return in_bucket


def test_what_one_control_plane_keeps_another_serves_in_pieces_ranges_and_cold(
    blobs: BlobStore, other: BlobStore, tmp_path: Path
) -> None:
    files = {"config.json": b"{}", "weights/a": BASE["a"], "empty": b""}
    manifest = put(blobs, files)
    folder = other.lay_out(manifest, tmp_path / "v")
    assert {name: (folder / name).read_bytes() for name in files} == files
    (big,) = (file for file in manifest.files if file.path == "weights/a")
    other.cache.remove(big.sha256)
    assert other.read(big.sha256, 1000, 5000) == BASE["a"][1000:6000]
    before = stored(blobs)
    tuned = put(other, TUNED)
    assert 0 < stored(blobs) - before < 0.2 * big.size
    other.cool(big.sha256)
    for store in (blobs, other):
        for each in (manifest, tuned):
            for file in each.files:
                store.cache.remove(file.sha256)
        assert bytes_of(store, manifest) == files
        assert bytes_of(store, tuned) == TUNED
    assert not any((tmp_path / "one" / "objects").iterdir())


def test_a_large_blob_goes_in_parts_and_comes_in_ranges(blobs: BlobStore, other: BlobStore) -> None:
    data = os.urandom(40_000_000)
    manifest = put(blobs, {"a": data})
    assert other.path(manifest.files[0].sha256).read_bytes() == data
    assert other.verify(manifest.files[0].sha256)


def test_what_is_damaged_is_not_served_and_mended_and_lost_rows_are_made_anew(
    blobs: BlobStore, other: BlobStore, address: str, tmp_path: Path
) -> None:
    base = put(blobs, BASE)
    damage(blobs, BASE["a"])
    with pytest.raises(Damaged, match=base.files[0].sha256):
        other.path(base.files[0].sha256)
    sizes = {base.files[0].sha256: base.size}
    assert blobs.pieces is not None
    (here,) = Check(blobs, blobs.pieces, deep=True, repair=True).run(sizes).troubles
    assert here.repaired
    assert other.path(base.files[0].sha256).read_bytes() == BASE["a"]
    tuned = put(blobs, TUNED)
    with made_anew(tmp_path, address, base, tuned) as again:
        assert bytes_of(again, tuned) == TUNED


def test_what_nobody_uses_is_collected_after_an_hour_and_orphans_too(
    blobs: BlobStore, other: BlobStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads, versions = Uploads(database), Versions(database)
    digest = put(blobs, {"a": b"nobody wants me yet"}).files[0].sha256
    spare = blobs.incoming()
    spare.write_bytes(b"left by somebody who was killed")
    blobs.place.keep(spare, "packs/ab/killed")
    assert collect_garbage(other, uploads, versions) == 0
    blobs.tidy()
    assert stored(blobs) > len(b"nobody wants me yet")
    later = time.time() + 2 * repacking.GRACE
    monkeypatch.setattr(time, "time", lambda: later)
    assert collect_garbage(other, uploads, versions) == 1
    assert not blobs.has(digest)
    assert blobs.pieces is not None
    repacking.tidy(blobs.place, blobs.pieces, blobs.incoming, clock=lambda: later)
    assert stored(blobs) == 0


def test_what_is_asked_for_again_is_sent_again_once_it_was_collected(
    blobs: BlobStore, other: BlobStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No two objects have one key: whoever removes the first does not meet the second."""
    monkeypatch.setattr("modelyard.registry.upload.GRACE", 0.0)
    uploads, versions = Uploads(database), Versions(database)
    data = os.urandom(3000)
    entry = FileEntry(path="a", size=len(data), sha256=hashlib.sha256(data).hexdigest())
    for _ in range(3):
        upload, asked = begin(uploads, blobs, [entry])
        assert asked == [entry.sha256]
        asyncio.run(blobs.put_stream(_body(data), sha256=entry.sha256, size=len(data)))
        assert b"".join(other.open(entry.sha256)) == data
        uploads.delete(upload.id)
        time.sleep(0.01)
        collect_garbage(other, uploads, versions)
        assert not blobs.has(entry.sha256)


async def _body(data: bytes):
    yield data


def test_faults_between_are_retried_and_nothing_half_is_seen(
    server: CloudServer, address: str, tmp_path: Path, pieces: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultProxy(server.port, seed=7) as proxy:
        for name, value in server.variables_at(proxy.port).items():
            monkeypatch.setenv(name, value)
        fill_through_faults(BlobStore(tmp_path / "faulty", pieces, open_bucket(address)), proxy, 24)


def test_writers_that_are_killed_lose_nothing_and_leave_nothing_half(
    blobs: BlobStore, address: str, tmp_path: Path, place: Path
) -> None:
    kill_writers(blobs, tmp_path / "one", place, address, kills=3)


def test_a_bucket_that_is_away_or_not_there_is_told_and_nothing_is_kept(
    scheme: str,
    server: CloudServer,
    address: str,
    tmp_path: Path,
    pieces: Pieces,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("modelyard.store.clouds.RETRIES", 0)
    lost = BlobStore(tmp_path / "lost", pieces, open_bucket(f"{scheme}://nobody-made-it/x"))
    with pytest.raises(Unavailable, match=r"There is no bucket for .*nobody-made-it/x; make it"):
        lost.put([b"data"])
    with FaultProxy(server.port) as proxy:
        for name, value in server.variables_at(proxy.port).items():
            monkeypatch.setenv(name, value)
        store = BlobStore(tmp_path / "away", pieces, open_bucket(address))
        proxy.fail = 1.0
        with pytest.raises(Unavailable, match=rf"{scheme}://yard/.* cannot be used"):
            store.put([b"data"])
        assert list(store.digests()) == []


def test_azure_s_wrong_key_is_told_without_telling_it(
    clouds: Clouds, tmp_path: Path, pieces: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in clouds.at("az").variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "d3Jvbmctc2VjcmV0")
    with pytest.raises(Forbidden, match="AZURE_STORAGE_ACCOUNT_KEY") as caught:
        BlobStore(tmp_path / "wrong", pieces, open_bucket("az://yard/x")).put([b"data"])
    assert "d3Jvbmctc2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize(
    ("scheme", "variables", "told"),
    [
        ("az", {}, "AZURE_STORAGE_ACCOUNT_NAME"),
        ("az", {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_ACCOUNT_KEY": "not base64!"}, "AZURE_STORAGE_ACCOUNT_KEY"),
        ("az", {"AZURE_STORAGE_CONNECTION_STRING": "a secret of another form"}, "AZURE_STORAGE_CONNECTION_STRING"),
        ("az", {"AZURE_STORAGE_CONNECTION_STRING": "AccountKey=a2V5"}, "AZURE_STORAGE_CONNECTION_STRING"),
        ("gs", {"GOOGLE_APPLICATION_CREDENTIALS": "/no/such/file.json"}, "GOOGLE_APPLICATION_CREDENTIALS"),
        ("gs", {"GOOGLE_SERVICE_ACCOUNT_KEY": "{no json, but a secret"}, "GOOGLE_APPLICATION_CREDENTIALS"),
    ],
)  # fmt: skip
def test_variables_that_cannot_be_are_told_by_name_and_without_what_they_say(
    scheme: str, variables: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(os.environ):
        if name.startswith(("AZURE_", "GOOGLE_", "STORAGE_EMULATOR")):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput, match=told) as caught:
        open_bucket(f"{scheme}://yard/x")
    assert "secret" not in str(caught.value)
    assert "a2V5" not in str(caught.value)
