"""Which backend takes a call: weights say where it goes, the work that waits says where it does not.

The first candidate is drawn by weight, and a second one, by weight too. The call goes to the first, unless
what waits there, for its weight, exceeds what waits at the second by more than a call: backends alike get
their weights' shares, a slow one gets what it can carry (the power of two choices: M. Mitzenmacher, 2001,
https://www.eecs.harvard.edu/~michaelm/postscripts/tpds2001.pdf).
"""

import math
from collections.abc import Callable, Sequence

EWMA_SHARE = 0.1  # of the newest latency in the average
FIRST_LATENCY = 0.05  # seconds; believed of a backend that has not answered yet


class Load:
    """What one backend has before it: calls on their way, and how long its calls take (seconds)."""

    __slots__ = ("latency", "outstanding")

    def __init__(self) -> None:
        self.outstanding = 0
        self.latency: float | None = None  # exponentially weighted mean; None before the first answer

    @property
    def per_call(self) -> float:
        """Seconds that one call is predicted to take."""
        return FIRST_LATENCY if self.latency is None else self.latency

    @property
    def work(self) -> float:
        """Predicted seconds of the calls that are on their way."""
        return self.outstanding * self.per_call

    def sent(self) -> None:
        """One more call is on its way."""
        self.outstanding += 1

    def ended(self, seconds: float | None) -> None:
        """A call ended; ``seconds`` that its answer took, None for one without an answer.

        What fails fast is not fast: only answers count.
        """
        self.outstanding -= 1
        if seconds is not None:
            known = self.latency
            self.latency = seconds if known is None else known + EWMA_SHARE * (seconds - known)


def choose(weights: Sequence[float], loads: Sequence[Load], draw: Callable[[], float]) -> int | None:
    """The index of the backend for the next call; None when no weight is above 0.

    ``weights`` are those of now: 0 for what is not ready or not to be used, less for what is ready in
    part. ``draw`` gives a number in [0, 1), as ``random.random`` does.
    """
    total = math.fsum(weights)
    if not total > 0:
        return None
    first = _drawn(weights, total, draw(), None)
    rest = total - weights[first]
    if not rest > 0 or not any(weight > 0 for i, weight in enumerate(weights) if i != first):
        return first
    second = _drawn(weights, rest, draw(), first)
    here = loads[first].work / weights[first]
    there = loads[second].work / weights[second]
    # One call of either is no reason to leave: else the smaller weight would win whenever the
    # larger one has a call on its way.
    slack = max(loads[first].per_call / weights[first], loads[second].per_call / weights[second])
    return second if here > there + slack else first


def _drawn(weights: Sequence[float], total: float, at: float, without: int | None) -> int:
    wanted = at * total
    last = -1
    for index, weight in enumerate(weights):
        if index == without or weight <= 0:
            continue
        last = index
        wanted -= weight
        if wanted < 0:
            return index
    return last  # the sum was rounded up
