"""How a version's files are read without caring where they lie (a folder, the blob store)."""

from collections.abc import Sequence
from typing import Protocol


class Files(Protocol):
    """Random access to a set of files by relative POSIX path."""

    @property
    def paths(self) -> Sequence[str]:
        """All paths, sorted."""
        ...

    def size(self, path: str) -> int:
        """Bytes of one file. Raises NotFound for an unknown path."""
        ...

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """``length`` bytes from ``offset`` (fewer at the end; None: the rest). Raises NotFound."""
        ...
