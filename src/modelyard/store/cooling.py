"""Keeps a blob that nobody used for long as small as it gets: read once where it lies, written as a pack of pieces.

Nothing but the pack is written on this machine, and no file of the cache is made or used: those are for what is served.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from modelyard.core.errors import Conflict
from modelyard.store.blob_rows import BlobRow
from modelyard.store.borders import Source, Unreadable, cut
from modelyard.store.codec import PAYS, encode
from modelyard.store.pack import Composition, Kept, PackWriter
from modelyard.store.piece_name import name_of
from modelyard.store.pieces import Pieces
from modelyard.store.place import Place
from modelyard.store.settling import Settled

_WINDOW: Final = 16 * 1024 * 1024  # bytes that are asked for at once
_ATTEMPTS: Final = 3


class Cooling:
    """Of the blobs of one place. ``incoming`` gives a path for a pack on its way."""

    def __init__(self, place: Place, pieces: Pieces, incoming: Callable[[], Path]) -> None:
        self._place = place
        self._pieces = pieces
        self._incoming = incoming

    def cool(self, row: BlobRow) -> Settled | None:
        """Keep a blob that is its own pack as pieces; whole as it is when that saves less than a twentieth.

        None, and nothing is done, for one that is damaged, and when somebody else was faster: cooled or collected it.
        Killed at any instant, and beside whoever reads, collects or cools the same, it is there whole or pieced.
        Raises Conflict when others collect what it refers to again and again, Unavailable for a full disk or a
        bucket that is away.
        """
        for _ in range(_ATTEMPTS):
            writer = PackWriter(self._incoming())
            try:
                order = self._write(row, writer)
                if order is None:
                    return None
                whole = Composition(digest=row.digest, size=row.size, pieces=tuple(order), compared=True)
                key, index = writer.finish((whole,))
                if writer.size > PAYS * row.size:
                    return Settled(True, row.size, row.size)
                self._place.keep(writer.place, key)
            finally:
                writer.discard()
            found = [each.at(key) for each in index.pieces]
            names = [each.digest for each in order]
            if self._pieces.add_pieced(row.digest, row.size, key, writer.size, found, names, own=row.pack):
                return Settled(False, row.size, writer.size)
            self._place.delete(key)  # nobody has heard of it
            if self._pieces.blob(row.digest) != row:
                return None
        raise Conflict(
            f"What the blob {row.digest.hex()} has in common with others was collected meanwhile; try again."
        )

    def _write(self, row: BlobRow, writer: PackWriter) -> list[Kept] | None:
        """The pieces of a blob in order, those written that nobody else has; not all when they are too many to pay.
        None for one that is not there any more, or is not what its digest says."""
        source, hashed = _Object(self._place, row), hashlib.sha256()
        order: list[Kept] = []
        seen: dict[bytes, Kept] = {}
        try:
            for batch in _batches(source):
                known = self._pieces.known({name for name, _ in batch})
                for name, data in batch:
                    hashed.update(data)
                    kept = seen.get(name) or known.get(name)
                    if kept is None or kept.pack == row.pack:
                        codec, encoded = encode(data)
                        kept = writer.add(name, len(data), codec, encoded)
                    seen[name] = kept
                    order.append(kept)
                if writer.size > PAYS * row.size:
                    return order
        except (FileNotFoundError, Unreadable):
            return None
        return order if hashed.digest() == row.digest else None


class _Object(Source):
    """A blob that is an object itself, read where it lies."""

    def __init__(self, place: Place, row: BlobRow) -> None:
        super().__init__(row.size, _WINDOW)
        self._place = place
        self._key = row.pack

    def _exactly(self, offset: int, length: int) -> bytes:
        data = self._place.read(self._key, offset, length)
        if len(data) < length:
            raise Unreadable("the object is shorter than its row says")
        return data


def _batches(source: Source) -> Iterator[list[tuple[bytes, bytes]]]:
    """The pieces of a blob with their names: so many at a time as the rows are asked about at once."""
    batch: list[tuple[bytes, bytes]] = []
    size = 0
    for offset, length in cut(source):
        data = source.read(offset, length)
        batch.append((name_of(data), data))
        size += length
        if size >= _WINDOW:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
