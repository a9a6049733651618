"""Puts a pieced blob together, whole or in part; what is damaged is told and never handed out."""

import hashlib
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Final

from modelyard.core.errors import Internal
from modelyard.store.codec import NAMES, RAW, decode
from modelyard.store.durable import disk_error, sync_file
from modelyard.store.pack import Kept
from modelyard.store.place import Place

_RUN: Final = 8 * 1024 * 1024  # bytes that are read at once where pieces lie one after the other
_FLUSH: Final = 32 * 1024 * 1024
_AHEAD_HERE, _AHEAD_ELSEWHERE = 1, 4  # runs that are read before they are written
_KEPT: Final = 4  # pieces that reads of small parts find again


class Damaged(Internal):
    """Bytes in the store are not what they were. ``pieces`` are those that are wrong."""

    def __init__(self, message: str, digest: bytes, pieces: Sequence[Kept]) -> None:
        super().__init__(message)
        self.digest = digest
        self.pieces = tuple(pieces)


class Assembly:
    """Reads pieces where they lie. Any thread may use it. FileNotFoundError: a pack went meanwhile; ask the rows anew."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._recent: OrderedDict[bytes, bytes] = OrderedDict()

    def piece(self, kept: Kept) -> bytes:
        """The bytes of one piece, checked. Raises Damaged."""
        data = self._decoded(kept, self._place.read(kept.pack, kept.offset, kept.stored))
        if data is None or hashlib.sha256(data).digest() != kept.digest:
            raise Damaged(
                f"The piece {kept.digest.hex()} in {self._place.name}/{kept.pack} is damaged.", b"", [kept]
            )
        return data

    def range(self, composition: Sequence[Kept], offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset`` of a blob. Raises Damaged."""
        parts: list[bytes] = []
        position = 0
        for kept in composition:
            if position >= offset + length:
                break
            if position + kept.size > offset:
                data = self._recently(kept)
                parts.append(data[max(0, offset - position) : offset + length - position])
            position += kept.size
        return b"".join(parts)

    def stream(self, composition: Sequence[Kept]) -> Iterator[bytes]:
        """All bytes of a blob, each piece checked. Raises Damaged."""
        for kept in composition:
            yield self.piece(kept)

    def build(self, digest: bytes, composition: Sequence[Kept], place: Path) -> None:
        """The blob as a file at ``place``, on the disk and checked. Raises Damaged, Unavailable for a full disk."""
        hashed = hashlib.sha256()
        broken = False
        try:
            with place.open("xb", buffering=0) as file, ThreadPoolExecutor(2) as aside:
                pending = flushing = None
                unflushed = 0
                with closing(self._ahead(_runs(composition))) as parts:
                    for data in parts:
                        if data is None:
                            broken = True
                            break
                        if pending is not None:
                            pending.result()
                        pending = aside.submit(hashed.update, data)  # while it is written
                        _write(file.fileno(), data)
                        unflushed += len(data)
                        if unflushed >= _FLUSH and (flushing is None or flushing.done()):
                            # So that the disk is at work all the time, not at the end alone.
                            flushing, unflushed = aside.submit(os.fdatasync, file.fileno()), 0
                for each in (pending, flushing):
                    if each is not None:
                        each.result()
            if not broken and hashed.digest() == digest:
                sync_file(place)
                return
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise disk_error(error, place.parent) or error from error
        wrong = [kept for kept in composition if not self._right(kept)]
        names = ", ".join(f"{each.pack} at {each.offset} ({NAMES[each.codec]})" for each in wrong[:3])
        raise Damaged(
            f"The blob {digest.hex()} is damaged in {self._place.name}: {names or 'its composition is wrong'}. It is not "
            "served. Look with: modelyard store verify --deep --repair",
            digest,
            wrong,
        )

    def forget(self) -> None:
        """Drop the pieces that are kept for reads of small parts."""
        with self._lock:
            self._recent.clear()

    def _right(self, kept: Kept) -> bool:
        try:
            self.piece(kept)
        except Damaged:
            return False
        return True

    def _recently(self, kept: Kept) -> bytes:
        with self._lock:
            found = self._recent.get(kept.digest)
            if found is not None:
                self._recent.move_to_end(kept.digest)
                return found
        data = self.piece(kept)
        with self._lock:
            self._recent[kept.digest] = data
            while len(self._recent) > _KEPT:
                self._recent.popitem(last=False)
        return data

    def _ahead(self, runs: Iterator[list[Kept]]) -> Generator[bytes | None, None, None]:
        """The bytes of each run, of which some are read before they are asked for."""
        ahead = _AHEAD_ELSEWHERE if self._place.root is None else _AHEAD_HERE
        with ThreadPoolExecutor(ahead) as readers:
            waiting = deque(readers.submit(self._run, run) for run in islice(runs, ahead))
            try:
                while waiting:
                    data = waiting.popleft().result()
                    waiting.extend(readers.submit(self._run, run) for run in islice(runs, 1))
                    yield data
            finally:
                for each in waiting:
                    each.cancel()

    def _run(self, run: Sequence[Kept]) -> bytes | None:
        """The bytes of pieces that lie one after the other; None for what cannot be read back."""
        first = run[0]
        data = self._place.read(first.pack, first.offset, sum(kept.stored for kept in run))
        return data if first.codec == RAW else self._decoded(first, data)

    @staticmethod
    def _decoded(kept: Kept, data: bytes) -> bytes | None:
        if len(data) != kept.stored:
            return None
        try:
            return decode(kept.codec, data, kept.size)
        except Internal:
            return None


def _runs(composition: Sequence[Kept]) -> Iterator[list[Kept]]:
    """Pieces that lie raw and one after the other in a pack are read at once."""
    run: list[Kept] = []
    size = 0
    for kept in composition:
        if (
            run
            and kept.codec == RAW == run[-1].codec
            and kept.pack == run[-1].pack
            and kept.offset == run[-1].offset + run[-1].stored
            and size + kept.stored <= _RUN
        ):
            run.append(kept)
            size += kept.stored
            continue
        if run:
            yield run
        run, size = [kept], kept.stored
    if run:
        yield run


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
