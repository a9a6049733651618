"""The scanning process can read and compute, and nothing else; what ends it is no clean verdict."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from modelyard.core.manifest import FileEntry, manifest_of
from modelyard.registry.scan import safety as room
from modelyard.registry.scan import scanner
from modelyard.registry.scan.safety import Safety
from modelyard.registry.scan.scanner import Answer, Asked, NoScanner, look
from modelyard.store.blobs import BlobStore

JAILED = """
import os, signal, socket, subprocess, sys
from modelyard.registry.scan import jail
tries = {
    "write": lambda: open(sys.argv[1], "w"),
    "append": lambda: open(sys.argv[2], "a"),
    "remove": lambda: os.remove(sys.argv[2]),
    "rename": lambda: os.rename(sys.argv[2], sys.argv[1]),
    "folder": lambda: os.mkdir(sys.argv[1]),
    "link": lambda: os.symlink("/", sys.argv[1]),
    "mode": lambda: os.chmod(sys.argv[2], 0o777),
    "socket": lambda: socket.socket(),
    "unix": lambda: socket.socket(socket.AF_UNIX),
    "program": lambda: subprocess.run(["true"]),
    "replace": lambda: os.execv("/bin/true", ["true"]),
    "fork": lambda: os.fork(),
    "signal": lambda: os.kill(os.getppid(), signal.SIGTERM),
    "memory": lambda: bytearray(2 << 30),
    "limits": lambda: __import__("resource").setrlimit(7, (1000, 1000)),
}
jail.limit(60)
held = jail.enter()
print("held", held)
for name, attempt in tries.items():
    try:
        attempt()
    except (OSError, MemoryError) as error:
        print(name, "refused")
    except ValueError:
        print(name, "refused")
    else:
        print(name, "DONE")
print("read", len(open(sys.argv[2], "rb").read()))
"""


def test_it_can_read_and_nothing_else(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_bytes(b"data")
    told = subprocess.run(
        [sys.executable, "-c", JAILED, str(tmp_path / "new"), str(there)], capture_output=True, text=True, check=True
    ).stdout.splitlines()  # fmt: skip
    assert told[0] == "held seccomp"
    assert [line for line in told if line.endswith("DONE")] == []
    assert told[-1] == "read 4"
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def _asked(name: str, data: bytes) -> Asked:
    return Asked(name, len(data), lambda at, length: data[at : at + length])


def test_a_file_that_takes_too_long_ends_its_process_and_not_the_others(blobs: BlobStore) -> None:
    slow = b"\x80\x04)" + b"2\x86" * 2_400_000 + b"."
    answers = look([_asked("a", b"first"), _asked("slow.pkl", slow), _asked("b", b"last")], seconds=0)
    assert [answer.died is None for answer in answers] == [True, False, True]
    assert "takes more than" in (answers[1].died or "")


def test_what_ends_the_scan_is_unreadable_and_not_clean(
    blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = blobs.put([b"\x80\x04)" + b"2\x86" * 2_400_000 + b"."])
    manifest = manifest_of([FileEntry(path="model.pkl", size=put.size, sha256=put.sha256)])
    monkeypatch.setattr(room, "look", lambda files, opinion=None, **more: look(files, opinion, seconds=0))
    scans, _ = Safety(blobs).look(manifest)
    assert scans[0].verdict == "unreadable"
    assert "takes more than" in scans[0].verdicts[0].findings[0].what


def test_a_process_that_cannot_begin_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(NoScanner):
        look([_asked("a", b"x")])
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(NoScanner):
        look([_asked("a", b"x")])


def test_what_is_asked_for_outside_of_a_file_is_not_given() -> None:
    asked: list[tuple[int, int]] = []

    def read(at: int, length: int) -> bytes:
        asked.append((at, length))
        return b"\x80\x04N."[at : at + length]

    look([Asked("model.pkl", 4, read)])
    assert all(at >= 0 and at + length <= 4 for at, length in asked)


def test_no_more_processes_scan_at_a_time_than_there_are_processors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def counted(files: list[Asked], *_: object) -> list[Answer]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return [Answer() for _ in files]

    monkeypatch.setattr(scanner, "_look", counted)
    threads = [threading.Thread(target=look, args=([_asked("a", b"x")],)) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 < most <= max(2, os.cpu_count() or 2)
