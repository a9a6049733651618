"""How long a batch will take: a law learnt while serving, t ≈ a + b·P + c·Q, one per deployment and device.

``P`` is the padded cost of the batch in the adapter's unit (rows, tokens), ``Q`` the sum of squared
lengths that attention pays for; ``a``, ``b``, ``c`` are never negative. The fit is least squares on
relative errors with exponential forgetting, made robust: a batch that took far longer than it should
(a stall of the machine) counts little, and the first batches of a model (warm-up) count nothing.
"""

import math
from collections.abc import Mapping

WARM_UP = 2  # batches that count nothing: lazy allocations, cold caches
MEMORY = 0.995  # weight of what was known, each time a batch is added
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
        "_since",
        "_strange",
        "_sums",
        "_targets",
        "_warm",
        "_weight",
        "a",
        "b",
        "batches",
        "c",
        "error",
        "largest",
        "speed",
    )

    def __init__(self) -> None:
        self.a = self.b = self.c = 0.0
        self.batches = 0  # learnt from
        self.error: float | None = None
        self.speed = 0.0  # useful units a second, lately; 0 while unknown
        self.largest = 0.0  # padded cost that was computed on this device
        self._borrowed = False  # the law is another device's
        self._warm = 0
        self._since = 0
        self._strange = 0  # outliers in a row
        self._weight = 0.0
        self._sums = [0.0] * 6  # of 1·1, 1·P, 1·Q, P·P, P·Q, Q·Q, weighted
        self._targets = [0.0] * 3  # of t·1, t·P, t·Q

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
        speed = useful / seconds
        self.speed = speed if not self.speed else self.speed + 0.1 * weight * (speed - self.speed)
        # Relative errors: each batch is divided by its own time, so that long ones do not rule the fit.
        each = weight / (seconds * seconds)
        sums, targets, keep = self._sums, self._targets, MEMORY
        sums[0] = sums[0] * keep + each
        sums[1] = sums[1] * keep + each * padded
        sums[2] = sums[2] * keep + each * squares
        sums[3] = sums[3] * keep + each * padded * padded
        sums[4] = sums[4] * keep + each * padded * squares
        sums[5] = sums[5] * keep + each * squares * squares
        targets[0] = targets[0] * keep + each * seconds
        targets[1] = targets[1] * keep + each * seconds * padded
        targets[2] = targets[2] * keep + each * seconds * squares
        self._weight = self._weight * keep + weight
        self.batches += 1
        self._since += 1
        if self.batches <= SOLVE_EVERY or self._since >= SOLVE_EVERY:
            self._since = 0
            self._solve()

    def _forget(self) -> None:
        """It is another device than it was: what comes now counts far more than what was."""
        self._sums = [value / 64 for value in self._sums]
        self._targets = [value / 64 for value in self._targets]
        self._weight /= 64
        self.batches = 8
        self._strange = 0

    def _solve(self) -> None:
        """The non-negative a, b, c of the least error: every subset of them is tried, the best kept.

        A little is added to the squares of b and c (ridge): while all batches were alike, their time is
        taken as fixed, so that larger ones are worth a try; the first larger one tells.
        """
        s, t = self._sums, self._targets
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
        fade = 4 / max(4.0, other._weight)
        self._weight = other._weight * fade
        self._sums = [value * fade for value in other._sums]
        self._targets = [value * fade for value in other._targets]
        self._borrowed = True

    def _rescale(self, factor: float) -> None:
        """A device of the same kind that is slower, or faster, by ``factor``."""
        self.a, self.b, self.c = self.a * factor, self.b * factor, self.c * factor
        self._sums = [value / factor**2 for value in self._sums]
        self._targets = [value / factor for value in self._targets]
        self.speed /= factor
        self._borrowed = False

    def save(self) -> dict[str, object]:
        """What :meth:`load` takes: plain numbers."""
        return {
            "law": [self.a, self.b, self.c],
            "batches": self.batches,
            "error": self.error,
            "speed": self.speed,
            "weight": self._weight,
            "sums": list(self._sums),
            "targets": list(self._targets),
        }

    @classmethod
    def load(cls, saved: Mapping[str, object]) -> "LatencyModel":
        """The model that was saved. Raises ValueError for anything else."""
        model = cls()
        try:
            a, b, c = (float(value) for value in saved["law"])  # type: ignore[attr-defined]
            sums = [float(value) for value in saved["sums"]]  # type: ignore[attr-defined]
            targets = [float(value) for value in saved["targets"]]  # type: ignore[attr-defined]
            speed, weight = float(saved["speed"]), float(saved["weight"])  # type: ignore[arg-type]
            batches = int(saved["batches"])  # type: ignore[call-overload]
            error = None if saved["error"] is None else float(saved["error"])  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError) as wrong:
            raise ValueError(f"this is not a saved latency model: {wrong}") from wrong
        numbers = [a, b, c, speed, weight, *sums, *targets, error or 0.0]
        if (
            len(sums) != 6
            or len(targets) != 3
            or not all(math.isfinite(number) and number >= 0 for number in numbers)
            or batches < 0
        ):
            raise ValueError("this is not a saved latency model: a number in it is impossible")
        model.a, model.b, model.c = a, b, c
        model.batches, model.error, model.speed = batches, error, speed
        model._weight, model._sums, model._targets = weight, sums, targets
        model._warm = 0  # a new process warms up again
        return model


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
