"""Reads blobs again that nobody has read for long, slowly: a flipped bit is found while there is another copy."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from modelyard.core.errors import NotFound
from modelyard.store.blobs import BlobStore
from modelyard.store.checking import Check, Trouble, rebuild
from modelyard.store.checks import Checks
from modelyard.store.pieces import Pieces

AT_ONCE: Final = 100  # blobs that are asked for at once, of which no piece is read twice
_NOTED: Final = 64 * 1024 * 1024  # bytes that are read again at most by whoever goes on after a kill


class Stopped(Exception):
    """It is to end now, wherever it is."""


class Pace:
    """Lets ``rate`` bytes pass a second, and no more after it has rested. ``wait`` sleeps for so many seconds and says
    whether to stop."""

    def __init__(
        self, rate: float, wait: Callable[[float], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._wait = wait
        self._clock = clock
        self._free = clock()

    def __call__(self, count: int) -> None:
        """``count`` bytes were read; the next may be when this returns. Raises Stopped."""
        now = self._clock()
        self._free = max(self._free, now) + count / self._rate
        if self._wait(self._free - now):
            raise Stopped


class Scrub:
    """Of one store with its rows. ``pace`` is told of all bytes that are read, ``now`` is the time that rows have."""

    def __init__(
        self,
        blobs: BlobStore,
        pieces: Pieces,
        checks: Checks,
        *,
        pace: Callable[[int], None],
        now: Callable[[], float],
    ) -> None:
        self._blobs = blobs
        self._pieces = pieces
        self._checks = checks
        self._pace = pace
        self._now = now

    def run(self, older: float, *, may: Callable[[], bool] = lambda: True) -> dict[str, Trouble | None]:
        """Read some of the blobs that were not compared for ``older`` seconds, the oldest first, while it ``may``; put
        right what can be, and note what was found. Nothing in it: there was none.

        Cut off at any instant it goes on where it was, but for the last tens of megabytes. Raises Unavailable, Stopped.
        """
        due = self._checks.due(self._now() - older, AT_ONCE)
        rebuild(self._blobs, self._pieces, due)
        return self._read(due, may)

    def mend(self) -> dict[str, Trouble | None]:
        """Put right what somebody has found to be wrong and the cache of this machine has a copy of: whoever found it
        may have none. Those that are right now. Raises Unavailable, Stopped."""
        here = [each for each in self._checks.wrong() if self._blobs.cache.path(each).is_file()]
        return {
            sha256: trouble
            for sha256, trouble in self._read(here, lambda: True).items()
            if trouble is None or trouble.repaired
        }

    def _read(self, digests: Sequence[str], may: Callable[[], bool]) -> dict[str, Trouble | None]:
        check = Check(self._blobs, self._pieces, deep=True, repair=True, read=self._pace)
        done: dict[str, Trouble | None] = {}
        new: dict[str, Trouble | None] = {}
        read = 0
        try:
            for sha256 in digests:
                if not may():
                    break
                size = self._size(sha256)
                new[sha256] = check.blob(sha256, size)
                read += size
                if read >= _NOTED:
                    done |= self._noted(new)
                    read = 0
        finally:
            done |= self._noted(new)
        return done

    def _noted(self, new: dict[str, Trouble | None]) -> dict[str, Trouble | None]:
        self._checks.note(new, self._now())
        noted = dict(new)
        new.clear()
        return noted

    def _size(self, sha256: str) -> int:
        try:
            return self._blobs.size(sha256)
        except NotFound:
            return 0  # what is gone has no bytes that could be compared
