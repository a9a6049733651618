"""The circuit breaker of one remote: when not to send it calls, and when to try it again.

    closed ──► open ──► half open ──► closed
               ▲            │
               └────────────┘  a probe failed: open for longer

Source of the three states: M. Nygard, "Release It!" (2007); https://martinfowler.com/bliki/CircuitBreaker.html
"""

from collections import deque
from typing import Literal

from modelyard.policy.backoff import Backoff

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Opens after ``consecutive`` failures in a row, or when of at least ``least`` outcomes in the last
    ``window`` seconds a share of ``rate`` or more were failures. It stays open for ``open_first`` seconds,
    twice as long after each failed probe, up to ``open_limit``; then ``probes`` calls at a time may try, and
    as many successes close it.

    Every admitted call ends in exactly one of :meth:`succeeded`, :meth:`failed` and :meth:`unknown`.
    Unknown (the caller left, the remote was busy, the model raised) is neither success nor failure: it
    only gives the probe's place back. ``now`` is in seconds of any clock that does not go back.
    """

    def __init__(
        self,
        *,
        consecutive: int = 5,
        rate: float = 0.5,
        least: int = 20,
        window: float = 10.0,
        open_first: float = 1.0,
        open_limit: float = 60.0,
        probes: int = 2,
    ) -> None:
        if consecutive < 1 or not 0 < rate <= 1 or least < 1 or window <= 0 or probes < 1:
            raise ValueError("a breaker needs counts of 1 or more, 0 < rate <= 1 and window > 0")
        self._consecutive = consecutive
        self._rate = rate
        self._least = least
        self._window = window
        self._probes = probes
        self._backoff = Backoff(first=open_first, limit=open_limit)
        self._row = 0  # failures since the last success
        self._outcomes: deque[tuple[float, bool]] = deque()
        self._failures = 0  # among the outcomes of the window
        self._until: float | None = None  # open, and half open from then on; None: closed
        self._probing = 0
        self._passed = 0
        self.opened = 0  # how often it opened, for a metric

    def state(self, now: float) -> State:
        """What it is at ``now``."""
        if self._until is None:
            return "closed"
        return "open" if now < self._until else "half_open"

    def available(self, now: float) -> bool:
        """Whether :meth:`admit` would let a call through."""
        until = self._until
        return until is None or (now >= until and self._probing < self._probes)

    def opens_in(self, now: float) -> float:
        """Seconds until a probe may go, 0 when one may go now."""
        return 0.0 if self._until is None else max(0.0, self._until - now)

    def admit(self, now: float) -> int | None:
        """Let one call through and return its mark, to be given back with its outcome; None: not now."""
        if self._until is None:
            return self.opened
        if now < self._until or self._probing >= self._probes:
            return None
        self._probing += 1
        return -self.opened

    def succeeded(self, mark: int, now: float) -> None:
        """The call of ``mark`` was answered."""
        if mark >= 0:
            # Sent before it opened: what comes back from then says nothing about now.
            if self._until is None:
                self._row = 0
                self._count(now, failed=False)
            return
        if not self._probe_back(mark):
            return
        self._passed += 1
        if self._passed >= self._probes:
            self._until = None
            self._row = self._failures = self._probing = 0
            self._outcomes.clear()
            self._backoff.succeeded(now)

    def failed(self, mark: int, now: float) -> None:
        """The call of ``mark`` could not be answered by this remote."""
        if mark < 0:
            if self._probe_back(mark):
                self._open(now)
            return
        if self._until is not None or mark != self.opened:
            return
        self._row += 1
        self._count(now, failed=True)
        if self._row >= self._consecutive or (
            len(self._outcomes) >= self._least and self._failures >= self._rate * len(self._outcomes)
        ):
            self._open(now)

    def unknown(self, mark: int) -> None:
        """The call of ``mark`` ended in a way that says nothing about this remote."""
        if mark < 0:
            self._probe_back(mark)

    def _probe_back(self, mark: int) -> bool:
        """Whether the probe belongs to the present half-open time; its place is free again."""
        if self._until is None or mark != -self.opened:
            return False
        self._probing -= 1
        return True

    def _open(self, now: float) -> None:
        self._until = now + self._backoff.failed(now)
        self.opened += 1
        self._probing = self._passed = 0

    def _count(self, now: float, *, failed: bool) -> None:
        self._outcomes.append((now, failed))
        self._failures += failed
        while self._outcomes and self._outcomes[0][0] <= now - self._window:
            self._failures -= self._outcomes.popleft()[1]
