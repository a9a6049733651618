"""Uploads: what is missing, receiving it, and collecting what nothing refers to any more."""

import asyncio
from collections.abc import AsyncIterable, Iterable
from pathlib import PurePosixPath

from modelyard.core.access import DEFAULT_PROJECT
from modelyard.core.errors import InvalidInput, NotFound
from modelyard.core.manifest import FileEntry
from modelyard.store.aside import aside, write_aside
from modelyard.store.blobs import BlobStore, FileDigest
from modelyard.store.repacking import GRACE
from modelyard.store.staging import Staging
from modelyard.store.uploads import Upload, Uploads
from modelyard.store.versions import Versions


def begin(
    uploads: Uploads,
    blobs: BlobStore,
    files: list[FileEntry],
    *,
    project: str = DEFAULT_PROJECT,
    proving: bool = False,
) -> tuple[Upload, list[str]]:
    """A new upload, and the digests whose bytes have to be sent (each once, in order of the paths).

    From here on its blobs are kept, those that were there before too. Of one that is ``proving`` all that its project
    has not got has to be sent, whoever else has it. Raises InvalidInput.
    """
    _check(files)
    # Between looking and referring nothing may be collected.
    with blobs.referring():
        upload = uploads.create(files, project=project, proving=proving)
        return upload, missing(uploads, blobs, upload)


def missing(uploads: Uploads, blobs: BlobStore, upload: Upload) -> list[str]:
    """The digests of ``upload`` whose bytes have not come yet (each once, in order of the paths)."""
    digests = dict.fromkeys(file.sha256 for file in upload.manifest.files)
    there = blobs.claim(uploads.proven(upload))
    return [digest for digest in digests if digest not in there]


async def receive(
    uploads: Uploads, blobs: BlobStore, upload_id: str, sha256: str, body: AsyncIterable[bytes]
) -> FileDigest:
    """Keep the bytes of one file of an upload; the same bytes twice cost nothing.

    Raises NotFound for an upload that is not there or a digest that is not in it, InvalidInput when
    the bytes are not those, Unavailable when the disk is full.
    """
    upload = await asyncio.to_thread(uploads.get, upload_id)
    size = size_in(upload, sha256)
    read = upload.proving and sha256 not in await asyncio.to_thread(uploads.proven, upload)
    kept = await blobs.put_stream(body, sha256=sha256, size=size, read=read)
    await asyncio.to_thread(uploads.came, upload, sha256)
    return kept


async def receive_part(
    uploads: Uploads,
    blobs: BlobStore,
    upload_id: str,
    sha256: str,
    number: int,
    body: AsyncIterable[bytes],
    *,
    part_sha256: str | None = None,
) -> None:
    """Keep the bytes of one part of one file of an upload; one that has come already is not even read.

    Raises what :func:`receive` and :meth:`Staging.part` do; nothing of a part that is not whole or not of
    ``part_sha256`` is kept.
    """
    upload = await asyncio.to_thread(uploads.get, upload_id)
    size = size_in(upload, sha256)
    if await asyncio.to_thread(_is_there, uploads, blobs, upload, sha256):
        return
    with staging_of(blobs, upload).part(sha256, size, number) as writer:
        if writer is None:
            return
        await write_aside(body, writer.write)
        await aside(writer.commit, part_sha256)


def assemble(uploads: Uploads, blobs: BlobStore, upload_id: str, sha256: str) -> FileDigest:
    """Make a blob of the parts of a file; nothing happens when it is one.

    Raises NotFound and Conflict while parts are missing, InvalidInput when together they are not the file of the
    digest: they are forgotten then, and have to be sent again.
    """
    upload = uploads.get(upload_id)
    size = size_in(upload, sha256)
    staging = staging_of(blobs, upload)
    if not _is_there(uploads, blobs, upload, sha256):
        place = staging.whole(sha256, size)
        try:
            blobs.adopt(place, sha256)
        except FileNotFoundError:
            if not _is_there(uploads, blobs, upload, sha256):  # or else somebody was faster
                raise
        except InvalidInput:
            staging.drop(sha256)
            raise
        uploads.came(upload, sha256)
    staging.drop(sha256)
    return FileDigest(sha256=sha256, size=size)


def size_of(uploads: Uploads, upload_id: str, sha256: str) -> int:
    """Bytes of a file of an upload. Raises NotFound for an upload or a file that is not there."""
    return size_in(uploads.get(upload_id), sha256)


def size_in(upload: Upload, sha256: str) -> int:
    """Bytes of one of its files. Raises NotFound when it has no such file."""
    for file in upload.manifest.files:
        if file.sha256 == sha256:
            return file.size
    raise NotFound(f"The upload {upload.id!r} has no file of the digest {sha256}.", field="sha256")


def staging_of(blobs: BlobStore, upload: Upload) -> Staging:
    """Where its parts lie: one place for all whose bytes need no proof, one for each project else."""
    return blobs.staging.of(upload.project) if upload.proving else blobs.staging


def _is_there(uploads: Uploads, blobs: BlobStore, upload: Upload, sha256: str) -> bool:
    """Whether a file of an upload need not be sent."""
    return blobs.has(sha256) and (not upload.proving or sha256 in uploads.proven(upload))


def parts_come(blobs: BlobStore, upload: Upload, digests: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Of those of ``digests`` that come in parts: the numbers of the parts that are here."""
    sizes = {file.sha256: file.size for file in upload.manifest.files}
    staging = staging_of(blobs, upload)
    come = {digest: tuple(staging.come(digest, sizes[digest])) for digest in digests}
    return {digest: numbers for digest, numbers in come.items() if numbers}


def collect_garbage(blobs: BlobStore, uploads: Uploads, versions: Versions) -> int:
    """Delete the blobs that no upload and no version refers to; how many. Safe beside both: on one machine by a
    lock, in a bucket because what was asked for within the last hour stays."""
    with blobs.collecting():
        before = blobs.now() - GRACE if blobs.remote else None
        # Uploads first: one that becomes a version between the two is then in the second set.
        needed = uploads.referenced_digests() | versions.referenced_digests()
        kept = needed | blobs.retained()
        garbage = [digest for digest in blobs.digests() if digest not in kept]
        collected = sum(blobs.delete(digest, before=before) for digest in garbage)
        for staging in blobs.staging.all():
            for digest in staging.digests() - needed:
                staging.drop(digest)
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
