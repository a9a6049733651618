"""The bytes of one file, read where they are asked for; a border's reader never holds more than a window."""

import os
from pathlib import Path
from types import TracebackType
from typing import Final

_WINDOW: Final = 64 * 1024
MOST: Final = 64 * 1024 * 1024  # bytes that a header may have


class Unreadable(ValueError):
    """The file is not what its first bytes say; it is cut by its content then."""


class Source:
    """An open file. Every read raises Unreadable when the file ends before, or too much is asked for."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.fstat(self._descriptor).st_size
        self._start = 0
        self._data = b""

    def __enter__(self) -> "Source":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``."""
        if offset < 0 or length < 0 or length > MOST or offset + length > self.size:
            raise Unreadable(f"{length} bytes at {offset} of {self.size} are asked for")
        index = offset - self._start
        if index >= 0 and index + length <= len(self._data):
            return self._data[index : index + length]
        if length > _WINDOW:
            return self._exactly(offset, length)
        self._start, self._data = offset, self._exactly(offset, min(_WINDOW, self.size - offset))
        return self._data[:length]

    def number(self, offset: int, length: int) -> int:
        """A little-endian number without a sign."""
        return int.from_bytes(self.read(offset, length), "little")

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
