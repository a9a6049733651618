"""How long a batch will take: a law learnt while serving, t ≈ a + b·P + c·Q, one per deployment and device.

``P`` is the padded cost of the batch in the adapter's unit (rows, tokens), ``Q`` the sum of squared
lengths that attention pays for; ``a``, ``b``, ``c`` are never negative. The fit is least squares on
relative errors with exponential forgetting by size of the batch (:mod:`~modelyard.policy.evidence`),
made robust: a batch that took far longer than it should (a stall of the machine) counts little, and the
first batches of a model (warm-up) count nothing.
"""

import math
from collections.abc import Mapping

from modelyard.policy.evidence import Evidence

WARM_UP = 2  # batches that count nothing: lazy allocations, cold caches
OUTLIER = 0.5  # relative error from which a batch counts less (Huber's weight)
SURE = 4  # batches of its own from which a device is trusted with long ones
HABIT = 16  # outliers in a row that are no stall but another speed
SOLVE_EVERY = 16  # batches between two fits, once some are known
_SUBSETS = ((0, 1, 2), (0, 1), (0, 2), (1, 2), (0,), (1,), (2,))  # of a, b, c: the others are 0


class LatencyModel:
    """The law of one deployment on one device. Times in seconds.

    ``error`` is the mean relative error of what was predicted *before* a batch was learnt from, which
    is the error that admission and batching live with; None before any.
    """

    __slots__ = (
        "_borrowed",
        "_evidence",
        "_since",
        "_strange",
        "_warm",
        "a",
        "b",
        "batches",
        "c",
        "density",
        "error",
        "largest",
        "share",
        "speed",
    )

    def __init__(self) -> None:
        self.a = self.b = self.c = 0.0
        self.batches = 0  # learnt from
        self.error: float | None = None
        self.speed = 0.0  # useful units a second, lately; 0 while unknown
        self.share = 1.0  # of the padded cost that was useful, lately
        self.density = 0.0  # squares for each unit of padded cost, lately
        self.largest = 0.0  # padded cost that was computed on this device
        self._borrowed = False  # the law is another device's
        self._warm = 0
        self._since = 0
        self._strange = 0  # outliers in a row
        self._evidence = Evidence()

    @property
    def known(self) -> bool:
        """Whether predictions mean anything yet."""
        return self.batches > 0 or self.speed > 0

    @property
    def sure(self) -> bool:
        """Whether enough was measured on this very device."""
        return self.batches >= SURE

    def predict(self, padded: float, squares: float = 0.0) -> float:
        """Seconds that a batch of this padded cost and sum of squares will compute; 0 while unknown."""
        return self.a + self.b * padded + self.c * squares

    def foreseen(self, padded: float) -> float:
        """Useful units a second in batches of this padded cost, with lately's lengths and padding.

        ``speed`` is what it was with the batches there were: of single calls, if only such came. What
        is fixed about a batch is spread over more of them when more waits. 0 while unknown.
        """
        seconds = self.predict(padded, self.density * padded)
        return self.share * padded / seconds if seconds > 0 else 0.0

    def observe(self, padded: float, squares: float, useful: float, seconds: float) -> None:
        """Learn from one batch that was computed alone on the device."""
        if not 1e-9 <= seconds < 1e9:
            return
        self.largest = max(self.largest, padded)
        if self._warm < WARM_UP:
            self._warm += 1
            return
        if self._borrowed and (expected := self.predict(padded, squares)) > 0:
            self._rescale(seconds / expected)
        weight = 1.0
        if self.batches:
            predicted = self.a + self.b * padded + self.c * squares
            miss = abs(seconds - predicted) / max(seconds, predicted)
            self.error = miss if self.error is None else self.error + 0.05 * (miss - self.error)
            if self.batches > 8 and miss > OUTLIER:
                self._strange += 1
                if self._strange >= HABIT:
                    self._forget()
                elif seconds < predicted:
                    return  # nothing computes that fast; by its square it would outweigh all others
                else:
                    weight = (OUTLIER / miss) ** 4
            else:
                self._strange = 0
        speed, padding = useful / seconds, max(padded, 1e-9)
        if not self.speed:
            self.speed, self.share, self.density = speed, useful / padding, squares / padding
        else:
            step = 0.1 * weight
            self.speed += step * (speed - self.speed)
            self.share += step * (useful / padding - self.share)
            self.density += step * (squares / padding - self.density)
        self._evidence.add(padded, squares, seconds, weight)
        self.batches += 1
        self._since += 1
        if self.batches <= SOLVE_EVERY or self._since >= SOLVE_EVERY:
            self._since = 0
            self._solve()

    def _forget(self) -> None:
        """It is another device than it was: what comes now counts far more than what was."""
        self._evidence.weaken(1 / 64)
        self.batches = 8
        self._strange = 0

    def _solve(self) -> None:
        """The non-negative a, b, c of the least error: every subset of them is tried, the best kept.

        A little is added to the squares of b and c (ridge): while all batches were alike, their time is
        taken as fixed, so that larger ones are worth a try; the first larger one tells.
        """
        s, t = self._evidence.total()
        matrix = [[s[0], s[1], s[2]], [s[1], s[3] * 1.0001, s[4]], [s[2], s[4], s[5] * 1.0001]]
        best = (math.inf, 0.0, 0.0, 0.0)
        for subset in _SUBSETS:
            found = _solved(matrix, t, subset)
            if found is None or min(found) < 0:
                continue
            x = [0.0, 0.0, 0.0]
            for place, value in zip(subset, found, strict=True):
                x[place] = value
            error = sum(x[i] * (sum(matrix[i][j] * x[j] for j in range(3)) - 2 * t[i]) for i in range(3))
            if error < best[0] - 1e-9 * abs(best[0] if math.isfinite(best[0]) else 0.0):
                best = (error, *x)
        if math.isfinite(best[0]):
            _, self.a, self.b, self.c = best

    def like(self, other: "LatencyModel") -> None:
        """Begin with the law of another device of the same deployment; what is measured here replaces it."""
        self.a, self.b, self.c, self.speed = other.a, other.b, other.c, other.speed
        self.share, self.density = other.share, other.density
        self._evidence = other._evidence.capped(4.0)
        self._borrowed = True

    def _rescale(self, factor: float) -> None:
        """A device of the same kind that is slower, or faster, by ``factor``."""
        self.a, self.b, self.c = self.a * factor, self.b * factor, self.c * factor
        self._evidence.slower(factor)
        self.speed /= factor
        self._borrowed = False

    def save(self) -> dict[str, object]:
        """What :meth:`load` takes: plain numbers."""
        return {
            "law": [self.a, self.b, self.c],
            "batches": self.batches,
            "error": self.error,
            "speed": self.speed,
            "share": self.share,
            "density": self.density,
            "evidence": self._evidence.save(),
        }

    @classmethod
    def load(cls, saved: Mapping[str, object]) -> "LatencyModel":
        """The model that was saved. Raises ValueError for anything else."""
        model = cls()
        try:
            model.a, model.b, model.c = law = [float(value) for value in saved["law"]]  # type: ignore[attr-defined]
            model.speed = float(saved["speed"])  # type: ignore[arg-type]
            model.share = float(saved["share"])  # type: ignore[arg-type]
            model.density = float(saved["density"])  # type: ignore[arg-type]
            model.batches = int(saved["batches"])  # type: ignore[call-overload]
            model.error = None if saved["error"] is None else float(saved["error"])  # type: ignore[arg-type]
            model._evidence = Evidence.load(saved["evidence"])  # type: ignore[arg-type]
        except (AttributeError, KeyError, TypeError, ValueError) as wrong:
            raise ValueError(f"this is not a saved latency model: {wrong}") from wrong
        numbers = [*law, model.speed, model.share, model.density, model.batches, model.error or 0.0]
        if not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise ValueError("this is not a saved latency model: a number in it is impossible")
        return model  # a new process warms up again


def _solved(matrix: list[list[float]], target: list[float], subset: tuple[int, ...]) -> list[float] | None:
    """The solution of the normal equations of ``subset`` by elimination; None when they have none."""
    rows = [[matrix[i][j] for j in subset] + [target[i]] for i in subset]
    size = len(rows)
    # Columns differ by many orders of magnitude (1 and squares of lengths): scale by the diagonal.
    scale = [math.sqrt(rows[i][i]) if rows[i][i] > 0 else 0.0 for i in range(size)]
    if not all(scale):
        return None
    for i in range(size):
        for j in range(size):
            rows[i][j] /= scale[i] * scale[j]
        rows[i][size] /= scale[i]
    for i in range(size):
        pivot = rows[i][i]
        if abs(pivot) < 1e-7:
            return None
        for j in range(i + 1, size):
            factor = rows[j][i] / pivot
            for k in range(i, size + 1):
                rows[j][k] -= factor * rows[i][k]
    found = [0.0] * size
    for i in range(size - 1, -1, -1):
        rest = sum(rows[i][j] * found[j] for j in range(i + 1, size))
        found[i] = (rows[i][size] - rest) / rows[i][i]
    return [value / scale[i] for i, value in enumerate(found)]
