"""One control plane per home: a lock that the kernel drops when its holder dies."""

import fcntl
import os
import time
from pathlib import Path

from modelyard.core.errors import Conflict


class HomeLock:
    """``run/<program>.lock``, held by flock; its content is the holder's process id."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises Conflict when another process holds it."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _lock(descriptor):
            holder = _written(descriptor)
            os.close(descriptor)
            raise Conflict(
                f"Another control plane{f' (process {holder})' if holder else ''} runs on this home "
                f"({self._path.parent.parent}); stop it with `modelyard down`, or choose another home."
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Let it go. The file stays: removing it would let two holders lock two files of one name."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> int | None:
        """The process that holds it now (0: one that has not written its id yet), or None."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _written(descriptor)
        finally:
            os.close(descriptor)
        return None


def _lock(descriptor: int) -> bool:
    for attempt in range(5):
        if attempt:
            time.sleep(0.02)  # somebody may only have looked who holds it
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return True
    return False


def _written(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).split()
    return int(text[0]) if text and text[0].isdigit() else 0
