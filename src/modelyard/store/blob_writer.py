"""One blob on its way into the store: hashed while it is written, and gone if it does not arrive."""

import hashlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from modelyard.core.errors import InvalidInput
from modelyard.core.struct import Noun
from modelyard.store.durable import disk_error


class FileDigest(Noun):
    """What a blob is: SHA-256 in hex, size in bytes."""

    sha256: str
    size: int


class BlobWriter:
    """One blob on its way, used by one thread at a time. ``sha256`` and ``size`` are what it is to be.

    ``place`` is the temporary file under ``root``; ``keep(place, sha256)`` makes it a blob. It is written by plain
    calls: what is on its way lies on this machine wherever blobs are kept, and an object store's writer copies twice.
    """

    def __init__(
        self,
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
            self._file: FileIO | None = place.open("xb", buffering=0)

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
        file, left = self._opened(), memoryview(chunk)
        with self._told():
            while left:
                left = left[file.write(left) :]

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

    def _opened(self) -> FileIO:
        if self._file is None:
            raise ValueError("this blob was discarded")
        return self._file

    def discard(self) -> None:
        """Remove what has not become a blob."""
        if self._file is not None:
            self._file.close()  # whoever handles the error may hold this object, and an open file keeps its space
            self._file = None
        self._place.unlink(missing_ok=True)

    @contextmanager
    def _told(self) -> Generator[None, None, None]:
        try:
            yield
        except OSError as error:
            told = disk_error(error, self._root)
            if told is None:
                raise
            raise told from error
