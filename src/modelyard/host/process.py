"""Processes as the system knows them: alive or not, since when, how large; and their end as an event."""

import contextlib
import os
import signal
from pathlib import Path
from typing import NamedTuple


class Running(NamedTuple):
    """One running process: its id, seconds since the epoch when it began, resident bytes."""

    pid: int
    started: float
    memory: int


def describe(pid: int) -> Running | None:
    """What the system says of a process; None when it is gone."""
    memory = resident_bytes(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        with open("/proc/stat") as file:
            booted = next(float(line.split()[1]) for line in file if line.startswith("btime"))
    except (OSError, IndexError, ValueError, StopIteration):
        return None
    started = booted + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return None if memory is None else Running(pid, started, memory)


def resident_bytes(pid: int) -> int | None:
    """Resident memory of a process; None when it is gone or this system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpu_ticks(pid: int) -> int | None:
    """What a process has computed so far, in clock ticks; None when it is gone, or when one of its threads
    would compute now, or reads from a disk."""
    ticks = 0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            if fields[0] in ("R", "D"):
                return None
            ticks += int(fields[11]) + int(fields[12])
    except (OSError, IndexError, ValueError):
        return None
    return ticks


def descendants(pid: int) -> list[int]:
    """The processes that one has started and those that they have, as far as this system tells."""
    found: list[int] = []
    ahead = [pid]
    while ahead:
        for listed in Path(f"/proc/{ahead.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                children = list(map(int, listed.read_text().split()))
                found += children
                ahead += children
    return found


def is_alive(pid: int) -> bool:
    """Whether the process is there and not only waiting to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in ("Z", "X")


def open_process(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None when it is gone."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def send_signal(descriptor: int, number: int) -> None:
    """Send a signal to the process of a pidfd; nothing when it is gone."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(descriptor, number)


def belongs(pid: int, leader: int) -> bool:
    """Whether a process is ``leader``, is of its session, or was started by one that is."""
    for _ in range(64):  # ids are used again: what was read of one may be another's by now
        if pid == leader:
            return True
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            parent, session = int(fields[1]), int(fields[3])
        except (OSError, IndexError, ValueError):
            return False
        if session == leader:
            return True
        if parent <= 1:
            return False
        pid = parent
    return False
