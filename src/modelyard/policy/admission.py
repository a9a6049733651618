"""Who may still join a queue: what can be computed in time, and who gives way when it is full."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from modelyard.policy.latency import LatencyModel
from modelyard.policy.line import Line
from modelyard.policy.work import Entry

E = TypeVar("E", bound=Entry)


def ahead(lines: Mapping[int, Line[E]], entry: E) -> float:
    """The useful cost that would be computed before ``entry`` is, and its own.

    All of the levels above; of its level its own client's work and as much of each other client's.
    """
    cost = 0.0
    for level, line in lines.items():
        if level < entry.level:
            cost += line.units
        elif level == entry.level:
            mine = line.weights.get(entry.client, 0.0) + entry.units
            clients = len(line.weights) + (entry.client not in line.weights)
            cost += min(line.units + entry.units, mine * clients)
    return cost


def together(devices: Iterable[LatencyModel], cost: float, seconds: float) -> float:
    """Useful units a second that ``devices`` compute in batches of ``cost`` padded, or of as much less as
    a batch of ``seconds`` allows."""
    found = 0.0
    for device in devices:
        each = device.b + device.c * device.density
        found += device.foreseen(min(cost, max(0.0, seconds - device.a) / each) if each > 0 else cost)
    return found


def who_gives_way(lines: Mapping[int, Line[E]], entry: E) -> E | None:
    """Whose place in a full queue ``entry`` may have: the newest of a lower level, or of the client of its
    own level that has most of the queue, if that is more than the entry's client would have."""
    lowest = max((level for level, line in lines.items() if line.live), default=entry.level)
    if lowest > entry.level:
        return lines[lowest].newest(None)
    weights = lines[entry.level].weights
    heaviest = max(weights, key=weights.__getitem__, default=entry.client)
    if heaviest == entry.client or weights[heaviest] <= weights.get(entry.client, 0.0) + entry.units:
        return None
    return lines[entry.level].newest(heaviest)
