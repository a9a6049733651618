"""How far a download is, said every now and then; and whether the disk has room for it."""

import errno
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from modelyard.core.errors import Unavailable
from modelyard.core.units import format_bytes
from modelyard.package.uv import Progress

EVERY = 2.0  # seconds between two words on how far it is


class Meter:
    """Says ``downloaded 1.2 MB of 3.4 MB (600.0 kB/s)``, every two seconds at most.

    ``total`` is in bytes, None where nobody said it; ``verb`` is said in the place of *downloaded*.
    """

    def __init__(
        self,
        total: int | None,
        progress: Progress,
        *,
        verb: str = "downloaded",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = total
        self._verb = verb
        self._progress = progress
        self._clock = clock
        self._began = self._said = clock()
        self._first: int | None = None

    def at(self, have: int) -> None:
        """``have`` bytes are there; those of the first call were there before."""
        now = self._clock()
        if self._first is None:
            self._first = have
        if now - self._said < EVERY:
            return
        self._said = now
        of = "" if self.total is None else f" of {format_bytes(self.total)}"
        rate = max(0.0, have - self._first) / (now - self._began)
        self._progress(f"{self._verb} {format_bytes(have)}{of} ({format_bytes(round(rate))}/s)")


def check_room(folder: Path, size: int) -> None:
    """Make ``folder``. Raises Unavailable when its disk has no room for ``size`` bytes more."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if size > free:
        raise Unavailable(
            f"There are {format_bytes(size)} to come and the disk has {format_bytes(free)} free; make room first."
        )


def is_full(error: OSError) -> bool:
    """Whether the disk, or the user's part of it, is used up."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def disk_full() -> Unavailable:
    """The error for a disk that is used up while files come."""
    return Unavailable(
        "The disk is full. What has come is kept: free some space and try again.", retry_after=60.0
    )
