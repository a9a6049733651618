"""A quota of processor time: a control group (v1 or v2) that builds are put into, where this machine lets us.

It is one group for all builds of the machine. It outlives who made it, empty, and holds nobody back who does not
come into it; what it says is written anew by whoever builds.
"""

import contextlib
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
_NAME = "modelyard-builds"
# Microseconds. The shorter the period, the shorter the while for which a call finds a processor taken; the kernel
# takes no quota below a millisecond.
_PERIOD = 5000
_LEAST = 1000


class Quota:
    """Those in the group may be held to a part of the time. On a machine that has no group for us, or to a user who
    may not write it, nothing happens."""

    def __init__(self, root: Path = CGROUP_ROOT) -> None:
        self._group: Path | None = None
        self._second = (root / "cgroup.controllers").is_file()
        parent = root if self._second else root / "cpu"
        # Where no control group is, a folder would only be made.
        if not (parent / "cgroup.procs").is_file():
            return
        with contextlib.suppress(OSError):
            if self._second:
                (root / "cgroup.subtree_control").write_text("+cpu")
            (parent / _NAME).mkdir(exist_ok=True)
            self._group = parent / _NAME
        self.hold(None)

    def join(self, pid: int) -> None:
        """Put a process and what it starts from now on into the group. No error when it is gone."""
        if self._group is not None:
            with contextlib.suppress(OSError):
                (self._group / "cgroup.procs").write_text(str(pid))

    def hold(self, processors: float | None) -> None:
        """Let those in the group have so many processors together, at least a fifth of one; None: all. Written each
        time: another who builds on this machine may have written otherwise."""
        if self._group is None:
            return
        most = None if processors is None else max(_LEAST, int(processors * _PERIOD))
        with contextlib.suppress(OSError):
            if self._second:
                (self._group / "cpu.max").write_text(f"{'max' if most is None else most} {_PERIOD}")
            else:
                (self._group / "cpu.cfs_period_us").write_text(str(_PERIOD))
                (self._group / "cpu.cfs_quota_us").write_text("-1" if most is None else str(most))
