"""Reads the bytes of all models again, slowly and for ever, in the background of one control plane."""

import logging
import os
import threading
from typing import TYPE_CHECKING

from modelyard.core.errors import ModelyardError
from modelyard.store.scrubbing import Pace, Scrub, Stopped

if TYPE_CHECKING:
    from modelyard.control.platform import Platform

_log = logging.getLogger("modelyard.scrubber")
_NICE = 10


class Scrubber:
    """Reads what nobody has read for ``scrub_after`` seconds, ``scrub_rate`` bytes a second.

    Of the homes that share a database the eldest does it whose control plane lives: two would read twice as fast as was
    said, and when one takes over from another both may for a moment, which harms nothing. Each mends what its own cache
    has a copy of.
    """

    EVERY = 3600.0  # seconds, when everything was read lately
    AGAIN = 60.0  # after something could not be had

    def __init__(self, platform: "Platform") -> None:
        self._platform = platform
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, unless nothing is to be read again."""
        if self._platform.settings.scrub_after:
            self._thread = threading.Thread(target=self._run, name="scrubber", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End without waiting: whatever it does can be cut off anywhere."""
        self._stop.set()

    def turn(self) -> int:
        """Read some of what is due, or put right what others found; how many blobs that were. Raises Unavailable,
        Stopped."""
        platform = self._platform
        pace = Pace(float(platform.settings.scrub_rate), self._stop.wait)
        scrub = Scrub(platform.blobs, platform.pieces, platform.checks, pace=pace, now=platform.clock)
        found = {}
        if self._is_ours():
            found = scrub.run(platform.settings.scrub_after, may=self._is_ours)
        found = found or scrub.mend()
        for sha256, trouble in found.items():
            if trouble is not None:
                told = {"sha256": sha256, "place": trouble.place, "repaired": trouble.repaired}
                _log.warning("a blob was %s: %s", trouble.kind, trouble.message, extra=told)
        return len(found)

    def _is_ours(self) -> bool:
        platform = self._platform
        return platform.id is None or platform.homes.eldest() == platform.id

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        wait = self.AGAIN  # not beside everything else that a start does
        while not self._stop.wait(wait):
            try:
                wait = 1.0 if self.turn() else self.EVERY
            except Stopped:
                return
            except ModelyardError as error:
                wait = self.AGAIN
                _log.warning("nothing can be read again now: %s", error.message)
            except Exception:  # noqa: BLE001 - the edge of a thread that must not end
                wait = self.EVERY
                if not self._stop.is_set():
                    _log.exception("reading again failed; it is tried again in an hour")
