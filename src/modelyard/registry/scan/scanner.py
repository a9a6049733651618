"""Runs the scanning process, hands it the bytes that it asks for, and takes its answers. What kills it is an answer."""

import json
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from modelyard.core.scan import Finding
from modelyard.registry.scan import jail
from modelyard.registry.scan.forks import Fork, NoScanner, fork

SECONDS: Final = 120  # of processor time for a file, whatever its size
SPEED: Final = 10 * 2**20  # bytes that are looked at in one more second, at least
_SEATS: Final = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))  # scanning processes at a time
_LINE: Final = 4 * 1024 * 1024
_SERVED: Final = 40 * 1024 * 1024


class Asked(NamedTuple):
    """A file to be looked at: its name, its size, and ``read(offset, length)``."""

    name: str
    size: int
    read: Callable[[int, int], bytes]


class Answer(NamedTuple):
    """What was found in it. ``died``: the process ended over it, and why. ``peak``: the process's memory, bytes."""

    findings: tuple[Finding, ...] = ()
    more: int = 0
    pickles: int = 0
    died: str | None = None
    peak: int = 0


def look(
    files: Sequence[Asked],
    opinion: str | None = None,
    *,
    check: Callable[[], None] = lambda: None,
    seconds: int = SECONDS,
    memory: int = jail.MEMORY,
) -> list[Answer]:
    """One answer for each of ``files``, in order.

    A process that dies takes the file with it that it looked at, and another goes on behind that. ``check`` is called
    between reads and may raise to break off. Raises NoScanner, with the reason.
    """
    answers: list[Answer] = []
    while len(answers) < len(files):
        while not _SEATS.acquire(timeout=0.5):
            check()
        try:
            answers += _look(files[len(answers) :], opinion, check, seconds, memory)
        finally:
            _SEATS.release()
    return answers


def _look(
    files: Sequence[Asked], opinion: str | None, check: Callable[[], None], seconds: int, memory: int
) -> list[Answer]:
    """The answers of one process: of all files, or of those up to the one over which it ended."""
    allowed = seconds + sum(file.size for file in files) // SPEED
    asked = {
        "files": [[file.name, file.size] for file in files], "seconds": allowed, "memory": memory,
    }  # fmt: skip
    process = fork(opinion)
    begun = False
    late = threading.Timer(4 * allowed + 60, process.kill)
    late.start()
    heard = _Heard(process)
    answers: list[Answer] = []
    try:
        _send(process, json.dumps(asked).encode() + b"\n")
        for told in heard:
            check()
            begun = begun or "held" in told
            if "read" in told:
                index, offset, length = told["read"]
                data = b""
                if 0 <= index < len(files) and 0 <= length <= _SERVED and offset >= 0:
                    data = files[index].read(offset, length)
                _send(process, len(data).to_bytes(4, "little") + data)
            elif "file" in told:
                findings = msgspec.convert(told["findings"], tuple[Finding, ...])
                answers.append(Answer(findings, told["more"], told["pickles"], None, told["peak"]))
        if not begun:
            raise NoScanner(heard.why(memory, allowed))
        if len(answers) < len(files):
            answers.append(Answer(died=heard.why(memory, allowed)))
        return answers
    finally:
        late.cancel()
        process.kill()
        process.wait()
        heard.close()
        process.close()


class _Heard:
    """The lines of a process, and its last words."""

    def __init__(self, process: Fork) -> None:
        self._process = process
        self._words = b""
        self._ear = threading.Thread(target=self._listen, daemon=True)
        self._ear.start()

    def __iter__(self) -> "_Heard":
        return self

    def __next__(self) -> dict[str, Any]:
        line = self._process.stdout.readline(_LINE)
        if not line.endswith(b"\n"):
            raise StopIteration
        try:
            told = json.loads(line)
        except ValueError:
            raise StopIteration from None
        if not isinstance(told, dict) or "end" in told:
            raise StopIteration
        return told

    def why(self, memory: int, seconds: int) -> str:
        """Why it ended before it had answered all."""
        code = self._process.wait()
        self._ear.join(1.0)
        last = self._words.decode("utf-8", "replace").strip().splitlines()[-1:] or [""]
        if "MemoryError" in last[0] or code == -11:
            return f"it needs more than {memory >> 20} MiB to be looked at"
        if code in (-24, -9):
            return f"it takes more than {seconds} s to be looked at"
        return f"the scanning process ended ({code}): {last[0][:200]}"

    def close(self) -> None:
        """After its end."""
        self._ear.join(1.0)

    def _listen(self) -> None:
        while piece := self._process.stderr.read1(4096):
            self._words = (self._words + piece)[-4096:]


def _send(process: Fork, data: bytes) -> None:
    try:
        process.stdin.write(data)
        process.stdin.flush()
    except BrokenPipeError:
        return  # it has ended; its last line says so
