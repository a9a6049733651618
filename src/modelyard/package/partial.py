"""A file that is on its way: hashed while it is written, kept where it was broken off, whole only at its end."""

import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from modelyard.core.errors import RejectedContent, TooLarge
from modelyard.core.units import format_bytes
from modelyard.package.meter import disk_full, is_full

_PIECE = 1 << 20


class Partial:
    """The file ``path`` (its name ends in ``.partial``), of ``most`` bytes at most.

    What is there when it is opened is kept and hashed, to be gone on with or thrown away (:meth:`restart`).
    One process writes it: the caller holds a lock.
    """

    def __init__(self, path: Path, *, most: int) -> None:
        self.path = path
        self.most = most
        self.size = 0
        self._hash = hashlib.sha256()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = self._open()
        while piece := self._file.read(_PIECE):
            self._count(piece)

    def _open(self) -> BinaryIO:
        # Not through a link that somebody may have put there.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.fdopen(os.open(self.path, flags, 0o644), "r+b", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def restart(self) -> None:
        """Throw away what is there."""
        self._file.seek(0)
        self._file.truncate()
        self.size = 0
        self._hash = hashlib.sha256()

    def write(self, piece: bytes) -> None:
        """Append. Raises TooLarge over the limit, Unavailable when the disk is full."""
        if self.size + len(piece) > self.most:
            raise TooLarge(f"It is larger than {format_bytes(self.most)}, which is the most that is taken.")
        rest = memoryview(piece)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            if is_full(error):
                raise disk_full() from error
            raise
        self._count(piece)

    def finish(self, to: Path, *, sha256: str | None = None) -> str:
        """Move it to ``to``, in the same folder or one of the same disk; gives its SHA-256 (hex).

        Raises RejectedContent, and throws it away, when that is not ``sha256``.
        """
        found = self._hash.hexdigest()
        if sha256 is not None and found != sha256:
            self._file.close()
            self.path.unlink(missing_ok=True)
            raise RejectedContent(f"Its checksum is {found} and should be {sha256}; it is not used.")
        os.fsync(self._file.fileno())
        self._file.close()
        self.path.rename(to)
        return found

    def _count(self, piece: bytes) -> None:
        self._hash.update(piece)
        self.size += len(piece)
