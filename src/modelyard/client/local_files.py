"""The files of a model on this machine: which belong to it, and what their digests are."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from modelyard.core.errors import InvalidInput, NotFound
from modelyard.core.manifest import FileEntry, Manifest, manifest_of

CHUNK = 1024 * 1024
SKIPPED = frozenset({".git", "__pycache__", ".DS_Store"})


class LocalFile(NamedTuple):
    """One file: its path within the model, where it lies, its size in bytes."""

    path: str
    place: Path
    size: int


def find_files(root: Path) -> list[LocalFile]:
    """The file ``root`` itself, or every file below the folder ``root``.

    ``.git``, ``__pycache__`` and ``.DS_Store`` are left out; links are followed while they stay inside.
    Raises NotFound for a path that is not there, InvalidInput for what cannot be sent.
    """
    if not root.exists():
        raise NotFound(f"There is no file or folder at {root}.", field="path")
    if root.is_file():
        return [LocalFile(root.name, root, root.stat().st_size)]
    if not root.is_dir():
        raise InvalidInput(f"{root} is neither a file nor a folder.", field="path")
    inside = root.resolve()
    found: list[LocalFile] = []
    for folder, folders, names in os.walk(root, followlinks=False, onerror=_unreadable):
        for name in [name for name in folders if (Path(folder) / name).is_symlink()]:
            raise InvalidInput(
                f"{Path(folder) / name} is a link to a folder; put the folder itself there.", field="path"
            )
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        for name in sorted(names):
            if name in SKIPPED:
                continue
            place = Path(folder) / name
            path = place.relative_to(root).as_posix()
            if place.is_symlink() and not place.resolve().is_relative_to(inside):
                raise InvalidInput(
                    f"{place} is a link that leaves the folder; copy the file there.", field=path
                )
            try:
                status = place.stat()
            except OSError as error:
                raise InvalidInput(f"{place} cannot be read: {error.strerror}.", field=path) from error
            if not stat.S_ISREG(status.st_mode):
                raise InvalidInput(f"{place} is no regular file; only files can be a model.", field=path)
            found.append(LocalFile(path, place, status.st_size))
    if not found:
        raise InvalidInput(f"The folder {root} has no files in it.", field="path")
    return found


def digest_files(files: list[LocalFile], progress: Callable[[int, int], None]) -> Manifest:
    """Read every file once; ``progress`` is told (bytes done, bytes in all)."""
    total = sum(file.size for file in files)
    done = 0
    entries: list[FileEntry] = []
    for file in files:
        hashed = hashlib.sha256()
        size = 0
        for chunk in read_chunks(file):
            hashed.update(chunk)
            size += len(chunk)
            done += len(chunk)
            progress(done, max(total, done))
        entries.append(FileEntry(path=file.path, size=size, sha256=hashed.hexdigest()))
    return manifest_of(entries)


def read_chunks(file: LocalFile, first: int = 0, count: int | None = None) -> Iterator[memoryview]:
    """The bytes of a file, or ``count`` of them from ``first``; a chunk is valid until the next one.

    Raises InvalidInput if unreadable.
    """
    buffer = memoryview(bytearray(CHUNK))
    left = CHUNK if count is None else count
    try:
        with file.place.open("rb", buffering=0) as opened:
            opened.seek(first)
            while got := opened.readinto(buffer[:left] if left < CHUNK else buffer):
                yield buffer[:got]
                if count is not None:
                    left -= got
    except OSError as error:
        raise InvalidInput(f"{file.place} cannot be read: {error.strerror}.", field=file.path) from error


def whole_chunks(file: LocalFile, span: tuple[int, int] | None = None) -> Iterator[memoryview]:
    """As :func:`read_chunks`, but exactly ``file.size`` bytes, as they were announced; or those of ``span``, from
    the first to before the second.

    Raises InvalidInput when the file has changed since its size was taken.
    """
    first, end = span or (0, file.size)
    left = end - first
    for chunk in read_chunks(file, first, None if span is None else left):
        left -= len(chunk)
        if left < 0:
            break
        yield chunk
    if left != 0:
        raise InvalidInput(f"{file.place} changed while it was sent; deploy it again.", field=file.path)


def _unreadable(error: OSError) -> None:
    raise InvalidInput(f"{error.filename} cannot be read: {error.strerror}.", field="path") from error
