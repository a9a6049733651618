"""Nobody learns from an upload which bytes another project has, and nobody gets them by their digest alone."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

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
from modelyard.store.projects import Projects
from modelyard.store.uploads import Upload, Uploads
from modelyard.store.versions import Versions

DATA = b"what the others have"
SHA256 = hashlib.sha256(DATA).hexdigest()
ENTRY = FileEntry(path="model.onnx", size=len(DATA), sha256=SHA256)


@pytest.fixture
def uploads(database: Database, blobs: BlobStore) -> Uploads:
    """With a project that has a version of the bytes, and one that has not."""
    projects, versions = Projects(database), Versions(database)
    for name in ("ours", "theirs"):
        projects.create(name)
    blobs.put([DATA], sha256=SHA256, size=len(DATA))
    manifest = Manifest(files=(ENTRY,))
    versions.add("their-model", manifest, Analysis(format="onnx", adapter="onnx"), False, project="theirs")
    return Uploads(database)


class Body:
    """Counts what is read of it."""

    def __init__(self, data: bytes) -> None:
        self.data, self.read = data, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.read += len(self.data)
        yield self.data


def send(uploads: Uploads, blobs: BlobStore, upload: Upload, data: bytes) -> int:
    body = Body(data)
    asyncio.run(receive(uploads, blobs, upload.id, SHA256, body))  # type: ignore[arg-type]
    return body.read


def test_bytes_of_another_project_are_asked_for_like_any_others(uploads: Uploads, blobs: BlobStore) -> None:
    upload, asked = begin(uploads, blobs, [ENTRY], project="ours", proving=True)
    assert asked == [SHA256] == missing(uploads, blobs, upload)
    with pytest.raises(Conflict, match="have not been uploaded"):
        require_blobs(blobs, upload.manifest, lambda: uploads.proven(upload))
    with pytest.raises(InvalidInput, match="not the announced"):
        send(uploads, blobs, upload, b"?" * len(DATA))
    assert missing(uploads, blobs, upload) == [SHA256]
    assert send(uploads, blobs, upload, DATA) == len(DATA)
    assert missing(uploads, blobs, upload) == []
    require_blobs(blobs, upload.manifest, lambda: uploads.proven(upload))


def test_bytes_of_ones_own_project_are_not_sent_again(uploads: Uploads, blobs: BlobStore) -> None:
    upload, asked = begin(uploads, blobs, [ENTRY], project="theirs", proving=True)
    assert asked == []
    assert send(uploads, blobs, upload, DATA) == 0


def test_an_admin_of_all_keeps_the_short_cut(uploads: Uploads, blobs: BlobStore) -> None:
    upload, asked = begin(uploads, blobs, [ENTRY], project="ours")
    assert asked == []
    assert send(uploads, blobs, upload, DATA) == 0


def test_what_was_sent_once_counts_for_the_project_while_its_upload_lives(
    uploads: Uploads, blobs: BlobStore
) -> None:
    first, _ = begin(uploads, blobs, [ENTRY], project="ours", proving=True)
    send(uploads, blobs, first, DATA)
    send(uploads, blobs, first, DATA)  # twice is once
    again, asked = begin(uploads, blobs, [ENTRY], project="ours", proving=True)
    assert asked == []
    uploads.delete(first.id)
    assert missing(uploads, blobs, again) == [SHA256]


def test_parts_of_another_project_are_not_there_either(uploads: Uploads, blobs: BlobStore) -> None:
    other = b"on its way"
    entry = FileEntry(path="m", size=len(other), sha256=hashlib.sha256(other).hexdigest())
    theirs, _ = begin(uploads, blobs, [entry], project="theirs", proving=True)
    ours, _ = begin(uploads, blobs, [entry], project="ours", proving=True)
    asyncio.run(receive_part(uploads, blobs, theirs.id, entry.sha256, 0, Body(other)))  # type: ignore[arg-type]
    assert parts_come(blobs, theirs, [entry.sha256]) == {entry.sha256: (0,)}
    assert parts_come(blobs, ours, [entry.sha256]) == {}
    with pytest.raises(NotFound):
        assemble(uploads, blobs, ours.id, entry.sha256)
    assemble(uploads, blobs, theirs.id, entry.sha256)
    with pytest.raises(NotFound):
        assemble(uploads, blobs, ours.id, entry.sha256)
    body = Body(other)
    asyncio.run(receive_part(uploads, blobs, ours.id, entry.sha256, 0, body))  # type: ignore[arg-type]
    assert body.read == len(other)
    assemble(uploads, blobs, ours.id, entry.sha256)
    assert missing(uploads, blobs, ours) == []


def test_parts_that_nobody_waits_for_go_from_every_project(
    uploads: Uploads, blobs: BlobStore, database: Database
) -> None:
    other = b"given up"
    entry = FileEntry(path="m", size=len(other), sha256=hashlib.sha256(other).hexdigest())
    upload, _ = begin(uploads, blobs, [entry], project="ours", proving=True)
    asyncio.run(receive_part(uploads, blobs, upload.id, entry.sha256, 0, Body(other)))  # type: ignore[arg-type]
    uploads.delete(upload.id)
    collect_garbage(blobs, uploads, Versions(database))
    assert [staging.digests() for staging in blobs.staging.all()] == [set(), set()]


def test_a_version_that_goes_takes_its_claim_with_it(
    uploads: Uploads, blobs: BlobStore, database: Database
) -> None:
    Versions(database).delete_model("their-model")
    _, asked = begin(uploads, blobs, [ENTRY], project="theirs", proving=True)
    assert asked == [SHA256]  # whatever still lies on the disk
