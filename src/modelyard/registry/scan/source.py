"""Bytes as a scan reads them: of a file, of a part of one, of what a compressed one expands to. Never whole."""

from collections.abc import Callable, Iterator
from typing import Final, Protocol

PIECE: Final = 128 * 1024
FREE: Final = 128 * 2**20  # bytes that any file may expand to
RATIO: Final = 100  # beyond those, as many times its own size
AGAIN: Final = 8  # times that all of it may be expanded anew
DEEPEST: Final = 8
MEMBERS: Final = 100_000


class TooMuch(Exception):
    """A bound of the scan was reached: what lies behind it is not looked at."""


class Budget:
    """What looking at one file may take: bytes that it expands to, bytes that are expanded again, members."""

    def __init__(self, size: int) -> None:
        self.expanded = 0
        self.again = 0
        self.most = max(FREE, RATIO * size)
        self.members = 0

    def expand(self, new: int, again: int) -> None:
        """Count bytes, those that were not seen before and those that were. Raises TooMuch."""
        self.expanded += new
        self.again += again
        if self.again > AGAIN * self.most:
            raise TooMuch("it would have to be expanded too many times to be read")
        if self.expanded > self.most:
            raise TooMuch(
                f"it expands to more than {self.most >> 20} MiB, far more than its own size: a bomb"
            )

    def member(self) -> None:
        """Count a member of an archive. Raises TooMuch."""
        self.members += 1
        if self.members > MEMBERS:
            raise TooMuch(f"it has more than {MEMBERS:,} members")


class Source(Protocol):
    """Random access; a read at the end gives fewer bytes."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes: ...


class Bytes:
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]


class Part:
    """``length`` bytes of another source from ``start``."""

    def __init__(self, source: Source, start: int, length: int) -> None:
        self._source = source
        self._start = start
        self.size = max(0, length)

    def read(self, offset: int, length: int) -> bytes:
        return self._source.read(self._start + offset, max(0, min(length, self.size - offset)))


class Expanded:
    """What a compressed stream expands to, forward only: going back begins anew, and is counted.

    ``broken`` says why it breaks off, once that was met; what came before is there all the same.
    """

    def __init__(self, begin: Callable[[], Iterator[bytes]], budget: Budget) -> None:
        self._begin = begin
        self._budget = budget
        self._pieces = begin()
        self._start = 0
        self._piece = b""
        self._size: int | None = None
        self._furthest = 0
        self.broken: str | None = None

    @property
    def size(self) -> int:
        """Bytes in all; the first time it is expanded to its end for that."""
        while self._size is None:
            self._next()
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        if offset < self._start:
            self._pieces, self._start, self._piece = self._begin(), 0, b""
        taken: list[bytes] = []
        while length > 0:
            index = offset - self._start
            if index >= len(self._piece):
                if not self._next():
                    break
                continue
            part = self._piece[index : index + length]
            taken.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(taken)

    def _next(self) -> bool:
        reached = self._start + len(self._piece)
        try:
            piece = next(self._pieces, None)
        except Broken as error:
            self.broken = str(error)
            piece = None
        if piece is None:
            self._start, self._piece, self._size = reached, b"", reached
            self._pieces = iter(())
            return False
        new = max(0, min(len(piece), reached + len(piece) - self._furthest))
        self._furthest = max(self._furthest, reached + len(piece))
        self._budget.expand(new, len(piece) - new)
        self._start, self._piece = reached, piece
        return True


class Broken(Exception):
    """A compressed stream that breaks off, or is none."""


class LineTooLong(ValueError):
    """A line over the bound that was given."""


class Forward:
    """Reads a source from the front in small steps."""

    def __init__(self, source: Source, offset: int = 0) -> None:
        self.source = source
        self._start = offset
        self._data = b""
        self._index = 0

    @property
    def position(self) -> int:
        return self._start + self._index

    def read(self, length: int) -> bytes:
        """Exactly ``length`` bytes. Raises EOFError."""
        end = self._index + length
        if end > len(self._data):
            self._fill(length)
            end = self._index + length
        data = self._data[self._index : end]
        if len(data) < length:
            raise EOFError
        self._index = end
        return data

    def skip(self, length: int) -> None:
        """Pass over bytes; beyond the end the next read says so."""
        self._index += length

    def line(self, longest: int) -> bytes:
        """Up to the next newline, without it. At the end without its last byte, whatever that is: so Python's loader
        of pickles reads a line. Raises LineTooLong for one over ``longest`` bytes."""
        taken = b""
        while True:
            if self._index >= len(self._data):
                self._fill(1)
                if self._index >= len(self._data):
                    return taken[:-1]
            found = self._data.find(b"\n", self._index)
            stop = len(self._data) if found < 0 else found
            taken += self._data[self._index : stop]
            self._index = stop
            if len(taken) > longest:
                raise LineTooLong("a line is too long")
            if found >= 0:
                self._index += 1
                return taken

    def peek(self, length: int) -> bytes:
        if self._index + length > len(self._data):
            self._fill(length)
        return self._data[self._index : self._index + length]

    def _fill(self, length: int) -> None:
        self._start += self._index
        self._index = 0
        self._data = self.source.read(self._start, max(length, 64 * 1024))
