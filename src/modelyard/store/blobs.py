"""Content-addressed bytes: a blob's name is its SHA-256, and it is whole or not there.

``objects/ab/abcd…`` are the blobs that are kept whole, ``packs/`` the pieces of others with their index (see
``pack``), ``cache/`` files put together of pieces or fetched from a bucket, ``incoming/`` what is being written,
``staged/`` what comes in parts, ``collection.lock`` the lock between those who begin to refer to blobs and the one who
removes what nobody refers to.

With ``remote`` the objects and packs lie in a bucket, of which several control planes may be users; what is there
the rows say, and nothing but the cache is on this machine.
"""

import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import AsyncIterable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from modelyard.core.errors import InvalidInput, NotFound
from modelyard.core.files import Files
from modelyard.core.manifest import Manifest, check_digest
from modelyard.store.aside import aside, write_aside
from modelyard.store.assembly import Damaged
from modelyard.store.blob_files import BlobFiles
from modelyard.store.blob_reader import CHUNK, BlobReader, is_file_of, key_of, sha256_of
from modelyard.store.blob_writer import BlobWriter, FileDigest
from modelyard.store.cooling import Cooling
from modelyard.store.durable import disk_error, make_folder, sync_file
from modelyard.store.gathering import gather
from modelyard.store.layout import lay_out
from modelyard.store.pieces import Pieces
from modelyard.store.place import Place
from modelyard.store.repacking import Tidied, tidy
from modelyard.store.settling import SMALLEST, Settled, Settling, outside_of
from modelyard.store.staging import Staging

__all__ = ["BlobStore", "FileDigest"]

_FRESH: Final = 3600.0  # seconds in which bytes that were hashed as they came are believed


