"""Bounded random access to one file: small reads are served from a window, big data is never loaded."""

from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files

CHUNK = 64 * 1024


class Window:
    """Reads one file of ``files`` in chunks of 64 KiB. Offsets and sizes are in bytes."""

    def __init__(self, files: Files, path: str) -> None:
        self.path = path
        self.size = files.size(path)
        self._files = files
        self.start = 0
        self.data = b""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes. Raises RejectedContent when the file ends before."""
        if offset + length > self.size:
            raise self.truncated(offset + length)
        index = offset - self.start
        if index < 0 or index + length > len(self.data):
            if length > CHUNK:
                return self._exactly(offset, length)
            self.fill(offset)
            index = 0
        return self.data[index : index + length]

    def fill(self, offset: int) -> None:
        """Move the window so that it begins at ``offset``."""
        self.start = offset
        self.data = self._exactly(offset, min(CHUNK, max(self.size - offset, 0)))

    def truncated(self, promised: int) -> RejectedContent:
        """The error for a file whose content says that it should be longer."""
        return RejectedContent(
            f"{self.path} is truncated or corrupt: its content says that it has at least {promised} "
            f"bytes, and the file has {self.size}. Export or copy it again.",
            field=self.path,
        )

    def _exactly(self, offset: int, length: int) -> bytes:
        data = self._files.read(self.path, offset, length)
        if len(data) != length:
            raise self.truncated(offset + length)
        return data
