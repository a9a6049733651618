"""What executors leave behind: orphans become the node's children (it is their reaper), and are ended and heard of
here.

The node starts executors, their fork servers and its fronts; any other child of it is an orphan. Where a machine
has control groups an orphan is found by that of its executor, and here only heard of; where it has none an executor
adopts what its model lets go of, so that an orphan comes to the node with its executor's end only.
"""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, prctl(2)
_ours: set[int] = set()
_births = 0  # forks that the node has asked for and not been told of
_owed = False  # orphans may be left from when it was no time to look for them


def adopt() -> bool:
    """Have orphans become this process's children; whether that is possible."""
    return sys.platform.startswith("linux") and ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0) == 0


def started(pid: int) -> None:
    """The node has started this process, and hears itself of its end."""
    _ours.add(pid)


def ended(pid: int) -> None:
    """The node has heard of its end."""
    _ours.discard(pid)


@contextlib.contextmanager
def birth() -> Generator[None]:
    """While a child may be there that the node does not know yet."""
    global _births
    _births += 1
    try:
        yield
    finally:
        _births -= 1


def look() -> None:
    """Hear of orphans that have ended, and end those that are owed it."""
    for pid, state, _ in _strangers():
        if state == "Z":
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
    if _owed:
        end()


def end() -> None:
    """Kill orphans, and what becomes one by that; only where executors adopt theirs."""
    global _owed
    _owed = _births > 0
    while not _owed:
        living = [pid for pid, state, session in _strangers() if state not in "ZX" and session not in _ours]
        for pid in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not living:
            break


def _strangers() -> list[tuple[int, str, int]]:
    """Children that the node did not start, with state and session; what is in its own session it did start."""
    found: list[tuple[int, str, int]] = []
    own = os.getsid(0)
    for listed in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for pid in set(map(int, listed.read_text().split())) - _ours:
                with contextlib.suppress(OSError, IndexError):
                    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                    if (session := int(fields[3])) != own:
                        found.append((pid, fields[0], session))
    return found
