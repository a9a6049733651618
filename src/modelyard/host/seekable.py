"""Bytes that are read at places, as the standard library's readers of archives want them."""

import io
from typing import Protocol


class Places(Protocol):
    """What can be read at a place."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int, /) -> bytes: ...


class Seekable(io.RawIOBase):
    """A file that can only be read. A read of more than ``most`` bytes is refused with ValueError."""

    def __init__(self, source: Places, most: int) -> None:
        self._source = source
        self._most = most
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._position, self._source.size)[whence]
        if base + offset < 0:
            raise ValueError("a negative place in the file")
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        left = max(self._source.size - self._position, 0)
        length = left if size < 0 else min(size, left)
        if length > self._most:
            raise ValueError("a part of it is too large to be read at once")
        data = self._source.read(self._position, length)
        self._position += len(data)
        return data
