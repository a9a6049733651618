"""Who holds a lock, and what happens to files that several processes read."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from modelyard.host.files import read_json, write_json
from modelyard.host.lock import ProgramLock, holder
from modelyard.host.process import descendants, describe, open_process, send_signal

HOLD = """
import sys, time, pathlib
from modelyard.core.errors import Conflict
from modelyard.host.lock import ProgramLock
lock = ProgramLock(pathlib.Path(sys.argv[1]), "node")
try:
    lock.acquire()
    print("taken", flush=True)
except Conflict:
    print("refused", flush=True)
sys.stdin.read()
"""


def hold(run: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process


def test_a_lock_is_held_until_its_process_is_killed(tmp_path: Path) -> None:
    with hold(tmp_path) as process:
        assert process.stdout is not None and process.stdout.readline() == "taken\n"
        assert holder(tmp_path, "node") == process.pid
        with hold(tmp_path) as second:
            assert second.stdout is not None and second.stdout.readline() == "refused\n"
            second.kill()
        assert holder(tmp_path, "node") == process.pid
        process.kill()
        process.wait()
        assert holder(tmp_path, "node") is None


def test_the_next_holder_never_leaves_the_file_empty(tmp_path: Path) -> None:
    """Whoever asks for the process while one follows another reads the former or the next."""
    path = tmp_path / "node.lock"
    path.write_text("12345678\n")
    seen: set[str] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_text().split("\n")[0])

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(500):
        lock = ProgramLock(tmp_path, "node")
        lock.acquire()
        lock.release()
    done.set()
    reader.join()
    assert seen <= {"12345678", str(os.getpid())}


def test_an_id_that_another_process_has_now_is_no_holder(tmp_path: Path) -> None:
    (tmp_path / "node.lock").write_text(f"{os.getpid()}\n")
    assert holder(tmp_path, "node") is None


def test_a_lock_file_with_rubbish_has_no_holder(tmp_path: Path) -> None:
    for text in ("", "abc", "-5", "0"):
        (tmp_path / "node.lock").write_text(text)
        assert holder(tmp_path, "node") is None


def test_a_dead_process_lock_is_not_touched(tmp_path: Path) -> None:
    """A program that is starting has the lock before it has written its id."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "node.lock").write_text(str(dead.pid))
    with (tmp_path / "node.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert holder(tmp_path, "node") is None


def test_the_system_tells_start_and_memory_of_a_process() -> None:
    described = describe(os.getpid())
    assert described is not None
    assert described.memory > 1_000_000
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    assert describe(dead.pid) is None


def test_the_system_tells_what_a_process_has_started() -> None:
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen(['sleep', '60'])\nprint(child.pid, flush=True)\nsys.stdin.read()\nchild.kill()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert descendants(process.pid) == [child]
        assert child in descendants(os.getpid())
    assert descendants(process.pid) == []


def test_a_pidfd_becomes_readable_when_the_process_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        descriptor = open_process(process.pid)
        assert descriptor is not None
        send_signal(descriptor, signal.SIGTERM)
        assert process.wait() == -signal.SIGTERM
        send_signal(descriptor, signal.SIGTERM)  # gone: nothing happens
        os.close(descriptor)


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    place = tmp_path / "state.json"
    write_json(place, {"n": 0, "padding": "x" * 100_000})
    done = threading.Event()

    def write() -> None:
        for number in range(200):
            write_json(place, {"n": number, "padding": "x" * 100_000})
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        assert len(read_json(place)["padding"]) == 100_000
    thread.join()
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]