class BlobStore(BlobReader):
    """The blobs under one folder, or in a bucket. Any thread and any number of processes may use it at once.

    What is kept goes through ``place``, whichever that is; what only a local disk needs (hard links, locks) stands
    apart. Without ``pieces`` (the rows) it knows whole blobs alone.
    """

    def __init__(self, root: Path, pieces: Pieces | None = None, remote: Place | None = None) -> None:
        if remote is not None and pieces is None:
            raise ValueError("a store in a bucket needs its rows")
        super().__init__(root, pieces, remote)
        make_folder(self._root / "objects")
        self.staging = Staging(self._root / "staged")
        self._settling = None if pieces is None else Settling(self.place, pieces, self._incoming.place)

    def put(
        self,
        chunks: Iterable[bytes | bytearray],
        *,
        sha256: str | None = None,
        size: int | None = None,
        read: bool = False,
    ) -> FileDigest:
        """Write a blob. One that is known by ``sha256`` is not even read from ``chunks``, unless ``read`` says that
        they must be its bytes also then.

        Raises InvalidInput when the bytes are not what ``sha256`` and ``size`` say, and Unavailable
        when the disk is full. Whatever is raised, also by ``chunks``, nothing is left behind.
        """
        if sha256 is not None and not read and (known := self._known(sha256, size)) is not None:
            return known
        with self._writer(sha256, size) as writer:
            for chunk in chunks:
                writer.write(chunk)
            return writer.commit()

    async def put_stream(
        self,
        chunks: AsyncIterable[bytes],
        *,
        sha256: str | None = None,
        size: int | None = None,
        read: bool = False,
    ) -> FileDigest:
        """As :meth:`put`, for the body of a request. The disk is waited for in other threads."""
        if (
            sha256 is not None
            and not read
            and (known := await aside(self._known, sha256, size)) is not None
        ):
            return known
        if size is not None and size <= CHUNK:
            return await self._put_small(chunks, sha256, size, read)
        writer = await aside(self._writer, sha256, size)
        try:
            await write_aside(chunks, writer.write)
            return await aside(writer.commit)
        finally:
            # In this thread: a cancelled task gets no second turn to wait for another one.
            writer.discard()

    async def _put_small(
        self, chunks: AsyncIterable[bytes], sha256: str | None, size: int, read: bool
    ) -> FileDigest:
        """Gather it here, and go to another thread once."""
        gathered = bytearray()
        async for chunk in chunks:
            gathered += chunk
            if len(gathered) > size:
                break  # it is told below
        return await aside(lambda: self.put([gathered], sha256=sha256, size=size, read=read))

    def adopt(self, place: Path, sha256: str) -> FileDigest:
        """Make a blob of a file that lies under the root already; ``place`` is gone then.

        Raises InvalidInput when it is not the file of ``sha256``, and leaves it where it is; Unavailable when the
        disk is full.
        """
        check_digest(sha256)
        hashed = hashlib.sha256()
        with place.open("rb", buffering=0) as file:
            buffer = memoryview(bytearray(CHUNK))
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

    def claim(self, digests: Iterable[str]) -> set[str]:
        """Those of the blobs that are there. In a bucket they are not collected within the next hour; on this
        machine, not while :meth:`referring` is held."""
        if not self.remote:
            return {digest for digest in digests if self.has(digest)}
        assert self.pieces is not None
        return {each.hex() for each in self.pieces.claim(bytes.fromhex(digest) for digest in digests)}

    def now(self) -> float:
        """The time by which blobs were used (seconds since the epoch): of all who share their rows. Raises
        Unavailable."""
        return time.time() if self.pieces is None else self.pieces.now()

    def delete(self, sha256: str, *, before: float | None = None) -> bool:
        """Remove a blob (in a bucket, with ``before``, only one that came before); nothing happens when it is not
        there. Whether its name is gone: bytes that others have pieces of stay until those are moved."""
        check_digest(sha256)
        if self.pieces is None:
            self.place.delete(key_of(sha256))
            return True
        digest = bytes.fromhex(sha256)
        row = self.pieces.blob(digest)
        if row is None and self.remote:
            return False
        if row is not None and not self.pieces.forget(digest, before=before):
            return False
        self.cache.remove(sha256)
        if row is not None and self.pieces.drop(row.pack):
            self.place.delete(row.pack)
        if self.remote:
            return True
        if gone := self.pieces.drop(key_of(sha256)):
            self.place.delete(key_of(sha256))
        return gone

    def digests(self) -> Iterator[str]:
        """The name of every blob, in no order."""
        pieced = set[str]()
        if self.pieces is not None:
            pieced = {row.digest.hex() for row in self.pieces.blobs() if self.remote or not row.whole}
            yield from pieced
        if self.remote:
            return
        for found in self.place.objects("objects"):
            name = sha256_of(found.key)
            if name is not None and name not in pieced:
                yield name

    def retained(self) -> set[str]:
        """Whole blobs that were deleted and are still there, because others have pieces of them."""
        if self.pieces is None or self.remote:
            return set()
        keys = {pack.key for pack in self.pieces.packs() if pack.live and not pack.whole}
        return {name for key in keys if (name := sha256_of(key)) is not None}

    def settle(self, manifest: Manifest) -> list[Settled]:
        """Look for pieces of a version's files that are there already, and keep only the others where that pays.

        Blobs that were looked at are passed over, and those that are too small for it: they need no row. What is in a
        bucket was looked at when it came.
        """
        if self._settling is None or self.pieces is None or self.remote:
            return []
        large = [file for file in manifest.files if file.size >= SMALLEST]
        if not large:
            return []
        known = self.pieces.with_rows({bytes.fromhex(file.sha256) for file in large})
        waiting = [
            file
            for file in large
            if bytes.fromhex(file.sha256) not in known and self._whole(file.sha256).is_file()
        ]
        if not waiting:
            return []
        models = [file for file in manifest.files if self._whole(file.sha256).is_file()]
        told = outside_of((file.path, self._whole(file.sha256)) for file in models)
        done: list[Settled] = []
        for file in waiting:
            with suppress(FileNotFoundError):  # collected meanwhile
                key = key_of(file.sha256)
                settled = self._settling.settle(
                    file.sha256, self._whole(file.sha256), key, told.get(file.path, ()), there=True
                )
                if not settled.whole and self.pieces.drop(key):
                    self.place.delete(key)
                done.append(settled)
        return done

    def cool(self, sha256: str) -> Settled | None:
        """Keep a whole blob as small as it gets: for what is used seldom, since it has to be put together then. None
        for what is not whole, damaged, or laid out for somebody now. Raises Conflict, Unavailable."""
        row = None if self.pieces is None else self.pieces.blob(bytes.fromhex(sha256))
        if row is None or not row.whole or self.pieces is None:
            return None
        laid_out = self.cache.path(sha256) if self.remote else self._whole(sha256)
        with suppress(FileNotFoundError):
            if laid_out.stat().st_nlink > 1:
                return None
        cooled = Cooling(self.place, self.pieces, self._incoming.place).cool(row)
        if cooled is None:
            return None  # what is damaged is not made to look new
        if cooled.whole:
            self.pieces.touch(row.digest)  # not tried again soon
        elif self.pieces.drop(row.pack):
            self.place.delete(row.pack)
        return cooled

    def incoming(self) -> Path:
        """A path for a new temporary object, used by nobody else."""
        return self._incoming.place()

    def sweep(self) -> int:
        """Remove what killed writers left, and touch no living one; how many objects that were."""
        return self._incoming.sweep()

    def tidy(self) -> Tidied:
        """Remove packs that nothing refers to and what killed writers left of some, and pack anew those of which less
        than half lives. Safe beside everything."""
        if self.pieces is None:
            return Tidied()
        if not self.remote:
            for row in self.pieces.blobs():
                # Its pieces are in packs; whoever made it so was killed before the whole one was removed.
                key = key_of(row.digest.hex())
                if not row.whole and (self._root / key).exists() and self.pieces.drop(key):
                    self.place.delete(key)
        return tidy(self.place, self.pieces, self._incoming.place)

    def gather(self) -> int:
        """Put small blobs of a bucket together into packs; how many. On this machine each stays a file, which is
        linked where it is needed. Safe beside everything."""
        if self.pieces is None or not self.remote:
            return 0
        return gather(self.place, self.pieces, self._incoming.place)

    def files(self, manifest: Manifest) -> Files:
        """The files of a manifest, read where they lie."""
        return BlobFiles(manifest, self.read)

    def lay_out(self, manifest: Manifest, folder: Path) -> Path:
        """The files of a manifest as a folder of read-only files; ``folder``, whole or not there.

        Raises NotFound when a blob is missing, Damaged for one that is not what its name says, InvalidInput for a
        manifest that cannot be a folder, Unavailable when the disk is full.
        """
        folder = lay_out(manifest, folder, self._right)
        if self.pieces is not None:
            self.pieces.claim({bytes.fromhex(file.sha256) for file in manifest.files})
        return folder

    def _right(self, sha256: str) -> Path:
        """As :meth:`path`, for what models are loaded from: read and compared, unless that was done when it came a
        moment ago. Whoever loads it reads it anyway; a damaged file of the cache is made again."""
        if not self.remote and (whole := self._whole(sha256)).is_file():
            if time.time() - whole.stat().st_mtime >= _FRESH and not is_file_of(whole, sha256):
                raise Damaged(
                    f"its bytes have changed on this disk ({whole}); see: modelyard store verify --deep",
                    bytes.fromhex(sha256),
                    (),
                )
            return whole
        found = self.cache.find(sha256)
        if found is not None and not is_file_of(found, sha256):
            self.cache.remove(sha256)
        return self.path(sha256)

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

    def _writer(self, sha256: str | None, size: int | None) -> BlobWriter:
        place = self._incoming.place()
        return BlobWriter(self._root, place, self._keep, sha256=sha256, size=size)

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

    def _keep(self, place: Path, sha256: str) -> None:
        """Make the temporary object a blob, unless there is one: durable first, then visible."""
        if self.has(sha256):
            return
        if not self.remote:
            self.place.keep(place, key_of(sha256))
            return
        assert self._settling is not None
        # No two objects have one key: whoever removes one never meets one that has just come again.
        own = f"{key_of(sha256)}-{secrets.token_hex(4)}"
        self._settling.settle(sha256, place, own, there=False)
        # Whoever sent it will want it soon; what is not on the disk yet is not trusted after a power cut.
        sync_file(place)
        self.cache.keep(place, sha256)
