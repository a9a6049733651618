"""Each deployment's log: what its replicas' processes printed, and what the node says of them."""

import contextlib
import os
import time
from collections import deque
from pathlib import Path
from typing import BinaryIO


class ModelLog:
    """What the replicas of one deployment wrote to stdout and stderr, with time and replica.

    The file is cut at ``limit`` bytes: the older half stays in one ``.1`` beside it. A full disk
    loses lines, never the model.
    """

    def __init__(self, path: Path, *, limit: int = 8 * 1024 * 1024) -> None:
        self._place = str(path)  # a Path takes five times as much
        self._limit = limit
        self._file: BinaryIO | None = None
        self._tails: dict[str, deque[str]] = {}

    @property
    def _path(self) -> Path:
        return Path(self._place)

    def write(self, replica: str, text: str) -> None:
        """Append the lines of ``text``, which the replica's process printed."""
        self._tails.setdefault(replica, deque(maxlen=200)).extend(text.splitlines())
        self.note(replica, text)

    def note(self, replica: str, text: str) -> None:
        """Append what the node has to say about the replica."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        lines = text.splitlines()
        data = "".join(f"{stamp} {replica} {line}\n" for line in lines).encode("utf-8", "replace")
        with contextlib.suppress(OSError):
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("ab", buffering=0)
            if self._file.tell() + len(data) > self._limit:
                self._file.close()
                self._path.replace(self._path.with_suffix(".log.1"))
                self._file = self._path.open("ab", buffering=0)
            self._file.write(data)

    def last_lines(self, replica: str) -> list[str]:
        """Up to 200 lines that this replica wrote last."""
        return list(self._tails.get(replica, ()))

    def forget(self, replica: str) -> None:
        """The replica is gone and its lines are in the file."""
        self._tails.pop(replica, None)

    def close(self) -> None:
        """Close the file; writing again opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None


def tail(path: Path, count: int) -> str:
    """The last ``count`` lines of a log, from its ``.1`` too when it is there; empty without a log."""
    lines: list[bytes] = []
    for part in (path, path.with_suffix(".log.1")):
        if len(lines) < count and part.is_file():
            lines = _last(part, count - len(lines)) + lines
    return b"".join(lines).decode("utf-8", "replace")


def _last(path: Path, count: int) -> list[bytes]:
    """The last lines of one file, read backwards in blocks: logs can be long."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        data = b""
        while end > 0 and data.count(b"\n") <= count:
            start = max(0, end - 65536)
            file.seek(start)
            data = file.read(end - start) + data
            end = start
    return data.splitlines(keepends=True)[-count:] if count else []
