"""Repeated runs of the same cells, and their medians."""

from typing import Any

from bench.load.measured import Measured
from bench.statistics import median, spread


class Runs:
    """Runs by row and cell, in the order in which they came."""

    def __init__(self) -> None:
        self._runs: dict[str, dict[str, list[Measured]]] = {}

    def add(self, row: str, cell: str, run: Measured) -> None:
        self._runs.setdefault(row, {}).setdefault(cell, []).append(run)

    def medians(self) -> dict[str, dict[str, Any]]:
        """Of every cell: the median of each figure by itself, errors in all, and how far the rates lie apart."""
        return {
            row: {cell: _summary(runs) for cell, runs in cells.items()} for row, cells in self._runs.items()
        }


def _summary(runs: list[Measured]) -> dict[str, Any]:
    return {
        "rate": median([run.rate for run in runs]),
        "p50": median([run.p50 for run in runs]),
        "p99": median([run.p99 for run in runs]),
        "errors": sum(run.errors for run in runs),
        "runs": len(runs),
        "spread": round(spread([run.rate for run in runs]), 3),
    }


class Samples:
    """Plain numbers by row, in the order in which they came."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def add(self, row: str, value: float) -> None:
        self._values.setdefault(row, []).append(value)

    def lists(self) -> dict[str, list[float]]:
        return self._values
