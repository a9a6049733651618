"""Whose turn it is: which level is due, and whose deadline is nearest."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from modelyard.policy.line import Line
from modelyard.policy.work import BULK, Entry

AGE = 1.0  # seconds of waiting that one priority level is worth
PATIENT = 600.0  # seconds that bulk work waits for while there is any other; then it has its turn among it

E = TypeVar("E", bound=Entry)


def due_line(lines: Mapping[int, Line[E]]) -> Line[E] | None:
    """The line of the level that is due first: by the arrival of its first entry plus AGE a level (PATIENT for bulk)."""
    if len(lines) == 1:
        (line,) = lines.values()
        return line if line.live else None
    best, due = None, float("inf")
    for level, line in lines.items():
        if line.live:
            head = line.head()
            assert head is not None
            lag = PATIENT if level == BULK else level * AGE
            if head.arrived + lag < due:
                best, due = line, head.arrived + lag
    return best


def most_urgent(lines: Mapping[int, Line[E]], horizon: float, worth: Callable[[E], bool]) -> E | None:
    """The entry with the nearest deadline, of those until ``horizon`` that are still ``worth`` it."""
    best: E | None = None
    for line in lines.values():
        for entry in line:
            if (
                entry.deadline <= horizon
                and (best is None or entry.deadline < best.deadline)
                and worth(entry)
            ):
                best = entry
    return best
