"""Medians, quantiles and ratios, the same for every question."""

import math
from collections.abc import Sequence


def quantile(values: Sequence[float], q: float) -> float:
    """The value that the share ``q`` of ``values`` does not exceed (nearest rank, no interpolation).

    Raises ValueError for no values: there is no quantile of nothing.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(q * len(ordered)) - 1))]


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two in the middle."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def spread(values: Sequence[float]) -> float:
    """(largest − smallest) ÷ median: how far runs of the same thing lie apart; 0 for a median of 0."""
    middle = median(values)
    return (max(values) - min(values)) / middle if middle else 0.0
