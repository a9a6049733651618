"""The time by which all who share a database compare what they have written."""

import threading
import time
from typing import Final

from modelyard.store.database import Database

_ASKED_EVERY: Final = 60.0  # seconds


class SharedClock:
    """Seconds since the epoch by the clock of the database's server, for any number of machines whose own clocks differ
    or jump. Between two questions it goes by what this machine counts, which is never set. A home's own database has
    no other clock than this machine's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asking = threading.Lock()
        self._ahead: tuple[float, float] | None = None  # of what is counted here, and when that was asked

    def __call__(self) -> float:
        """Now. Raises Unavailable when it was never asked and cannot be."""
        if not self._database.is_shared:
            return time.time()
        counted, ahead = _counted(), self._ahead
        if ahead is not None and (counted - ahead[1] < _ASKED_EVERY or self._asking.locked()):
            return counted + ahead[0]
        # One asks: whoever waited here with a connection in his hand would keep others from theirs.
        with self._asking:
            now = self._database.time()
            counted = _counted()
            self._ahead = now - counted, counted
            return now


def _counted() -> float:
    """Seconds since the machine began, those in which it slept too."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
