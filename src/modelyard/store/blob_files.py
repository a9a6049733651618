"""The files of a manifest, read from the blobs without laying them out."""

from collections.abc import Callable, Sequence

from modelyard.core.errors import NotFound
from modelyard.core.manifest import FileEntry, Manifest


class BlobFiles:
    """A ``Files``; ``read_blob(sha256, offset, length)`` gives the bytes."""

    def __init__(self, manifest: Manifest, read_blob: Callable[[str, int, int], bytes]) -> None:
        self._files = {file.path: file for file in manifest.files}
        self._read = read_blob

    @property
    def paths(self) -> Sequence[str]:
        """All paths, sorted."""
        return sorted(self._files)

    def size(self, path: str) -> int:
        """Bytes of one file. Raises NotFound for an unknown path."""
        return self._entry(path).size

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """``length`` bytes from ``offset`` (fewer at the end; None: the rest). Raises NotFound."""
        file = self._entry(path)
        rest = max(0, file.size - offset)
        return self._read(file.sha256, offset, rest if length is None else min(length, rest))

    def _entry(self, path: str) -> FileEntry:
        try:
            return self._files[path]
        except KeyError:
            raise NotFound(f"There is no file {path!r} in this version.", field=path) from None
