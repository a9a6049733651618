"""One blob on its way into the store: hashed while it is written, and gone if it does not arrive."""

import hashlib
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore

from modelyard.core.errors import InvalidInput
from modelyard.core.struct import Noun
from modelyard.store.durable import disk_error

if TYPE_CHECKING:
    from obstore import WritableFile

_CHUNK: Final = 1024 * 1024
_PART: Final = 4 * _CHUNK  # the object store buffers two of these for each writer


class FileDigest(Noun):
    """What a blob is: SHA-256 in hex, size in bytes."""

    sha256: str
    size: int


class BlobWriter:
    """One blob on its way, used by one thread at a time. ``sha256`` and ``size`` are what it is to be.

    ``place`` is the temporary object under ``root``; ``keep(place, sha256)`` makes it a blob.
    """

    def __init__(
        self,
        store: LocalStore,
        root: Path,
        place: Path,
        keep: Callable[[Path, str], None],
        *,
        sha256: str | None,
        size: int | None,
    ) -> None:
        self._root = root
        self._place = place
        self._keep = keep
        self._sha256 = sha256
        self._size = size
        self._hash = hashlib.sha256()
        self._written = 0
        with self._told():
            self._file: WritableFile | None = obstore.open_writer(
                store,
                str(place.relative_to(root)),
                buffer_size=_PART,
                max_concurrency=1,
            )

    def __enter__(self) -> "BlobWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Raises InvalidInput for more bytes than announced, Unavailable when the disk is full."""
        self._written += len(chunk)
        if self._size is not None and self._written > self._size:
            raise InvalidInput(
                f"More than the announced {self._size} bytes came; send the file again.", field="size"
            )
        self._hash.update(chunk)
        file = self._opened()
        with self._told():
            for start in range(0, len(chunk), _CHUNK):
                file.write(memoryview(chunk)[start : start + _CHUNK])

    def commit(self) -> FileDigest:
        """Make it a blob. Raises InvalidInput when it is not what was announced, Unavailable as above."""
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
        file = self._opened()
        with self._told():
            file.close()
            self._keep(self._place, digest.sha256)
        return digest

    def _opened(self) -> "WritableFile":
        if self._file is None:
            raise ValueError("this blob was discarded")
        return self._file

    def discard(self) -> None:
        """Remove what has not become a blob, and what the object store has staged beside it."""
        # Whoever handles the error may hold this object, and an open file keeps its space.
        self._file = None
        for path in self._place.parent.glob(f"{self._place.name}*"):
            os.truncate(path, 0)
            path.unlink()

    @contextmanager
    def _told(self) -> Generator[None, None, None]:
        try:
            yield
        except (OSError, BaseError) as error:
            told = disk_error(error, self._root)
            if told is None:
                raise
            raise told from error
