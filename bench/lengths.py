"""Lengths as they come: lognormal laws by their median and 95th percentile, and offline packings of them."""

import math
import random
from collections.abc import Callable, Iterator, Sequence

_Z95 = 1.6448536  # the standard normal's 95th percentile


def lognormal(count: int, *, median: float, p95: float, seed: int, most: int, least: int = 1) -> list[int]:
    """``count`` whole lengths; those beyond ``most`` or below ``least`` are brought back to it."""
    chance = random.Random(seed)
    sigma = math.log(p95 / median) / _Z95
    return [
        min(most, max(least, round(chance.lognormvariate(math.log(median), sigma)))) for _ in range(count)
    ]


def packed(lengths: Sequence[int], budget: float, rows: int) -> Iterator[Sequence[int]]:
    """Consecutive batches, each as large as ``budget`` (rows × longest) and ``rows`` allow; one item at least."""
    start, longest = 0, 0
    for index, length in enumerate(lengths):
        new = max(longest, length)
        if index > start and ((index - start + 1) * new > budget or index - start >= rows):
            yield lengths[start:index]
            start, new = index, length
        longest = new
    if start < len(lengths):
        yield lengths[start:]


def padded(batch: Sequence[int]) -> int:
    return len(batch) * max(batch)


def useful_share(batches: Sequence[Sequence[int]]) -> float:
    """Of all the tokens that are computed, how many are not padding."""
    return sum(map(sum, batches)) / sum(map(padded, batches))


def offline_limit(
    lengths: Sequence[int], seconds: Callable[[Sequence[int]], float], rows: int
) -> tuple[float, float]:
    """The least time for all of ``lengths``, sorted, over token budgets; (seconds, that budget).

    ``seconds`` says how long one batch takes. Budgets grow by a tenth from the longest item on.
    """
    ordered = sorted(lengths, reverse=True)
    best = (math.inf, 0.0)
    budget = float(ordered[0])
    while True:
        batches = list(packed(ordered, budget, rows))
        best = min(best, (sum(map(seconds, batches)), budget))
        if len(batches) <= max(1, math.ceil(len(ordered) / rows)):
            return best
        budget *= 1.1
