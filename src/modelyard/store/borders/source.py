"""The bytes of one file, read where they are asked for; a border's reader never holds more than a window."""

import os
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Final

_WINDOW: Final = 64 * 1024
MOST: Final = 64 * 1024 * 1024  # bytes that a header may have


class Unreadable(ValueError):
    """The file is not what its first bytes say; it is cut by its content then."""


class Source(ABC):
    """Bytes that are read where they are asked for, at least ``window`` of them at a time. Every read raises Unreadable
    when they end before, or too much is asked for."""

    def __init__(self, size: int, window: int = _WINDOW) -> None:
        self.size = size
        self._window = window
        self._start = 0
        self._data = b""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``."""
        if offset < 0 or length < 0 or length > MOST or offset + length > self.size:
            raise Unreadable(f"{length} bytes at {offset} of {self.size} are asked for")
        index = offset - self._start
        if index >= 0 and index + length <= len(self._data):
            return self._data[index : index + length]
        if length > self._window:
            return self._exactly(offset, length)
        # What the last window has of this one is not asked for again.
        kept = self._data[index:] if 0 <= index < len(self._data) else b""
        wanted = min(self._window, self.size - offset)
        self._start, self._data = offset, kept + self._exactly(offset + len(kept), wanted - len(kept))
        return self._data[:length]

    def number(self, offset: int, length: int) -> int:
        """A little-endian number without a sign."""
        return int.from_bytes(self.read(offset, length), "little")

    @abstractmethod
    def _exactly(self, offset: int, length: int) -> bytes:
        """As many bytes. Raises Unreadable where there are fewer."""


class FileSource(Source):
    """An open file of this machine."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        super().__init__(os.fstat(self._descriptor).st_size)

    def __enter__(self) -> "FileSource":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def _exactly(self, offset: int, length: int) -> bytes:
        parts: list[bytes] = []
        while length:
            part = os.pread(self._descriptor, length, offset)
            if not part:
                raise Unreadable("the file has become shorter")
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
