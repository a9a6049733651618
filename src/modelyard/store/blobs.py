"""Content-addressed bytes: a blob's name is its SHA-256, and it is whole or not there.

``objects/ab/abcd…`` are the blobs, ``incoming/`` what is being written, ``staged/`` what comes in parts,
``collection.lock`` the lock
between those who begin to refer to blobs and the one who removes what nobody refers to.
"""

import fcntl
import hashlib
import os
from collections.abc import AsyncIterable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import obstore
from obstore.store import LocalStore

from modelyard.core.errors import InvalidInput, NotFound
from modelyard.core.files import Files
from modelyard.core.manifest import Manifest, check_digest
from modelyard.store.aside import aside, write_aside
from modelyard.store.blob_files import BlobFiles
from modelyard.store.blob_writer import BlobWriter, FileDigest
from modelyard.store.durable import disk_error, make_folder, sync_file, sync_folder
from modelyard.store.incoming import Incoming
from modelyard.store.layout import lay_out
from modelyard.store.staging import Staging

if TYPE_CHECKING:
    from obstore import GetResult

_CHUNK: Final = 1024 * 1024


__all__ = ["BlobStore", "FileDigest"]


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
        self.staging = Staging(self._root / "staged")

    def put(
        self, chunks: Iterable[bytes], *, sha256: str | None = None, size: int | None = None
    ) -> FileDigest:
        """Write a blob. One that is known by ``sha256`` is not even read from ``chunks``.

        Raises InvalidInput when the bytes are not what ``sha256`` and ``size`` say, and Unavailable
        when the disk is full. Whatever is raised, also by ``chunks``, nothing is left behind.
        """
        if sha256 is not None and (known := self._known(sha256, size)) is not None:
            return known
        with self._writer(sha256, size) as writer:
            for chunk in chunks:
                writer.write(chunk)
            return writer.commit()

    async def put_stream(
        self, chunks: AsyncIterable[bytes], *, sha256: str | None = None, size: int | None = None
    ) -> FileDigest:
        """As :meth:`put`, for the body of a request. The disk is waited for in other threads."""
        if sha256 is not None and (known := await aside(self._known, sha256, size)) is not None:
            return known
        writer = await aside(self._writer, sha256, size)
        try:
            await write_aside(chunks, writer.write)
            return await aside(writer.commit)
        finally:
            # In this thread: a cancelled task gets no second turn to wait for another one.
            writer.discard()

    def adopt(self, place: Path, sha256: str) -> FileDigest:
        """Make a blob of a file that lies under the root already; ``place`` is gone then.

        Raises InvalidInput when it is not the file of ``sha256``, and leaves it where it is; Unavailable when the
        disk is full.
        """
        check_digest(sha256)
        hashed = hashlib.sha256()
        with place.open("rb", buffering=0) as file:
            buffer = memoryview(bytearray(_CHUNK))
            while count := file.readinto(buffer):
                hashed.update(buffer[:count])
            size = file.tell()
        if hashed.hexdigest() != sha256:
            raise InvalidInput(
                f"The bytes that came have the digest {hashed.hexdigest()}, not the announced {sha256}; the file "
                "changed or was damaged on its way. Send it again.",
                field="sha256",
            )
        try:
            self._keep(place, sha256)
            place.unlink(missing_ok=True)
        except OSError as error:
            told = disk_error(error, self._root)
            if told is None:
                raise
            raise told from error
        return FileDigest(sha256=sha256, size=size)

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
        # One of its overloads speaks of Arrow, which is not installed.
        listed = obstore.list(self._store, "objects", chunk_size=1000)  # pyright: ignore[reportUnknownMemberType]
        for batch in listed:
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
    def referring(self) -> Generator[None, None, None]:
        """While this is held, nothing is collected: for whoever looks which blobs are there and then
        makes a row that refers to them. Many may hold it at once."""
        with self._guard(fcntl.LOCK_SH):
            yield

    @contextmanager
    def collecting(self) -> Generator[None, None, None]:
        """While this is held, no row begins to refer to a blob: for whoever removes the others."""
        with self._guard(fcntl.LOCK_EX):
            yield

    @contextmanager
    def _guard(self, kind: int) -> Generator[None, None, None]:
        descriptor = os.open(self._root / "collection.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _reading(self, sha256: str) -> Generator[None, None, None]:
        check_digest(sha256)
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(f"There is no blob {sha256}.", field="sha256") from error

    def _pieces(self, sha256: str, result: "GetResult") -> Iterator[bytes]:
        with self._reading(sha256):
            for piece in result.stream(min_chunk_size=_CHUNK):
                yield bytes(piece)

    def _writer(self, sha256: str | None, size: int | None) -> BlobWriter:
        place = self._incoming.place()
        return BlobWriter(self._store, self._root, place, self._keep, sha256=sha256, size=size)

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
        """Make the temporary object a blob, unless there is one: durable first, then visible."""
        if self.has(sha256):
            return
        place.chmod(0o444)  # it is linked into the folders of its versions
        sync_file(place)
        shard = self._local(sha256).parent
        make_folder(shard)
        obstore.rename(self._store, str(place.relative_to(self._root)), _path(sha256))
        sync_folder(shard)


def _path(sha256: str) -> str:
    return f"objects/{sha256[:2]}/{sha256}"
