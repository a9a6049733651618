"""Whole files of blobs whose bytes lie elsewhere (in pieces, in a bucket): made when they are served, evictable."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from modelyard.store.durable import make_folder, sync_folder
from modelyard.store.place import remove


class Cached(NamedTuple):
    """A file of the cache. ``used`` in seconds since the epoch; ``linked``: a version's folder has it too, so that
    removing it here would free nothing."""

    sha256: str
    size: int
    used: float
    linked: bool


class Cache:
    """The files under ``root``, by digest."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, sha256: str) -> Path:
        """Where the file is, or would be."""
        return self._root / sha256[:2] / sha256

    def find(self, sha256: str) -> Path | None:
        """The file, which counts as used now; None when it is not there."""
        path = self.path(sha256)
        try:
            os.utime(path)
        except FileNotFoundError:
            return None
        return path

    def keep(self, place: Path, sha256: str) -> Path:
        """The file at ``place``, whole and on the disk, becomes that of ``sha256``."""
        path = self.path(sha256)
        make_folder(path.parent)
        place.chmod(0o444)
        place.rename(path)
        sync_folder(path.parent)
        return path

    def remove(self, sha256: str) -> None:
        """Remove a file; nothing happens when it is not there."""
        remove(self.path(sha256))

    def files(self) -> Iterator[Cached]:
        """Every file, in no order."""
        for path in self._root.glob("??/*"):
            try:
                found = path.stat()
            except FileNotFoundError:
                continue
            yield Cached(path.name, found.st_size, found.st_mtime, found.st_nlink > 1)
