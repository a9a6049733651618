"""The files of a local file or folder, as a model that has not been uploaded."""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from modelyard.core.errors import InvalidInput, NotFound
from modelyard.core.manifest import check_path

SKIPPED: Final = frozenset({".git", "__pycache__", ".DS_Store"})


class FolderFiles:
    """A ``Files`` over a folder, or over one file, which is then known by its name.

    Links are followed while they stay inside; ``.git``, ``__pycache__`` and ``.DS_Store`` are left
    out. What is there is looked up once, when this is made: NotFound when there is nothing at
    ``path``, InvalidInput for a link that leaves the folder, a socket, a device, an unreadable folder.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise NotFound(f"There is no file or folder at {path}.", field="path")
        if path.is_dir():
            self._places = dict(sorted(_walk(path, path.resolve(), "", ())))
        else:
            _require_file(path, path.name)
            self._places = {path.name: path}
        for name in self._places:
            check_path(name, field=name)
        if not self._places:
            raise InvalidInput(f"The folder {path} has no files in it.", field="path")

    @property
    def paths(self) -> Sequence[str]:
        """All paths, sorted."""
        return list(self._places)

    def size(self, path: str) -> int:
        """Bytes of one file. Raises NotFound for an unknown path."""
        return self._place(path).stat().st_size

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """``length`` bytes from ``offset`` (fewer at the end; None: the rest). Raises NotFound."""
        with self._place(path).open("rb") as file:
            file.seek(offset)
            return file.read(-1 if length is None else length)

    def _place(self, path: str) -> Path:
        try:
            return self._places[path]
        except KeyError:
            raise NotFound(f"There is no file {path!r} here.", field=path) from None


def _walk(folder: Path, root: Path, prefix: str, above: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
    here = folder.resolve()
    if here in above:
        raise InvalidInput(
            f"{folder} is a link to a folder that it lies in; remove it.", field=prefix.rstrip("/")
        )
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InvalidInput(
            f"{folder} cannot be read: {error.strerror}.", field=prefix.rstrip("/")
        ) from error
    for entry in entries:
        if entry.name in SKIPPED:
            continue
        path, place = prefix + entry.name, folder / entry.name
        if entry.is_symlink() and not place.resolve().is_relative_to(root):
            raise InvalidInput(
                f"{place} is a link that leaves the folder; copy the file there.", field=path
            )
        if place.is_dir():
            yield from _walk(place, root, f"{path}/", (*above, here))
        else:
            _require_file(place, path)
            yield path, place


def _require_file(place: Path, path: str) -> None:
    try:
        mode = place.stat().st_mode
    except OSError as error:
        raise InvalidInput(f"{place} cannot be read: {error.strerror}.", field=path) from error
    if not stat.S_ISREG(mode):
        raise InvalidInput(f"{place} is no regular file; only files can be a model.", field=path)
