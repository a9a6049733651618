"""When to try again after a failure: exponential back-off that forgets after a calm time."""


class Backoff:
    """Waits ``first``, ``first * factor``, … up to ``limit`` seconds between consecutive failures.

    A success that lasts ``calm`` seconds before the next failure starts the count again. Without
    jitter: each object restarts one process on one machine, there is no herd to spread.
    """

    def __init__(
        self, *, first: float = 0.5, factor: float = 2.0, limit: float = 30.0, calm: float = 60.0
    ) -> None:
        if first <= 0 or factor < 1 or limit < first:
            raise ValueError("a back-off needs first > 0, factor >= 1 and limit >= first")
        self._first = first
        self._factor = factor
        self._limit = limit
        self._calm = calm
        self._succeeded: float | None = None
        self.failures = 0

    def failed(self, now: float) -> float:
        """Count a failure at ``now`` (seconds); return how many seconds to wait."""
        if self._succeeded is not None and now - self._succeeded >= self._calm:
            self.failures = 0
        self._succeeded = None
        self.failures += 1
        # The exponent is bounded: a float power would overflow after a day of failures.
        return min(self._limit, self._first * self._factor ** min(self.failures - 1, 64))

    def succeeded(self, now: float) -> None:
        """Note that it works since ``now``; an earlier note stays."""
        if self._succeeded is None:
            self._succeeded = now
