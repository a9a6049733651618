"""Work in the background: a process that gives way to whatever else computes on this machine, in two respects.

Its niceness must count. Linux, where it has autogroups (sched(7)), shares the processors out between sessions first,
and by niceness only between the processes of one: models have sessions of their own, so that a build of any niceness
was their equal. A session has a niceness of its own, which is set here.

And a thread of any niceness that finds a processor idle takes it; who is called the moment after finds its caches
cold, or, on a processor that shares its core, gets half of its speed. So the process leaves half of the processors
alone while anything else computes. While nothing does it may have them all.

What each of the two brings: ``bench/environments.py``.
"""

import contextlib
import os
import threading
from collections.abc import Collection, Mapping
from pathlib import Path

NICENESS = 10
_INTERVAL = 0.25  # seconds between two looks
_LOOKS = 4  # how many quiet looks, one after the other, widen what was narrowed
_QUIET = 0.05  # processors that others compute with and still leave the machine quiet


class Background:
    """Within the block, the process ``pid``, which leads a session and has :data:`NICENESS`, gives way with all its
    threads: its session has that niceness too, and it has half of this process's processors while what is not niced
    computes in user space, all of them while nothing does. Where a system has no autogroups, does not tell what
    computes, or has no affinities, that does not happen; it is no error if the process ends, but it may be waited
    for only behind the block, for until then its id is nobody else's."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"background {pid}", daemon=True)

    def __enter__(self) -> "Background":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        if not hasattr(os, "sched_setaffinity"):
            return
        with contextlib.suppress(OSError):  # it ended
            allowed = os.sched_getaffinity(0)
            half = half_of({cpu: _core(cpu) for cpu in allowed}) or allowed
            width = Width()
            before = _computed(allowed)
            narrow = True
            while True:
                _nice_session(self._pid)
                _confine(self._pid, half if narrow else allowed)
                if self._ended.wait(_INTERVAL):
                    return
                now = _computed(allowed)
                narrow = width.after(now - before)
                before = now


class Width:
    """Whether the process is to be narrow, look by look: at once when others compute, and wide again only after
    it was quiet for a second, for calls come in bursts. It begins narrow."""

    def __init__(self) -> None:
        self._quiet = 0

    def after(self, others: float) -> bool:
        """``others``: processor seconds that others spent since the look before."""
        self._quiet = self._quiet + 1 if others <= _QUIET * _INTERVAL else 0
        return self._quiet < _LOOKS


def half_of(cores: Mapping[int, str]) -> set[int]:
    """Half of the processors, rounded down: whole cores as far as that goes. ``cores`` names the core of each."""
    first = {core: min(cpu for cpu, of in cores.items() if of == core) for core in cores.values()}
    in_order = sorted(cores, key=lambda cpu: (first[cores[cpu]], cpu))
    return set(in_order[(len(in_order) + 1) // 2 :])


def _core(cpu: int) -> str:
    """The processors that share a core with this one, as the kernel lists them; itself alone where it does not."""
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(cpu)


def _computed(cpus: Collection[int]) -> float:
    """Seconds that these processors have spent in user space at normal priority since the machine started. What is
    niced is in the background as well, or two builds would each give way to the other; and what the kernel does
    for anybody does not count: it writes the files of a build down by itself."""
    names = {f"cpu{cpu}" for cpu in cpus}
    with open("/proc/stat") as file:
        lines = [line.split() for line in file]
    return sum(int(user) for name, user, *_ in lines if name in names) / os.sysconf("SC_CLK_TCK")


def _nice_session(pid: int) -> None:
    """Give the session of ``pid`` its niceness; again at each look, for the kernel takes but ten such wishes a second
    from all users together. A session that somebody else leads is left as it is: whoever is in it would be niced."""
    if os.getsid(pid) == pid:
        with contextlib.suppress(OSError):  # one wish too many, or no autogroups
            Path(f"/proc/{pid}/autogroup").write_text(str(NICENESS))


def _confine(pid: int, cpus: Collection[int]) -> None:
    """Put every thread of the process on these processors; those that they start later inherit it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), cpus)
