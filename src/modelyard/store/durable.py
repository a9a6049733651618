"""What makes local files survive a power cut: fsync of the file, then of the folder that names it."""

import errno
import os
from pathlib import Path

from modelyard.core.errors import Unavailable


def sync_file(path: Path) -> None:
    """The bytes of ``path`` are on the disk when this returns. Raises OSError."""
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """The names in ``path`` are on the disk when this returns. Raises OSError."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def make_folder(path: Path) -> None:
    """Make ``path`` and its parents, each of them durable. Raises OSError."""
    if path.is_dir():
        return
    make_folder(path.parent)
    try:
        path.mkdir()
    except FileExistsError:
        # Another process was faster; it syncs the name.
        return
    sync_folder(path.parent)


def disk_error(error: Exception, place: Path) -> Unavailable | None:
    """``error`` as ours when the disk is to blame; None when it is something else.

    The object store wraps the operating system's error and tells its number only in the text.
    """
    number = error.errno if isinstance(error, OSError) else None
    text = str(error)
    for full in (errno.ENOSPC, errno.EDQUOT):
        if number == full or f"(os error {full})" in text:
            return Unavailable(
                f"The disk is full: there is no room under {place}. Nothing was kept; make room and try again."
            )
    for broken in (errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM):
        if number == broken or f"(os error {broken})" in text:
            return Unavailable(f"{place} cannot be written: {os.strerror(broken)}. Look at the disk.")
    return None


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
