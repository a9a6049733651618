"""Content-addressed bytes: a blob's name is its SHA-256, and it is whole or not there.

``objects/ab/abcd…`` are the blobs, ``incoming/`` what is being written, ``collection.lock`` the lock
between those who begin to refer to blobs and the one who removes what nobody refers to.
"""

import asyncio
import fcntl
import hashlib
import os
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore

from modelyard.core.errors import InvalidInput, NotFound
from modelyard.core.files import Files
from modelyard.core.manifest import Manifest, check_digest
from modelyard.core.struct import Noun
from modelyard.store.blob_files import BlobFiles
from modelyard.store.durable import disk_error, make_folder, sync_file, sync_folder
from modelyard.store.incoming import Incoming
from modelyard.store.layout import lay_out

if TYPE_CHECKING:
    from obstore import GetResult

_CHUNK: Final = 1024 * 1024
_PART: Final = 4 * _CHUNK  # the object store buffers two of these for each writer
_T = TypeVar("_T")


class FileDigest(Noun):
    """What a blob is: SHA-256 in hex, size in bytes."""

    sha256: str
    size: int


class BlobStore:
    """The blobs under one folder. Any thread and any number of processes may use it at once.

    All bytes go through the object store; what only a local disk needs (fsync, hard links, locks)
    stands apart, so that a remote store can take its place.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._objects = self._root / "objects"
        make_folder(self._objects)
        self._store = LocalStore(self._root)
        self._incoming = Incoming(self._root / "incoming")

    def put(
        self, chunks: Iterable[bytes], *, sha256: str | None = None, size: int | None = None
    ) -> FileDigest:
        """Write a blob. One that is known by ``sha256`` is not even read from ``chunks``.

        Raises InvalidInput when the bytes are not what ``sha256`` and ``size`` say, and Unavailable
        when the disk is full. Whatever is raised, also by ``chunks``, nothing is left behind.
        """
        if sha256 is not None and (known := self._known(sha256, size)) is not None:
            return known
        with _Writer(self, sha256, size) as writer:
            for chunk in chunks:
                writer.write(chunk)
            return writer.commit()

    async def put_stream(
        self, chunks: AsyncIterable[bytes], *, sha256: str | None = None, size: int | None = None
    ) -> FileDigest:
        """As :meth:`put`, for the body of a request. The disk is waited for in other threads."""
        if sha256 is not None and (known := await _aside(self._known, sha256, size)) is not None:
            return known
        writer = await _aside(_Writer, self, sha256, size)
        try:
            gathered = bytearray()
            async for chunk in chunks:
                gathered += chunk
                if len(gathered) >= _CHUNK:
                    await _aside(writer.write, gathered)
                    gathered = bytearray()
            await _aside(writer.write, gathered)
            return await _aside(writer.commit)
        finally:
            # In this thread: a cancelled task gets no second turn to wait for another one.
            writer.discard()

    def has(self, sha256: str) -> bool:
        """Whether the blob is there."""
        try:
            self.size(sha256)
        except NotFound:
            return False
        return True

    def size(self, sha256: str) -> int:
        """Bytes. Raises NotFound."""
        with self._reading(sha256):
            return obstore.head(self._store, _path(sha256))["size"]

    def open(self, sha256: str) -> Iterator[bytes]:
        """All bytes, in pieces of about a megabyte. Raises NotFound at once."""
        with self._reading(sha256):
            result = obstore.get(self._store, _path(sha256))
        return self._pieces(sha256, result)

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``, fewer at the end. Raises NotFound."""
        end = min(offset + length, self.size(sha256))
        if offset < 0 or length < 0:
            raise InvalidInput("An offset and a length are not negative.")
        if end <= offset:
            return b""
        with self._reading(sha256):
            return bytes(obstore.get_range(self._store, _path(sha256), start=offset, end=end))

    def verify(self, sha256: str) -> bool:
        """Read the blob and say whether it is still what its name says. Raises NotFound."""
        hashed = hashlib.sha256()
        for piece in self.open(sha256):
            hashed.update(piece)
        return hashed.hexdigest() == sha256

    def delete(self, sha256: str) -> None:
        """Remove a blob; nothing happens when it is not there."""
        check_digest(sha256)
        try:
            obstore.delete(self._store, _path(sha256))
        except FileNotFoundError:
            return

    def digests(self) -> Iterator[str]:
        """The name of every blob, in no order."""
        for batch in obstore.list(self._store, "objects", chunk_size=1000):
            for found in batch:
                folder, _, name = found["path"].removeprefix("objects/").partition("/")
                if len(name) == 64 and name.startswith(folder):
                    yield name

    def sweep(self) -> int:
        """Remove what killed writers left, and touch no living one; how many objects that were."""
        return self._incoming.sweep()

    def files(self, manifest: Manifest) -> Files:
        """The files of a manifest, read where they lie."""
        return BlobFiles(manifest, self.read)

    def lay_out(self, manifest: Manifest, folder: Path) -> Path:
        """The files of a manifest as a folder of read-only files; ``folder``, whole or not there.

        Raises NotFound when a blob is missing, InvalidInput for a manifest that cannot be a folder,
        Unavailable when the disk is full.
        """
        return lay_out(manifest, folder, self._local)

    @contextmanager
    def referring(self) -> Iterator[None]:
        """While this is held, nothing is collected: for whoever looks which blobs are there and then
        makes a row that refers to them. Many may hold it at once."""
        with self._guard(fcntl.LOCK_SH):
            yield

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """While this is held, no row begins to refer to a blob: for whoever removes the others."""
        with self._guard(fcntl.LOCK_EX):
            yield

    @contextmanager
    def _guard(self, kind: int) -> Iterator[None]:
        descriptor = os.open(self._root / "collection.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _reading(self, sha256: str) -> Iterator[None]:
        check_digest(sha256)
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(f"There is no blob {sha256}.", field="sha256") from error

    def _pieces(self, sha256: str, result: "GetResult") -> Iterator[bytes]:
        with self._reading(sha256):
            for piece in result.stream(min_chunk_size=_CHUNK):
                yield bytes(piece)

    def _known(self, sha256: str, size: int | None) -> FileDigest | None:
        try:
            there = self.size(sha256)
        except NotFound:
            return None
        if size is not None and size != there:
            raise InvalidInput(
                f"The file of this digest has {there} bytes, not {size}; send the size that it has.",
                field="size",
            )
        return FileDigest(sha256=sha256, size=there)

    def _local(self, sha256: str) -> Path:
        return self._root / _path(sha256)

    def _keep(self, place: Path, sha256: str) -> None:
        """Make the temporary object a blob: durable first, then visible."""
        place.chmod(0o444)  # it is linked into the folders of its versions
        sync_file(place)
        shard = self._local(sha256).parent
        make_folder(shard)
        obstore.rename(self._store, str(place.relative_to(self._root)), _path(sha256))
        sync_folder(shard)


class _Writer:
    """One blob on its way: hashed while it is written to a temporary object."""

    def __init__(self, blobs: BlobStore, sha256: str | None, size: int | None) -> None:
        self._blobs = blobs
        self._sha256 = sha256
        self._size = size
        self._hash = hashlib.sha256()
        self._written = 0
        with self._told():
            self._place = blobs._incoming.place()
            self._file = obstore.open_writer(
                blobs._store,
                str(self._place.relative_to(blobs._root)),
                buffer_size=_PART,
                max_concurrency=1,
            )

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        self._written += len(chunk)
        if self._size is not None and self._written > self._size:
            raise InvalidInput(
                f"More than the announced {self._size} bytes came; send the file again.", field="size"
            )
        self._hash.update(chunk)
        with self._told():
            for start in range(0, len(chunk), _CHUNK):
                self._file.write(memoryview(chunk)[start : start + _CHUNK])

    def commit(self) -> FileDigest:
        digest = FileDigest(sha256=self._hash.hexdigest(), size=self._written)
        if self._size not in (None, digest.size):
            raise InvalidInput(
                f"{digest.size} bytes came instead of {self._size}; send the file again.", field="size"
            )
        if self._sha256 not in (None, digest.sha256):
            raise InvalidInput(
                f"The bytes that came have the digest {digest.sha256}, not the announced {self._sha256}; the "
                "file changed or was damaged on its way. Send it again.",
                field="sha256",
            )
        with self._told():
            self._file.close()
            if not self._blobs.has(digest.sha256):
                self._blobs._keep(self._place, digest.sha256)
        return digest

    def discard(self) -> None:
        """Remove what has not become a blob."""
        self._blobs._incoming.discard(self._place)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, BaseError) as error:
            told = disk_error(error, self._blobs._root)
            if told is None:
                raise
            raise told from error


async def _aside(call: Callable[..., _T], *arguments: object) -> _T:
    """Run ``call`` in a thread, and do not leave before it has ended, not even when cancelled."""
    task = asyncio.ensure_future(asyncio.to_thread(call, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                continue
        # Its own failure, if any, is not what ended this.
        task.cancelled() or task.exception()
        raise


def _path(sha256: str) -> str:
    return f"objects/{sha256[:2]}/{sha256}"
