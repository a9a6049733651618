"""How many frames that cost us and bring nothing a client may send: floods of SETTINGS, PING, RST_STREAM.

Rapid reset (CVE-2023-44487), ping and settings floods (CVE-2019-9512, -9515), empty frames (CVE-2019-9518).
"""

from typing import Final

BURST: Final = 1000.0
PER_SECOND: Final = 500.0


class Allowance:
    """A bucket that fills with time, and by one with each call that was answered."""

    __slots__ = ("_at", "_left")

    def __init__(self, now: float) -> None:
        self._left = BURST
        self._at = now

    def earn(self) -> None:
        """A call was answered: a client that works may also cancel."""
        self._left += 1.0

    def spend(self, now: float) -> bool:
        """Take one; False when there is none left."""
        left = min(BURST, self._left + (now - self._at) * PER_SECOND) - 1.0
        self._at = now
        self._left = left
        return left >= 0.0
