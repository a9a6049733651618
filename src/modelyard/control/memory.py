"""How much memory a process holds."""

import resource
from pathlib import Path


def resident_bytes(pid: int) -> int | None:
    """Resident bytes of the process ``pid``; None when it is gone or this system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * resource.getpagesize()
