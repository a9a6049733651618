"""Uploads: what is missing, receiving it, and collecting what nothing refers to any more."""

import asyncio
import time
from collections.abc import AsyncIterable
from pathlib import PurePosixPath

from modelyard.core.errors import InvalidInput, NotFound
from modelyard.core.manifest import FileEntry
from modelyard.store.blobs import BlobStore, FileDigest
from modelyard.store.repacking import GRACE
from modelyard.store.uploads import Upload, Uploads
from modelyard.store.versions import Versions


def begin(uploads: Uploads, blobs: BlobStore, files: list[FileEntry]) -> tuple[Upload, list[str]]:
    """A new upload, and the digests whose bytes have to be sent (each once, in order of the paths).

    From here on its blobs are kept, those that were there before too. Raises InvalidInput.
    """
    _check(files)
    # Between looking and referring nothing may be collected.
    with blobs.referring():
        upload = uploads.create(files)
        return upload, missing(blobs, upload)


def missing(blobs: BlobStore, upload: Upload) -> list[str]:
    """The digests of ``upload`` whose bytes have not come yet (each once, in order of the paths)."""
    digests = dict.fromkeys(file.sha256 for file in upload.manifest.files)
    there = blobs.claim(digests)
    return [digest for digest in digests if digest not in there]


async def receive(
    uploads: Uploads, blobs: BlobStore, upload_id: str, sha256: str, body: AsyncIterable[bytes]
) -> FileDigest:
    """Keep the bytes of one file of an upload; the same bytes twice cost nothing.

    Raises NotFound for an upload that is not there or a digest that is not in it, InvalidInput when
    the bytes are not those, Unavailable when the disk is full.
    """
    upload = await asyncio.to_thread(uploads.get, upload_id)
    sizes = {file.sha256: file.size for file in upload.manifest.files}
    if sha256 not in sizes:
        raise NotFound(f"The upload {upload_id!r} has no file of the digest {sha256}.", field="sha256")
    return await blobs.put_stream(body, sha256=sha256, size=sizes[sha256])


def collect_garbage(blobs: BlobStore, uploads: Uploads, versions: Versions) -> int:
    """Delete the blobs that no upload and no version refers to; how many. Safe beside both: on one machine by a
    lock, in a bucket because what was asked for within the last hour stays."""
    with blobs.collecting():
        before = time.time() - GRACE if blobs.remote else None
        # Uploads first: one that becomes a version between the two is then in the second set.
        needed = uploads.referenced_digests() | versions.referenced_digests()
        kept = needed | blobs.retained()
        garbage = [digest for digest in blobs.digests() if digest not in kept]
        collected = sum(blobs.delete(digest, before=before) for digest in garbage)
    return collected


def _check(files: list[FileEntry]) -> None:
    """What a manifest alone does not refuse: a file that is a folder too, one digest of two sizes."""
    paths = {file.path for file in files}
    sizes: dict[str, int] = {}
    for index, file in enumerate(files):
        for parent in PurePosixPath(file.path).parents:
            if str(parent) in paths:
                raise InvalidInput(
                    f"{str(parent)!r} is a file and a folder at the same time; rename one.",
                    field=f"files[{index}].path",
                )
        if sizes.setdefault(file.sha256, file.size) != file.size:
            raise InvalidInput(
                f"The digest of {file.path!r} is also that of a file of another size.",
                field=f"files[{index}].size",
            )
