"""Which process owns a job, and whether it still lives: a name that no later process can have.

Source: proc(5), /proc/pid/stat field 22 (start time in ticks since boot) and random/boot_id.
"""

import itertools
import os
import socket
from pathlib import Path
from typing import Final

CLAIM: Final = "#"  # between a process and the number of its claim
_claims: Final = itertools.count(1)


def this_process() -> str:
    """The owner's name of this process: host, boot, process id and its start."""
    return f"{socket.gethostname()}/{_boot()}/{os.getpid()}/{_start(os.getpid())}"


def claim_of(process: str) -> str:
    """The owner's name of one claim of ``process``: no other claim has it, so that who has lost a job and claims
    it again is told from who still works at it."""
    return f"{process}{CLAIM}{next(_claims)}"


def is_alive(owner: str) -> bool | None:
    """Whether the process ``owner`` lives; None when that cannot be known from here."""
    parts = owner.partition(CLAIM)[0].rsplit("/", 3)
    if len(parts) != 4 or parts[0] != socket.gethostname() or not parts[2].isdigit():
        return None
    return parts[1] == _boot() and _start(int(parts[2])) == parts[3]


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _start(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name may hold anything, also a parenthesis; the fields follow the last one.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else fields[19]
