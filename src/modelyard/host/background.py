"""Work in the background: a process that leaves half of the processors to whatever else computes on this machine.

A low priority alone is not enough. A thread of any priority that finds a processor idle takes it, and who is called
the moment after waits for it to be given back, finds its caches cold, or, on a processor that shares its core, gets
half of its speed: what 99 of 100 calls wait for grows with every processor that the background has threads on
(``bench/environments.py`` has the figures). While nothing else computes the process may have them all.

Where half is one processor, which may be the second thread of the core that serves, that is not enough either:
while calls are answered the process has a fifth of its time, in slices of a millisecond, if the machine lets us.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from modelyard.host.quota import Quota

_INTERVAL = 0.25  # seconds between two looks
_LOOKS = 4  # how many quiet looks, one after the other, widen what was narrowed
_QUIET = 0.05  # processors that others compute with and still leave the machine quiet
_SLICE = 0.2  # of one processor, while calls are answered on a machine of few


class Background:
    """Within the block, the process ``pid``, which is niced, and what its threads start gives way: it has half of
    this process's processors while what is not niced computes in user space, all of them while nothing does. Where
    a system does not tell what computes, or has no affinities, nothing happens; it is no error if the process ends,
    but it may be waited for only behind the block, for until then its id is nobody else's.

    ``serving`` says whether calls are answered on this machine; it is asked four times a second."""

    def __init__(self, pid: int, serving: Callable[[], bool] = lambda: False) -> None:
        self._pid = pid
        self._serving = serving
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
            if len(allowed) < 2:
                return
            half = half_of({cpu: _core(cpu) for cpu in allowed})
            width = Width()
            quota = Quota()
            quota.join(self._pid)
            before = _computed(allowed)
            narrow = True
            while True:
                _confine(self._pid, half if narrow else allowed)
                quota.hold(_SLICE if len(half) == 1 and self._serving() else None)
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


def _confine(pid: int, cpus: Collection[int]) -> None:
    """Put every thread of the process on these processors; those that they start later inherit it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), cpus)
