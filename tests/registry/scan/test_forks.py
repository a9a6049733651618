"""Scanning processes are forked, have nothing of one another, and end with whoever asked."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.registry.scan.scanner import Asked, look

PLAIN = b"\x80\x04N."
ALONE = """
import os, signal, sys
from modelyard.registry.scan.scanner import Asked, look
look([Asked("a.pkl", 4, lambda at, length: b"\\x80\\x04N."[at : at + length])])
print(open(f"/proc/self/task/{os.getpid()}/children").read(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def asked(read: Callable[[int, int], bytes] | None = None) -> Asked:
    return Asked("model.pkl", len(PLAIN), read or (lambda at, length: PLAIN[at : at + length]))


def children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(each) for task in tasks for each in (task / "children").read_text().split()]
    except FileNotFoundError:
        return []


def template() -> int:
    """The process that those of this test process are forked from."""
    for pid in children(os.getpid()):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"modelyard.registry.scan.template" in words[-3:]:  # and no opinion behind its descriptor
            return pid
    raise AssertionError("there is no template without an opinion")


def until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_a_template_that_was_killed_is_replaced() -> None:
    assert look([asked()])[0].pickles == 1
    former = template()
    os.kill(former, signal.SIGKILL)
    assert look([asked()])[0].pickles == 1
    assert template() != former


def test_each_scan_is_a_process_that_holds_nothing_but_its_own_pipes() -> None:
    seen: list[tuple[int, list[str]]] = []
    both = threading.Barrier(2)

    def read(at: int, length: int) -> bytes:
        if at == 0:
            both.wait(60)  # two at a time
            for pid in children(template()):
                held = [str((path).readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
                seen.append((pid, sorted(held)))
            both.wait(60)
        return PLAIN[at : at + length]

    threads = [threading.Thread(target=look, args=([asked(read)],)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = dict(seen)
    assert len(held) == 2
    assert all(name.startswith("pipe:") for names in held.values() for name in names)
    one, other = (set(names) for names in held.values())
    assert len(one) == len(other) == 3
    assert not one & other


def test_a_scan_that_is_broken_off_leaves_no_process() -> None:
    class Enough(Exception):
        pass

    def stop() -> None:
        raise Enough

    with pytest.raises(Enough):
        look([asked()], check=stop)
    until(lambda: children(template()) == [])


def test_it_ends_with_the_program_that_asked() -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    (pid,) = map(int, done.stdout.split())
    until(
        lambda: (
            not Path(f"/proc/{pid}").exists() or "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
        )
    )
