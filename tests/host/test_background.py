import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from modelyard.host.background import Background, Width, half_of

THREADS = """
import threading, time
[threading.Thread(target=time.sleep, args=(60,)).start() for _ in range(3)]
print("begun", flush=True)
"""
LOOP = "print('begun', flush=True)\nwhile True: pass"

several = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="one processor is shared with everybody",
)


autogroups = pytest.mark.skipif(
    not Path("/proc/self/autogroup").exists(), reason="this kernel knows niceness of processes only"
)


@contextmanager
def program(code: str, *, leads: bool = True) -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=leads
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        try:
            yield process.pid
        finally:
            process.kill()


def affinities(pid: int) -> set[frozenset[int]]:
    return {frozenset(os.sched_getaffinity(int(each.name))) for each in Path(f"/proc/{pid}/task").iterdir()}


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def is_narrow(pid: int, everything: set[int]) -> bool:
    found = affinities(pid)
    return len(found) == 1 and len(next(iter(found))) == len(everything) // 2


@several
def test_every_thread_has_half_of_the_processors_while_others_compute() -> None:
    with program(THREADS) as pid, program(LOOP):
        everything = os.sched_getaffinity(pid)
        with Background(pid):
            wait_until(lambda: is_narrow(pid, everything))


@several
def test_all_processors_once_nothing_else_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = False
    clock = count()
    monkeypatch.setattr(
        "modelyard.host.background._computed", lambda *_: 0.0 if quiet else float(next(clock))
    )
    with program(THREADS) as pid:
        everything = os.sched_getaffinity(pid)
        with Background(pid):
            wait_until(lambda: is_narrow(pid, everything))
            quiet = True
            wait_until(lambda: affinities(pid) == {frozenset(everything)})


def session_of(pid: int | str) -> str:
    """Which autogroup a process is in, and the niceness of that."""
    return Path(f"/proc/{pid}/autogroup").read_text().strip()


@autogroups
def test_the_session_of_the_process_is_niced_as_well() -> None:
    with program(THREADS) as pid, Background(pid):
        wait_until(lambda: session_of(pid).endswith(" nice 10"))


@autogroups
def test_a_wish_that_the_kernel_does_not_take_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[str] = []
    write = Path.write_text

    def full(self: Path, text: str) -> int:
        if self.name == "autogroup" and len(refused) < 2:
            refused.append(text)
            raise BlockingIOError
        return write(self, text)

    monkeypatch.setattr(Path, "write_text", full)
    with program(THREADS) as pid, Background(pid):
        wait_until(lambda: session_of(pid).endswith(" nice 10"))
    assert refused == ["10", "10"]


@autogroups
def test_a_session_that_others_share_is_left_alone() -> None:
    before = session_of("self")
    with program(THREADS, leads=False) as pid:
        everything = os.sched_getaffinity(pid)
        with program(LOOP), Background(pid):
            if len(everything) > 1:
                wait_until(lambda: is_narrow(pid, everything))
        assert session_of(pid) == before


def test_a_process_that_ended_is_no_error() -> None:
    with program(THREADS) as pid:
        pass
    with Background(pid):
        pass


def test_it_begins_narrow_widens_after_a_quiet_second_and_narrows_at_once() -> None:
    width = Width()
    quiet, busy = 0.0, 0.2
    assert [width.after(each) for each in (quiet, quiet, quiet, quiet, quiet)] == [True] * 3 + [False] * 2
    assert width.after(busy)
    again = [width.after(each) for each in (quiet, quiet, busy, quiet, quiet, quiet, quiet)]
    assert again == [True] * 6 + [False]


@pytest.mark.parametrize(
    ("cores", "half"),
    [
        ({0: "0"}, set()),
        ({0: "0", 1: "1"}, {1}),
        ({0: "0-1", 1: "0-1"}, {1}),
        ({0: "0", 1: "1", 2: "2"}, {2}),
        ({0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}, {1, 3}),  # threads of a core are numbered far apart
        ({0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3"}, {2, 3}),
        ({4: "4", 9: "9"}, {9}),
    ],
)
def test_half_of_the_processors_are_whole_cores(cores: dict[int, str], half: set[int]) -> None:
    assert half_of(cores) == half
