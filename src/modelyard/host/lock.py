"""One program of a kind per home: a lock that the kernel drops when its holder dies."""

import fcntl
import os
import time
from pathlib import Path

from modelyard.core.errors import Conflict
from modelyard.host.process import is_alive


class ProgramLock:
    """``run/<program>.lock``, held by flock; its content is the holder's process id.

    The file is never removed: that would let two holders lock two files of one name.
    """

    def __init__(self, run: Path, program: str) -> None:
        self._path = run / f"{program}.lock"
        self._program = program
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Hold it until :meth:`release` or the process' end. Raises Conflict when another holds it."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _lock(descriptor):
            holder = _written(descriptor)
            os.close(descriptor)
            raise Conflict(
                f"Another {self._program}{f' (process {holder})' if holder else ''} runs on this home "
                f"({self._path.parent.parent}); stop it with `modelyard down`, or choose another home."
            )
        line = f"{os.getpid()}\n".encode()
        os.pwrite(descriptor, line, 0)  # before the rest is cut off: a reader never finds it empty
        os.ftruncate(descriptor, len(line))
        self._descriptor = descriptor

    def release(self) -> None:
        """Let it go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> int | None:
        """The process that holds it now, or None.

        A lock whose recorded process is gone is not touched: taking it, even for an instant, could
        turn away a program that is just starting.
        """
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        pid = _written(descriptor)
        try:
            if pid <= 0 or not is_alive(pid):
                return None
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return pid
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return None  # the id was given to another process since


def holder(run: Path, program: str) -> int | None:
    """The process that holds the lock of ``program`` in the folder ``run``, or None."""
    return ProgramLock(run, program).holder()


def is_held(path: Path) -> bool:
    """Whether some process holds an flock on the file ``path``."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


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
