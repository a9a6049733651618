"""Uploads: only what is missing is sent, and nothing that somebody refers to is ever collected."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelyard.core.errors import Conflict, InvalidInput, NotFound
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.model import Analysis
from modelyard.registry.upload import (
    assemble,
    begin,
    collect_garbage,
    missing,
    parts_come,
    receive,
    receive_part,
)
from modelyard.registry.versions import require_blobs
from modelyard.store.blobs import BlobStore
from modelyard.store.database import Database
from modelyard.store.staging import PART_SIZE
from modelyard.store.uploads import Uploads
from modelyard.store.versions import Versions
from support.failures import JUMPS

ANALYSIS = Analysis(format="onnx", adapter="onnx")


def finish(uploads: Uploads, blobs: BlobStore, upload_id: str) -> Manifest:
    """What registering an upload begins with: its manifest, once all bytes are there."""
    manifest = uploads.get(upload_id).manifest
    require_blobs(blobs, manifest)
    return manifest


@pytest.fixture
def uploads(database: Database) -> Uploads:
    return Uploads(database)


@pytest.fixture
def versions(database: Database) -> Versions:
    return Versions(database)


def _entry(path: str, data: bytes) -> FileEntry:
    return FileEntry(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())


async def _body(data: bytes) -> AsyncIterator[bytes]:
    yield data


def test_only_what_is_not_there_is_asked_for(uploads: Uploads, blobs: BlobStore) -> None:
    blobs.put([b"old"])
    files = [_entry("a", b"old"), _entry("b", b"new"), _entry("c", b"new")]
    upload, asked = begin(uploads, blobs, files)
    assert asked == [_entry("b", b"new").sha256]
    assert uploads.get(upload.id) == upload


def test_an_upload_is_finished_when_all_has_come(uploads: Uploads, blobs: BlobStore) -> None:
    new = _entry("b", b"new")
    upload, _ = begin(uploads, blobs, [new])
    with pytest.raises(Conflict) as caught:
        finish(uploads, blobs, upload.id)
    assert caught.value.field == "b"
    asyncio.run(receive(uploads, blobs, upload.id, new.sha256, _body(b"new")))
    assert finish(uploads, blobs, upload.id) == upload.manifest
    assert missing(uploads, blobs, upload) == []


def test_a_digest_that_was_not_announced_is_not_received(uploads: Uploads, blobs: BlobStore) -> None:
    upload, _ = begin(uploads, blobs, [_entry("a", b"data")])
    other = _entry("x", b"other")
    with pytest.raises(NotFound):
        asyncio.run(receive(uploads, blobs, upload.id, other.sha256, _body(b"other")))
    assert list(blobs.digests()) == []


def test_nothing_is_received_for_an_upload_that_is_gone(uploads: Uploads, blobs: BlobStore) -> None:
    data = _entry("a", b"data")
    upload, _ = begin(uploads, blobs, [data])
    assert uploads.expire(upload.expires - 1) == 0
    assert uploads.expire(upload.expires) == 1
    with pytest.raises(NotFound):
        asyncio.run(receive(uploads, blobs, upload.id, data.sha256, _body(b"data")))


def test_wrong_bytes_are_refused(uploads: Uploads, blobs: BlobStore) -> None:
    data = _entry("a", b"data")
    upload, _ = begin(uploads, blobs, [data])
    with pytest.raises(InvalidInput):
        asyncio.run(receive(uploads, blobs, upload.id, data.sha256, _body(b"atad")))


def test_a_file_cannot_be_a_folder_too(uploads: Uploads, blobs: BlobStore) -> None:
    with pytest.raises(InvalidInput, match="a file and a folder"):
        begin(uploads, blobs, [_entry("a", b"1"), _entry("a/b/c", b"2")])


def test_one_digest_has_one_size(uploads: Uploads, blobs: BlobStore) -> None:
    data = _entry("a", b"data")
    with pytest.raises(InvalidInput) as caught:
        begin(uploads, blobs, [data, FileEntry(path="b", size=9, sha256=data.sha256)])
    assert caught.value.field == "files[1].size"


def test_what_nothing_refers_to_is_collected(
    uploads: Uploads, blobs: BlobStore, versions: Versions
) -> None:
    kept, begun, orphan = (blobs.put([data]).sha256 for data in (b"kept", b"begun", b"orphan"))
    finished, _ = begin(uploads, blobs, [_entry("a", b"kept")])
    versions.add("m", finished.manifest, ANALYSIS, False)
    uploads.delete(finished.id)
    begin(uploads, blobs, [_entry("a", b"begun")])
    assert collect_garbage(blobs, uploads, versions) == 1
    assert set(blobs.digests()) == {kept, begun}
    assert not blobs.has(orphan)


def test_what_an_upload_need_not_send_is_still_there_when_it_ends(
    uploads: Uploads, blobs: BlobStore, versions: Versions
) -> None:
    """Blobs that nothing refers to are begun upon while they are collected, again and again."""
    stop = threading.Event()

    def collect() -> None:
        while not stop.is_set():
            collect_garbage(blobs, uploads, versions)

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        known = number = 0
        while known < 20:
            number += 1
            data = b"%d" % number
            blobs.put([data])
            upload, asked = begin(uploads, blobs, [_entry("a", data)])
            if not asked:
                known += 1
                assert finish(uploads, blobs, upload.id) == upload.manifest
            uploads.delete(upload.id)
    finally:
        stop.set()
        collector.join()


def test_collecting_waits_for_who_begins_to_refer(
    uploads: Uploads, blobs: BlobStore, versions: Versions, tmp_path: Path
) -> None:
    """The lock itself, without luck: another store of the same folder cannot collect meanwhile."""
    blobs.put([b"data"])
    other = BlobStore(tmp_path / "blobs")
    collector = threading.Thread(target=collect_garbage, args=(other, uploads, versions))
    with blobs.referring():
        collector.start()
        collector.join(0.3)
        assert collector.is_alive()
        uploads.create([_entry("a", b"data")])
    collector.join()
    assert len(list(blobs.digests())) == 1


LARGE = bytes(range(256)) * (PART_SIZE // 128)  # two parts, and they differ in nothing but their place
LAST = b"the end"


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 300_000):
        yield data[start : start + 300_000]


def test_a_file_in_parts_becomes_a_blob_when_all_have_come(uploads: Uploads, blobs: BlobStore) -> None:
    data = LARGE + LAST
    file = _entry("weights", data)
    upload, _ = begin(uploads, blobs, [file])
    assert parts_come(blobs, upload, [file.sha256]) == {}

    def send(number: int, part: bytes) -> None:
        asyncio.run(receive_part(uploads, blobs, upload.id, file.sha256, number, _pieces(part)))

    send(2, LAST)
    send(0, data[:PART_SIZE])
    assert parts_come(blobs, upload, [file.sha256]) == {file.sha256: (0, 2)}
    with pytest.raises(Conflict, match="1 parts"):
        assemble(uploads, blobs, upload.id, file.sha256)
    send(1, data[PART_SIZE : 2 * PART_SIZE])
    for _ in range(2):  # who asks again because the answer was lost is told the same
        assert assemble(uploads, blobs, upload.id, file.sha256).size == len(data)
    assert b"".join(blobs.open(file.sha256)) == data
    assert finish(uploads, blobs, upload.id).files == (file,)
    send(0, b"not even read")
    assert blobs.staging.digests() == set()


def test_parts_that_are_not_the_file_are_forgotten(uploads: Uploads, blobs: BlobStore) -> None:
    file = _entry("weights", LARGE + LAST)
    upload, _ = begin(uploads, blobs, [file])
    for number, part in enumerate((LARGE[:PART_SIZE], LARGE[:PART_SIZE], b"another")):
        asyncio.run(receive_part(uploads, blobs, upload.id, file.sha256, number, _pieces(part)))
    with pytest.raises(InvalidInput, match="not the announced"):
        assemble(uploads, blobs, upload.id, file.sha256)
    assert not blobs.has(file.sha256)
    assert parts_come(blobs, upload, [file.sha256]) == {}


def test_parts_go_with_the_last_upload_that_waits_for_them(
    uploads: Uploads, blobs: BlobStore, versions: Versions
) -> None:
    file = _entry("weights", LARGE + LAST)
    first, second = (begin(uploads, blobs, [file])[0] for _ in range(2))
    asyncio.run(receive_part(uploads, blobs, first.id, file.sha256, 2, _pieces(LAST)))
    uploads.delete(first.id)
    collect_garbage(blobs, uploads, versions)
    assert parts_come(blobs, second, [file.sha256]) == {file.sha256: (2,)}
    uploads.delete(second.id)
    collect_garbage(blobs, uploads, versions)
    assert blobs.staging.digests() == set()


@pytest.mark.parametrize("jump", JUMPS)
def test_a_clock_that_jumps_loses_no_version_and_makes_none_of_bytes_that_went(
    blobs: BlobStore, database: Database, jump: float
) -> None:
    """Forward, an upload under way is forgotten and says so; backward, it is kept for longer. What is a version stays."""
    now = [1_700_000_000.0]
    uploads, versions = Uploads(database, clock=lambda: now[0]), Versions(database, lambda: now[0])
    kept, waiting = blobs.put([b"kept"]), blobs.put([b"on its way"])
    done = [FileEntry(path="a", size=kept.size, sha256=kept.sha256)]
    begun, _ = begin(uploads, blobs, done)
    versions.add("m", begun.manifest, Analysis(format="x", adapter="x"), False)
    uploads.delete(begun.id)
    upload, _ = begin(uploads, blobs, [FileEntry(path="a", size=waiting.size, sha256=waiting.sha256)])
    now[0] += jump
    uploads.expire(now[0])
    collect_garbage(blobs, uploads, versions)
    assert blobs.verify(kept.sha256)
    if jump > 0:
        with pytest.raises(NotFound, match="has expired"):
            uploads.get(upload.id)
        with pytest.raises(Conflict):
            require_blobs(blobs, upload.manifest)
    else:
        assert uploads.get(upload.id) == upload
        assert blobs.verify(waiting.sha256)
        now[0] -= jump
        assert uploads.expire(now[0] + 25 * 3600) == 1
