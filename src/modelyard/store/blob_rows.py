"""The rows below the files as nouns, and the queries that give them."""

from typing import Any, NamedTuple

from sqlalchemy import select

from modelyard.store.pack import Kept
from modelyard.store.tables import blobs, packs, pieces

select_kept = select(
    pieces.c.digest, packs.c.key, pieces.c.offset, pieces.c.stored, pieces.c.size, pieces.c.codec
).join(packs, packs.c.id == pieces.c.pack_id)


class BlobRow(NamedTuple):
    """A blob that has a row. ``pack`` is the key of its own pack, or of the one with its composition."""

    id: int
    digest: bytes
    size: int
    whole: bool
    pack: str
    created: float
    used: float


class PackRow(NamedTuple):
    """A pack. ``live`` are the bytes in it that a pieced blob refers to, ``whole`` says that it is a blob itself."""

    key: str
    size: int
    created: float
    live: int
    whole: bool


def select_blobs() -> Any:
    """Blobs, as :class:`BlobRow` has them."""
    return select(
        blobs.c.id, blobs.c.digest, blobs.c.size, blobs.c.whole, packs.c.key, blobs.c.created, blobs.c.used
    ).join(packs, packs.c.id == blobs.c.pack_id)


def kept_of(row: Any) -> Kept:
    """A row of ``select_kept``."""
    return Kept(digest=bytes(row[0]), pack=row[1], offset=row[2], stored=row[3], size=row[4], codec=row[5])
