"""The programs of the platform as they run here: who holds which lock, and what the system says of it.

Standard library only: the supervisor lives on this. Each program holds an flock on
``run/<program>.lock`` for as long as it lives and writes its process id into it.
"""

import contextlib
import fcntl
import json
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

MODULES = {"node": "modelyard.serve", "control": "modelyard.web"}
SUPERVISOR = "supervisor"


class Running(NamedTuple):
    """One running process: its id, seconds since the epoch when it began, resident bytes."""

    pid: int
    started: float
    memory: int


def holder(run: Path, program: str) -> int | None:
    """The process that holds ``program``'s lock, or None.

    A lock whose recorded process is gone is not touched: taking it, even for an instant, could
    turn away a program that is just starting.
    """
    try:
        descriptor = os.open(run / f"{program}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    pid = 0
    try:
        text = os.read(descriptor, 64).split()
        pid = int(text[0]) if text and text[0].isdigit() else 0
        if pid <= 0 or not _alive(pid):
            return None
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return pid
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None  # the id was given to another process since


def take_lock(run: Path, program: str) -> int | None:
    """Take ``program``'s lock for this process and write our id into it; None when it is held.

    The lock is this process' until it ends: the descriptor is never closed nor inherited.
    """
    descriptor = os.open(run / f"{program}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for attempt in range(5):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if attempt == 4:
                os.close(descriptor)
                return None
            time.sleep(0.02)  # somebody may only have looked
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def describe(pid: int) -> Running | None:
    """What the system says of a process; None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        with open("/proc/stat") as file:
            booted = next(float(line.split()[1]) for line in file if line.startswith("btime"))
    except (OSError, IndexError, ValueError, StopIteration):
        return None
    started = booted + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return Running(pid, started, pages * os.sysconf("SC_PAGE_SIZE"))


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


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty when there is none (or only half of one)."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace a file whole: a reader sees the old or the new one."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(value, file)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in ("Z", "X")
