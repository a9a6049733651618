"""What batches of a device took, by their size: the sums that a law is fitted to.

Batches of about one size (padded costs within a factor of two) are one class. A class fades with every
batch, but once it was seen TIMES, its last part (FLOOR) fades far more slowly: thousands of single calls
in a row must not make what is known of large batches, seen an hour ago, vanish from the sums, or the
first burst after a quiet night would find a law that takes any batch for as quick as a single call.
It does fade: a size that was only ever seen in bad moments, and is avoided since, is tried again one day.
"""

from collections.abc import Mapping

MEMORY = 0.995  # weight of what was known, each time a batch is added
SLOW_MEMORY = 0.99995  # the same for the last part of what is known of a size
FLOOR = 1.0  # weight, in batches, of that part
TIMES = 3  # batches of a size from which it has that part: one stall in its only batch must not last
# Of a class: its weight; 1·1, 1·P, 1·Q, P·P, P·Q, Q·Q and t·1, t·P, t·Q, weighted; the weight below which
# it fades slowly; when it was last brought up to date.
_WEIGHT, _SUMS, _TARGETS, _LEAST, _AT = 0, 1, 7, 10, 11


class Evidence:
    """Weighted sums of relative errors: each batch is divided by its own time, so that long ones do not
    rule the fit."""

    __slots__ = ("_batches", "_classes")

    def __init__(self) -> None:
        self._classes: dict[int, list[float]] = {}
        self._batches = 0

    def add(self, padded: float, squares: float, seconds: float, weight: float) -> None:
        """A batch of padded cost P and sum of squares Q took ``seconds``."""
        self._batches += 1
        size = int(padded).bit_length()
        row = self._classes.get(size)
        if row is None:
            row = self._classes[size] = [0.0] * (_AT + 1)
        else:
            self._fade(row)
        row[_AT] = self._batches
        each = weight / (seconds * seconds)
        row[0] += weight
        if row[_LEAST] or row[_WEIGHT] >= TIMES:
            row[_LEAST] = FLOOR
        row[1] += each
        row[2] += each * padded
        row[3] += each * squares
        row[4] += each * padded * padded
        row[5] += each * padded * squares
        row[6] += each * squares * squares
        each *= seconds
        row[7] += each
        row[8] += each * padded
        row[9] += each * squares

    def _fade(self, row: list[float]) -> None:
        passed = self._batches - row[_AT]
        weight, keep = row[_WEIGHT], MEMORY**passed
        if row[_LEAST]:
            row[_LEAST] *= SLOW_MEMORY**passed
            if weight * keep < row[_LEAST]:
                keep = max(keep, min(1.0, row[_LEAST] / weight))
        for place in range(_LEAST):
            row[place] *= keep

    def total(self) -> tuple[list[float], list[float]]:
        """The sums and the targets of all classes, as of now."""
        whole = [0.0] * _LEAST
        for row in self._classes.values():
            self._fade(row)
            row[_AT] = self._batches
            for place in range(_LEAST):
                whole[place] += row[place]
        return whole[_SUMS:_TARGETS], whole[_TARGETS:]

    def weaken(self, factor: float) -> None:
        """All that is known counts ``factor`` times as much, and fades without an end: it is not true any more."""
        for row in self._classes.values():
            row[_LEAST] = 0.0
            for place in range(_LEAST):
                row[place] *= factor

    def capped(self, weight: float) -> "Evidence":
        """A copy that weighs ``weight`` at most."""
        copy = Evidence()
        share = weight / max(weight, sum(row[_WEIGHT] for row in self._classes.values()))
        for size, row in self._classes.items():
            copy._classes[size] = [*(value * share for value in row[:_LEAST]), 0.0, 0.0]
        return copy

    def slower(self, factor: float) -> None:
        """As if every batch had taken ``factor`` times as long."""
        for row in self._classes.values():
            for place in range(_SUMS, _LEAST):
                row[place] /= factor**2 if place < _TARGETS else factor

    def save(self) -> dict[str, list[float]]:
        """What :meth:`load` takes: plain numbers by the class's name."""
        self.total()
        return {str(size): row[:_AT] for size, row in self._classes.items()}

    @classmethod
    def load(cls, saved: Mapping[str, object]) -> "Evidence":
        """What was saved. Raises TypeError or ValueError for anything else."""
        evidence = cls()
        for size, row in saved.items():
            numbers = [float(value) for value in row]  # type: ignore[attr-defined]
            if len(numbers) != _AT or not all(0 <= number < float("inf") for number in numbers):
                raise ValueError(f"the sums of size {size!r} are impossible")
            evidence._classes[int(size)] = [*numbers, 0.0]
        return evidence
