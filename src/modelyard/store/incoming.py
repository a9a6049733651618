"""Temporary objects of one process: a folder of its own, held by a lock that dies with the process."""

import fcntl
import os
import secrets
import shutil
import threading
import weakref
from pathlib import Path

_OWNER = ".owner"


class Incoming:
    """A folder under ``root`` in which this process writes what is not whole yet.

    It is made at the first use. The lock on its ``.owner`` file tells other processes that its
    writers live: the kernel lets go of it when the process ends, however it ends.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._pid = 0

    def place(self) -> Path:
        """A path for a new temporary object, used by nobody else. Raises OSError."""
        with self._lock:
            # A forked child shares the lock of its parent, which would outlive it or be outlived.
            if self._folder is None or self._pid != os.getpid():
                self._folder, descriptor = self._make()
                self._pid = os.getpid()
                weakref.finalize(self, _leave, self._folder, descriptor, self._pid)
            return self._folder / secrets.token_hex(8)

    def sweep(self) -> int:
        """Remove what dead processes left; how many temporary objects that were."""
        removed = 0
        for folder in sorted(self._root.glob("*")):
            removed += _sweep(folder)
        return removed

    def _make(self) -> tuple[Path, int]:
        while True:
            folder = self._root / secrets.token_hex(8)
            folder.mkdir(parents=True)
            try:
                descriptor = os.open(folder / _OWNER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                continue  # swept in the instant between its making and this
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # A sweeper may have had the lock first, and has then removed the folder.
            if _is_at(descriptor, folder / _OWNER):
                return folder, descriptor
            os.close(descriptor)


def _sweep(folder: Path) -> int:
    try:
        descriptor = os.open(folder / _OWNER, os.O_RDWR | os.O_CLOEXEC)
    except NotADirectoryError:
        return 0
    except FileNotFoundError:
        # Made but not owned yet, or its owner died right then: only an empty one goes.
        try:
            folder.rmdir()
        except OSError:
            return 0
        return 0
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0
    else:
        objects = [path for path in folder.iterdir() if path.name != _OWNER]
        for path in objects:
            path.unlink()
        shutil.rmtree(folder)
        return len(objects)
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _leave(folder: Path, descriptor: int, pid: int) -> None:
    if pid == os.getpid():
        shutil.rmtree(folder, ignore_errors=True)
    os.close(descriptor)
