"""What one executor may take: memory by control group (v1 or v2) where this machine lets us, else rlimit.

The executor is put under its limits after it was started and before it is told what to load, so no
code of a model runs outside of them.
"""

import contextlib
import os
import resource
from pathlib import Path

from modelyard.host.process import is_alive

CGROUP_ROOT = Path("/sys/fs/cgroup")


class MemoryLimit:
    """A limit on one replica's memory, in bytes; with no limit set it does nothing.

    ``mechanism`` says what holds it: ``cgroup v2``, ``cgroup v1``, ``RLIMIT_DATA`` or ``none``.
    """

    def __init__(self, name: str, limit: int | None, root: Path = CGROUP_ROOT) -> None:
        self.limit = limit
        self.mechanism = "none"
        self._group: Path | None = None
        if limit is None:
            return
        # A machine may have several nodes, with replicas of the same name: a group says whose it is.
        name = f"{os.getpid()}.{name}"
        if (root / "cgroup.controllers").is_file():
            self._open_v2(root / "modelyard" / name, limit)
        elif (root / "memory" / "memory.limit_in_bytes").is_file():
            self._open_v1(root / "memory" / "modelyard" / name, limit)
        if self._group is None:
            self.mechanism = "RLIMIT_DATA"

    def _open_v2(self, group: Path, limit: int) -> None:
        try:
            group.mkdir(parents=True, exist_ok=True)
            for parent in (group.parents[1], group.parents[0]):
                (parent / "cgroup.subtree_control").write_text("+memory")
            (group / "memory.max").write_text(str(limit))
            with contextlib.suppress(OSError):  # not there when the kernel has no swap accounting
                (group / "memory.swap.max").write_text("0")
        except OSError:
            _remove(group)
            return
        self._group, self.mechanism = group, "cgroup v2"

    def _open_v1(self, group: Path, limit: int) -> None:
        try:
            group.mkdir(parents=True, exist_ok=True)
            (group / "memory.limit_in_bytes").write_text(str(limit))
            with contextlib.suppress(OSError):
                (group / "memory.memsw.limit_in_bytes").write_text(str(limit))
        except OSError:
            _remove(group)
            return
        self._group, self.mechanism = group, "cgroup v1"

    def apply(self, pid: int) -> None:
        """Put the process under the limit. Raises OSError when it cannot be."""
        # No core files: one of a model with gigabytes would fill the disk.
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
        if self._group is not None:
            (self._group / "cgroup.procs").write_text(str(pid))
        elif self.limit is not None:
            resource.prlimit(pid, resource.RLIMIT_DATA, (self.limit, self.limit))

    def exceeded(self) -> bool:
        """Whether the kernel killed something in this group for want of memory."""
        if self._group is None:
            return False
        events = self._group / ("memory.events" if self.mechanism == "cgroup v2" else "memory.oom_control")
        try:
            words = events.read_text().split()
        except OSError:
            return False
        counts = dict(zip(words[::2], words[1::2], strict=False))
        return int(counts.get("oom_kill", "0")) > 0

    def close(self) -> None:
        """Remove the control group; its processes are gone by now."""
        if self._group is not None:
            _remove(self._group)


def sweep(root: Path = CGROUP_ROOT) -> None:
    """Remove the control groups that killed nodes left behind; called before this node makes any.

    A group of a node that lives stays, even an empty one: a process may be on its way into it, or the node
    about to read why its process ended.
    """
    for groups in (root / "modelyard", root / "memory" / "modelyard"):
        for group in groups.iterdir() if groups.is_dir() else ():
            owner = group.name.partition(".")[0]
            if not owner.isdigit() or int(owner) == os.getpid() or not is_alive(int(owner)):
                _remove(group)


def _remove(group: Path) -> None:
    with contextlib.suppress(OSError):
        group.rmdir()
