"""A source as the standard library's readers of archives want it."""

import io

from modelyard.registry.scan.source import Source

_MOST = 32 * 1024 * 1024  # bytes of one read: a directory may be that large


class Reader(io.RawIOBase):
    """A file that can only be read; a read over 32 MiB is refused with ValueError.

    As ``host.seekable``, but that the size is asked for only when it must be: of what is packed nobody knows it before
    all of it was unpacked.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._position, self._source.size)[whence] if whence else 0
        if base + offset < 0:
            raise ValueError("a negative place in the file")
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            size = max(self._source.size - self._position, 0)
        if size > _MOST:
            raise ValueError("a part of it is too large to be read at once")
        data = self._source.read(self._position, size)
        self._position += len(data)
        return data
