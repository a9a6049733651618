"""Puts the small blobs of a bucket together into packs.

A tokenizer, a configuration, a small model: each is an object of its own when it comes, so that two who send it need not
agree on anything. Later, when it has lain there for an hour, it becomes a piece of a pack with others. Whoever read its
row before that finds its object gone and asks the rows again.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from modelyard.store.blob_rows import BlobRow
from modelyard.store.codec import encode
from modelyard.store.pack import Composition, Kept, PackWriter
from modelyard.store.pieces import Pieces
from modelyard.store.place import Place
from modelyard.store.repacking import GRACE
from modelyard.store.settling import SMALLEST

FEWEST: Final = 32  # blobs for which a pack is written
MOST: Final = 32 * 1024 * 1024  # bytes of them in one
_MANY: Final = 4096  # of them in one
_PAGE: Final = 1000  # rows at a time
_AT_ONCE: Final = 8  # requests


def gather(place: Place, pieces: Pieces, incoming: Callable[[], Path], *, grace: float = GRACE) -> int:
    """How many blobs have become pieces of a pack. Safe beside everything, also beside another one who gathers.

    What is damaged stays where it is, to be found there. Raises Unavailable.
    """
    gathered = 0
    for batch in _batches(pieces, pieces.now() - grace):
        gathered += _pack(place, pieces, incoming, batch)
    return gathered


def _batches(pieces: Pieces, before: float) -> Iterator[Sequence[BlobRow]]:
    batch: list[BlobRow] = []
    size = last = 0
    while rows := pieces.small(SMALLEST, before=before, after=last, most=_PAGE):
        last = rows[-1].id
        for row in rows:
            batch.append(row)
            size += row.size
            if size >= MOST or len(batch) >= _MANY:
                yield batch
                batch, size = [], 0
    if len(batch) >= FEWEST:
        yield batch


def _read(place: Place, batch: Sequence[BlobRow]) -> Iterator[tuple[BlobRow, bytes]]:
    """Those that are there still, and right: some at a time, since each is waited for."""

    def read(row: BlobRow) -> bytes:
        try:
            return place.read(row.pack, 0, row.size)
        except FileNotFoundError:
            return b""  # collected, or gathered by somebody else

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for row, data in zip(batch, pool.map(read, batch), strict=True):
            if hashlib.sha256(data).digest() == row.digest:
                yield row, data


def _pack(place: Place, pieces: Pieces, incoming: Callable[[], Path], batch: Sequence[BlobRow]) -> int:
    writer = PackWriter(incoming())
    rows: list[BlobRow] = []
    try:
        compositions: list[Composition] = []
        for row, data in _read(place, batch):
            codec, encoded = encode(data)
            kept = writer.add(row.digest, row.size, codec, encoded)
            compositions.append(
                Composition(digest=row.digest, size=row.size, pieces=(kept,), compared=True)
            )
            rows.append(row)
        if not rows:
            return 0
        key, index = writer.finish(tuple(compositions))
        place.keep(writer.place, key)
    finally:
        writer.discard()
    found: list[Kept] = [each.at(key) for each in index.pieces]
    taken = pieces.gather(key, writer.size, rows, found)
    if not taken:
        place.delete(key)  # nobody has heard of it
    for row in taken:
        if pieces.drop(row.pack):
            place.delete(row.pack)
    return len(taken)
