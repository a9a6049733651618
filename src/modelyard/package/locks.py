"""File locks between processes (and threads): held by whoever builds, gone with it."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def hold(path: Path, waiting: Callable[[], None]) -> Iterator[int]:
    """Hold the lock ``path``; ``waiting`` is called once when somebody else has it. Gives the descriptor.

    A child process that inherits the descriptor holds the lock too: what a killed builder leaves
    running keeps others out until it has ended.
    """
    descriptor = _acquire(path, blocking=False)
    if descriptor is None:
        waiting()
        descriptor = _acquire(path, blocking=True)
    assert descriptor is not None
    try:
        yield descriptor
    finally:
        _release(path, descriptor)


@contextmanager
def hold_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock when nobody has it (True); do not wait else (False)."""
    descriptor = _acquire(path, blocking=False)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            _release(path, descriptor)


def _acquire(path: Path, *, blocking: bool) -> int | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if blocking else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        # The holder before us removed the file: a newcomer would lock another one.
        if _is_same(path, descriptor):
            return descriptor
        os.close(descriptor)


def _is_same(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _release(path: Path, descriptor: int) -> None:
    path.unlink(missing_ok=True)
    os.close(descriptor)
