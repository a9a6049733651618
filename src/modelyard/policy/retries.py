"""Whether a call to a remote is tried again, and when a second one is asked too.

Retries are a share of the calls, so that a remote in a brown-out is not asked more often because it
fails (https://sre.google/sre-book/handling-overload/, "retry budgets"). A hedge, a second copy of a call
that takes long, is paid from the same budget (Dean and Barroso, "The Tail at Scale", 2013).
"""

from collections import deque

AGAIN_ELSEWHERE = frozenset({"unavailable", "overloaded"})
FIRST_WAIT = 0.025  # seconds before the second attempt at the only remote; doubles
LONGEST_WAIT = 1.0


class RetryBudget:
    """At most ``share`` of the calls may be retries, and ``least`` a second besides.

    What is not used is kept, up to ``burst``: in any t seconds with n calls there are at most
    ``share * n + least * t + burst`` retries. With a share of 0 there is none at all.
    """

    def __init__(self, share: float, *, least: float = 1.0, burst: float = 10.0) -> None:
        if not 0 <= share <= 1 or least < 0 or burst < 0:
            raise ValueError("a retry budget needs a share of 0 to 1, and no negative minimum or burst")
        self._share = share
        self._least = least if share > 0 else 0.0
        self._burst = burst if share > 0 else 0.0
        self._balance = self._burst
        self._at: float | None = None

    def called(self, now: float) -> None:
        """One first attempt was made."""
        self._advance(now)
        self._balance = min(self._burst, self._balance + self._share)

    def take(self, now: float) -> bool:
        """Pay for one retry or hedge; False when there is nothing left."""
        self._advance(now)
        if self._balance < 1:
            return False
        self._balance -= 1
        return True

    def _advance(self, now: float) -> None:
        if self._at is not None and now > self._at:
            self._balance = min(self._burst, self._balance + self._least * (now - self._at))
        self._at = now if self._at is None else max(self._at, now)


def wait_before_retry(
    code: str, retry_after: float | None, *, attempt: int, attempts: int, left: float, others: bool
) -> float | None:
    """Seconds until the next attempt; None when there is to be none.

    ``code`` is the error's after ``attempt`` of at most ``attempts``; ``left`` the seconds that the call still
    has; ``others`` whether a backend that was not tried yet can take it (then at once: another one's
    ``Retry-After`` is not its own). An answer that the caller has a part of is not tried again.
    """
    if attempt >= attempts or code not in AGAIN_ELSEWHERE or left <= 0:
        return None
    if others:
        return 0.0
    backed_off = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(attempt - 1, 16))
    wait = backed_off if retry_after is None else max(retry_after, backed_off)
    return wait if wait < left else None


class Latencies:
    """The last answers' times (seconds), for the delay of a hedge that follows them."""

    def __init__(self, size: int = 128) -> None:
        self._last: deque[float] = deque(maxlen=size)
        self._known: float | None = None
        self._since = 0

    def add(self, seconds: float) -> None:
        """Note one answer."""
        self._last.append(seconds)
        self._since += 1

    def percentile(self, share: float = 0.95, *, least: int = 20) -> float | None:
        """The time within which ``share`` of the last answers came; None before ``least`` came.

        Sorted again after each sixteenth answer: this is on a call's path.
        """
        if len(self._last) < least:
            return None
        if self._known is None or self._since >= 16:
            ordered = sorted(self._last)
            self._known = ordered[min(len(ordered) - 1, int(share * len(ordered)))]
            self._since = 0
        return self._known


def hedge_after(hedge: float | None, latencies: Latencies) -> float | None:
    """Seconds after which a second backend is asked too; None: never.

    ``hedge`` is the route's: None never, above 0 that time, 0 the 95th percentile of what calls take.
    """
    if hedge is None:
        return None
    return hedge if hedge > 0 else latencies.percentile()
