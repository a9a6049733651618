"""What one executor may take: memory and processes by control group (v1 or v2) where this machine lets us, else by
rlimit; and the end of all that is in its group.

An executor goes into its groups itself, when it is told what to load and before it loads it
(``modelyard_executor.confine.join``), so no code of a model runs outside of them.
"""

import contextlib
import os
import resource
import signal
import time
from pathlib import Path

from modelyard.host.process import is_alive

CGROUP_ROOT = Path("/sys/fs/cgroup")
# Tasks, threads counted: several libraries may each have a thread for every core.
PROCESSES = 256 + 32 * (os.cpu_count() or 1)
PER_USER = 4096 + PROCESSES  # where a user's tasks can only be counted together
END_WITHIN = 2.0  # seconds


class Limits:
    """Those of one replica: ``memory`` in bytes (None: no limit), and PROCESSES tasks.

    ``held`` says what holds each: ``cgroup v2``, ``cgroup v1``, ``RLIMIT_DATA``, ``RLIMIT_NPROC``; what is not
    limited is not in it. ``groups`` are the files into which a process writes 0 to be held.
    """

    def __init__(self, name: str, memory: int | None, root: Path = CGROUP_ROOT) -> None:
        self.memory = memory
        self.held: dict[str, str] = {}
        self.groups: list[str] = []
        self._folders: list[Path] = []
        self._counts: Path | None = None  # where the kernel says whom it killed for want of memory
        # A machine may have several nodes, with replicas of the same name: a group says whose it is.
        name = f"{os.getpid()}.{name}"
        if (root / "cgroup.controllers").is_file():
            self._open_v2(root / "modelyard" / name)
        else:
            self._open_v1(root, name)
        if memory is not None:
            self.held.setdefault("memory", "RLIMIT_DATA")
        if os.geteuid():  # root's tasks are not counted
            self.held.setdefault("processes", "RLIMIT_NPROC")

    def _open_v2(self, group: Path) -> None:
        try:
            group.mkdir(parents=True, exist_ok=True)
        except OSError:
            return
        limits = {"pids": ("processes", "pids.max", PROCESSES)}
        if self.memory is not None:
            limits["memory"] = ("memory", "memory.max", self.memory)
        for controller, (name, file, most) in limits.items():
            with contextlib.suppress(OSError):
                for parent in (group.parents[1], group.parents[0]):
                    (parent / "cgroup.subtree_control").write_text(f"+{controller}")
                (group / file).write_text(str(most))
                self.held[name] = "cgroup v2"
        if "memory" in self.held:
            self._counts = group / "memory.events"
            with contextlib.suppress(OSError):  # not there when the kernel has no swap accounting
                (group / "memory.swap.max").write_text("0")
        self._folders.append(group)
        self.groups.append(str(group / "cgroup.procs"))

    def _open_v1(self, root: Path, name: str) -> None:
        wanted = [("processes", "pids", "pids.max", PROCESSES)]
        if self.memory is not None:
            wanted.append(("memory", "memory", "memory.limit_in_bytes", self.memory))
        for what, controller, file, most in wanted:
            group = root / controller / "modelyard" / name
            # Writing a limit where no control group is would only make a file.
            if not (root / controller / "cgroup.procs").is_file():
                continue
            try:
                group.mkdir(parents=True, exist_ok=True)
                (group / file).write_text(str(most))
            except OSError:
                _remove(group)
                continue
            self.held[what] = "cgroup v1"
            self._folders.append(group)
            # A process with one thread that goes by itself, as a task, waits for nobody.
            self.groups.append(str(group / "tasks"))
            if what == "memory":
                self._counts = group / "memory.oom_control"
                with contextlib.suppress(OSError):
                    (group / "memory.memsw.limit_in_bytes").write_text(str(most))

    def open(self) -> tuple[int, ...]:
        """Descriptors of ``groups``, for a process to inherit. Raises OSError."""
        return tuple(os.open(group, os.O_WRONLY | os.O_CLOEXEC) for group in self.groups)

    def apply(self, pid: int) -> None:
        """Put the process under what is held by rlimits. Raises OSError when it cannot be."""
        # No core files: one of a model with gigabytes would fill the disk.
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
        if self.memory is not None and self.held["memory"] == "RLIMIT_DATA":
            resource.prlimit(pid, resource.RLIMIT_DATA, (self.memory, self.memory))
        if self.held.get("processes") == "RLIMIT_NPROC":
            hard = resource.prlimit(pid, resource.RLIMIT_NPROC)[1]
            most = PER_USER if hard == resource.RLIM_INFINITY else min(hard, PER_USER)
            resource.prlimit(pid, resource.RLIMIT_NPROC, (most, most))

    def exceeded(self) -> bool:
        """Whether the kernel killed something in this group for want of memory."""
        if self._counts is None:
            return False
        try:
            words = self._counts.read_text().split()
        except OSError:
            return False
        counts = dict(zip(words[::2], words[1::2], strict=False))
        return int(counts.get("oom_kill", "0")) > 0

    @property
    def grouped(self) -> bool:
        """Whether what it started can be found by its group."""
        return bool(self._folders)

    def end(self) -> None:
        """Kill all that is in its groups; takes up to END_WITHIN seconds where there is much."""
        for folder in self._folders:
            _end(folder)

    @property
    def members(self) -> set[int]:
        """The processes that are in its groups."""
        return {pid for folder in self._folders for pid in _members(folder)}

    @property
    def empty(self) -> bool:
        """Whether nothing is in its groups."""
        return not any(_members(folder) for folder in self._folders)

    def close(self) -> None:
        """Remove the control groups; their processes are gone by now."""
        for folder in self._folders:
            _remove(folder)


def sweep(root: Path = CGROUP_ROOT) -> None:
    """Remove the control groups that killed nodes left behind, with all that runs in them; called before this
    node makes any.

    A group of a node that lives stays, even an empty one: a process may be on its way into it, or the node
    about to read why its process ended.
    """
    for groups in (root / "modelyard", root / "memory" / "modelyard", root / "pids" / "modelyard"):
        for group in groups.iterdir() if groups.is_dir() else ():
            owner = group.name.partition(".")[0]
            if owner.isdigit() and int(owner) != os.getpid() and is_alive(int(owner)):
                continue
            _end(group)
            _remove(group)


def _members(group: Path) -> list[int]:
    try:
        return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]
    except (OSError, ValueError):
        return []


def _end(group: Path) -> None:
    """Kill what is in a group, also what forks meanwhile."""
    if not _members(group):
        return
    with contextlib.suppress(OSError):
        if (group / "pids.max").is_file():
            (group / "pids.max").write_text("0")  # nothing is born any more
    until = time.monotonic() + END_WITHIN
    while (members := _members(group)) and time.monotonic() < until:
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def _remove(group: Path) -> None:
    with contextlib.suppress(OSError):
        group.rmdir()
