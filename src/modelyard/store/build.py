"""A blob on its way from its pieces into a file: several are read, compared and written in their places at a time."""

import hashlib
import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Final

from modelyard.core.errors import Internal
from modelyard.store.codec import RAW, decode
from modelyard.store.pack import Kept
from modelyard.store.piece_name import Checking, is_named
from modelyard.store.place import Place

_STRIDE: Final = (
    256 * 1024
)  # bytes that a processor's cache still has when they were hashed and are written
_RUN: Final = 8 * 1024 * 1024  # bytes that are asked for at once where pieces lie one after the other
_FLUSH: Final = 0.05  # seconds between flushes
_AT_ONCE_ELSEWHERE: Final = 4

_At = tuple[int, Kept]  # a piece, and where it belongs in the file


class Build:
    """Of one blob into the open file ``descriptor``, which nobody else writes.

    Where a piece belongs is known from the start, so that no thread waits for another: each reads a piece, compares it
    with its digest and writes it. The disk is at work all the while.
    """

    def __init__(self, place: Place, descriptor: int) -> None:
        self._place = place
        self._file = descriptor
        self._local = threading.local()
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._packs: dict[str, int] = {}

    def run(self, composition: Sequence[Kept], digest: bytes | None) -> tuple[bool, list[Kept]]:
        """Write all pieces and flush them; the second are those that were not what their digests say, which were left
        out. The first: whether the whole has ``digest``, where one is given.

        Raises OSError of the disk, FileNotFoundError for a pack that went meanwhile.
        """
        here = self._place.root is not None
        copy = self._here if here else self._elsewhere
        threads = min(4, os.cpu_count() or 1) if here else _AT_ONCE_ELSEWHERE
        hashed, stop, position = hashlib.sha256(), threading.Event(), 0
        wrong: list[Kept] = []
        with self._stack, ThreadPoolExecutor(threads + 1) as pool:
            flushing = pool.submit(self._flush, stop)
            try:
                with closing(_each(pool, copy, _runs(composition))) as written:
                    for size, bad in written:
                        wrong += bad
                        if digest is not None and not wrong:
                            self._follow(hashed.update, position, size)
                        position += size
            finally:
                stop.set()
            flushing.result()
            os.fsync(self._file)
        return digest is None or hashed.digest() == digest, wrong

    def _here(self, run: Sequence[_At]) -> list[Kept]:
        """Copy pieces from files of this machine."""
        wrong: list[Kept] = []
        for position, kept in run:
            pack = self._pack(kept.pack)
            if kept.codec != RAW:
                data = os.pread(pack, kept.stored, kept.offset)
                self._one(kept, data, position, wrong)
                continue
            buffer = self._buffer()
            check, done = Checking(kept.digest), 0
            while done < kept.size:
                count = os.preadv(pack, [buffer[: kept.size - done]], kept.offset + done)
                if count == 0:
                    break
                check.update(buffer[:count])
                _write(self._file, buffer[:count], position + done)
                done += count
            if done != kept.size or not check.right():
                wrong.append(kept)
        return wrong

    def _elsewhere(self, run: Sequence[_At]) -> list[Kept]:
        """Fetch pieces that lie one after the other by one request."""
        wrong: list[Kept] = []
        first = run[0][1]
        data = memoryview(self._place.read(first.pack, first.offset, sum(kept.stored for _, kept in run)))
        start = 0
        for position, kept in run:
            self._one(kept, data[start : start + kept.stored], position, wrong)
            start += kept.stored
        return wrong

    def _one(self, kept: Kept, data: bytes | memoryview, position: int, wrong: list[Kept]) -> None:
        plain = decoded(kept, data)
        if plain is None or not is_named(kept.digest, plain):
            wrong.append(kept)
            return
        _write(self._file, memoryview(plain), position)

    def _follow(self, update: Callable[[memoryview], None], position: int, size: int) -> None:
        """Hash what was just written, which is in memory still."""
        buffer, end = memoryview(bytearray(_STRIDE)), position + size
        while position < end:
            count = os.preadv(self._file, [buffer[: end - position]], position)
            if count == 0:
                return
            update(buffer[:count])
            position += count

    def _flush(self, stop: threading.Event) -> None:
        while not stop.wait(_FLUSH):
            os.fdatasync(self._file)

    def _buffer(self) -> memoryview:
        buffer = getattr(self._local, "buffer", None)
        if buffer is None:
            buffer = self._local.buffer = memoryview(bytearray(_STRIDE))
        return buffer

    def _pack(self, key: str) -> int:
        """The open file of a pack. Raises FileNotFoundError."""
        with self._lock:
            if key not in self._packs:
                path = self._place.path(key)
                assert path is not None
                self._packs[key] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                self._stack.callback(os.close, self._packs[key])
            return self._packs[key]


def decoded(kept: Kept, data: bytes | memoryview) -> bytes | memoryview | None:
    """The plain bytes of a piece; None for what cannot be read back."""
    if len(data) != kept.stored:
        return None
    if kept.codec == RAW:
        return data
    try:
        return decode(kept.codec, data, kept.size)
    except Internal:
        return None


def _each(
    pool: ThreadPoolExecutor, copy: Callable[[list[_At]], list[Kept]], runs: Iterator[list[_At]]
) -> Generator[tuple[int, list[Kept]], None, None]:
    """Of each run in order, once it is written: its bytes, and which of its pieces are wrong."""
    all_runs = list(runs)
    for run, wrong in zip(all_runs, pool.map(copy, all_runs), strict=True):
        yield sum(kept.size for _, kept in run), wrong


def _runs(composition: Sequence[Kept]) -> Iterator[list[_At]]:
    """Pieces that lie raw and one after the other in a pack are read at once."""
    run: list[_At] = []
    size = position = 0
    for kept in composition:
        last = run[-1][1] if run else None
        if (
            last is not None
            and kept.codec == RAW == last.codec
            and kept.pack == last.pack
            and kept.offset == last.offset + last.stored
            and size + kept.stored <= _RUN
        ):
            run.append((position, kept))
            size += kept.stored
        else:
            if run:
                yield run
            run, size = [(position, kept)], kept.stored
        position += kept.size
    if run:
        yield run


def _write(descriptor: int, data: memoryview, position: int) -> None:
    while data:
        count = os.pwrite(descriptor, data, position)
        data, position = data[count:], position + count
