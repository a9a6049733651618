"""Memory as the system counts it: what this machine has, and what a process takes of it."""

import math
from pathlib import Path

_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def machine_bytes() -> int | None:
    """What processes of this machine, or of this container, may take together; None when it is not told."""
    try:
        with open("/proc/meminfo") as file:
            known = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemTotal:"))
    except (OSError, StopIteration, ValueError):
        return None
    for path in _LIMITS:
        try:
            known = min(known, int(path.read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return known


def proportional_bytes(pid: int) -> int | None:
    """What a process takes: its own pages, and its part of those that it shares (PSS). None when it is gone.

    Models that were forked from one process, or that map the same file of weights, share much; the
    resident sizes of all would count that again and again.
    """
    found = _field(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")
    return found if found is not None else _field(Path(f"/proc/{pid}/status"), "VmRSS:")


def peak_bytes(pid: int) -> int | None:
    """The most that was ever resident of a process; None when it is gone."""
    return _field(Path(f"/proc/{pid}/status"), "VmHWM:")


def _field(path: Path, name: str) -> int | None:
    try:
        with path.open() as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith(name)), None)
    except (OSError, ValueError, IndexError):
        return None


def share_of_machine(part: float) -> float:
    """So much of :func:`machine_bytes`; infinity when that is not told."""
    known = machine_bytes()
    return math.inf if known is None else known * part
