"""Which rows of a batch are computed together, where every row is padded to the longest beside it.

A run costs a fixed time and one for each padded token. Sorted by length, a batch is cut where what
padding would cost is more than another run's fixed time; the cuts that cost least are found exactly.
On a GPU, whose fixed time is thousands of tokens, that is one run for nearly every batch; on a CPU,
where it is some tens, texts of very different lengths are computed apart.
"""

import time
from bisect import bisect_left
from typing import Callable, List, Sequence

# Padded tokens of one run: what bounds the memory of the largest client's call.
_MOST = {"cpu": 16 * 1024, "cuda": 256 * 1024}


class Padding:
    """``fixed`` is the fixed time of a run, in tokens; ``most`` the padded tokens of the largest run."""

    def __init__(self, fixed: float, most: int) -> None:
        self.fixed = fixed
        self.most = most

    @classmethod
    def measured(cls, compute: Callable[[int, int], None], *, limit: int, device: str = "cpu") -> "Padding":
        """Learn ``fixed`` from a few runs: ``compute(rows, length)`` does one. ``limit``: longest row.

        The quickest of several counts, since a busy machine only ever adds time.
        """
        kind = "cpu" if device == "cpu" else "cuda"
        short, long = max(1, min(8, limit // 4)), min(128, limit)
        if short >= long:
            return cls(float(_MOST[kind]), _MOST[kind])
        rows = 1 if kind == "cpu" else 64  # few tokens are free on a GPU
        times = []
        for length in (short, long):
            compute(rows, length)
            times.append(min(_seconds(compute, rows, length) for _ in range(3)))
        per_token = (times[1] - times[0]) / (rows * (long - short))
        if per_token <= 0:  # nothing was learnt: no cut is known to win
            return cls(float(_MOST[kind]), _MOST[kind])
        return cls(max(1.0, times[0] / per_token - rows * short), _MOST[kind])

    def runs(self, lengths: Sequence[int]) -> List[List[int]]:
        """Places in ``lengths``, one list per run, of least Σ (fixed + rows × longest) in all.

        A run keeps within ``most`` unless it is one row. Runs come from short to long.
        """
        count = len(lengths)
        if not count:
            return []
        shortest, longest = min(lengths), max(lengths)
        if (longest - shortest) * count <= self.fixed and longest * count <= self.most:
            return [list(range(count))]
        order = sorted(range(count), key=lengths.__getitem__)
        sizes = [lengths[place] for place in order]
        # Only where the length changes can a cut save anything, but for the limit of a run.
        ends: List[int] = []
        for length in sorted(set(sizes)):
            begin, end = bisect_left(sizes, length), bisect_left(sizes, length + 1)
            ends.extend(
                range(begin + max(1, self.most // max(1, length)), end, max(1, self.most // max(1, length)))
            )
            ends.append(end)
        best, cut_before = [0.0], [0]
        starts = [0, *ends]
        for index, end in enumerate(ends, 1):
            length = sizes[end - 1]
            least, chosen = float("inf"), index - 1
            for before in range(index - 1, -1, -1):
                rows = end - starts[before]
                if before < index - 1 and rows * length > self.most:
                    break
                cost = best[before] + self.fixed + rows * length
                if cost < least:
                    least, chosen = cost, before
            best.append(least)
            cut_before.append(chosen)
        runs: List[List[int]] = []
        index = len(ends)
        while index:
            runs.append(order[starts[cut_before[index]] : starts[index]])
            index = cut_before[index]
        return runs[::-1]


def _seconds(compute: Callable[[int, int], None], rows: int, length: int) -> float:
    started = time.perf_counter()
    compute(rows, length)
    return time.perf_counter() - started
