"""Takes back what packs hold of blobs that are gone."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from modelyard.core.struct import Noun
from modelyard.store.assembly import Assembly
from modelyard.store.blob_rows import PackRow
from modelyard.store.codec import RAW, encode
from modelyard.store.pack import Composition, PackWriter
from modelyard.store.pieces import Pieces
from modelyard.store.place import Place

GRACE: Final = 3600.0  # seconds in which whoever writes a pack makes its rows
LIVES: Final = 0.5  # of a pack that is left as it is
WORTH: Final = 1024 * 1024  # dead bytes for which a pack is written anew


class Tidied(Noun):
    """Packs that were removed, those that were written anew, and the bytes that this gave back."""

    removed: int = 0
    repacked: int = 0
    freed: int = 0


def tidy(
    place: Place,
    pieces: Pieces,
    incoming: Callable[[], Path],
    *,
    grace: float = GRACE,
    clock: Callable[[], float] | None = None,
) -> Tidied:
    """Remove what nothing refers to. A reader that has asked the rows before asks them again.

    How old an object is, is told by the clock that dated it: by a fast one of ours, what somebody has just written and
    makes the rows of now would be an hour old.
    """
    removed = repacked = freed = 0
    for pack in pieces.packs():
        if pack.whole:
            continue
        if pieces.drop(pack.key):
            place.delete(pack.key)
            removed += 1
            freed += pack.size
        elif pack.live < LIVES * pack.size and pack.size - pack.live >= WORTH:
            freed += pack.size - repack(place, pieces, incoming, pack)
            repacked += 1
    prefixes = ("packs",) if place.root is not None else ("packs", "objects")
    now: float | None = None
    for prefix in prefixes:
        for found in place.objects(prefix):
            if pieces.has_pack(found.key):
                continue
            now = (clock or place.now)() if now is None else now
            if found.modified < now - grace and not pieces.has_pack(found.key):
                place.delete(found.key)
                removed += 1
                freed += found.size
    return Tidied(removed=removed, repacked=repacked, freed=freed)


def repack(
    place: Place,
    pieces: Pieces,
    incoming: Callable[[], Path],
    pack: PackRow,
    mended: dict[bytes, bytes] | None = None,
) -> int:
    """Write what lives of a pack into a new one, with the compositions that it has; bytes of the new one.

    ``mended`` are good bytes of pieces that are damaged in it. The old one goes when nothing refers to it any more
    (a blob that was settled meanwhile may). Raises Damaged.
    """
    assembly, mended = Assembly(place), mended or {}
    writer = PackWriter(incoming())
    try:
        for kept in pieces.living(pack.key):
            if kept.codec == RAW or kept.digest in mended:
                codec, data = encode(mended.get(kept.digest) or assembly.piece(kept))
            else:
                assembly.piece(kept)  # what is damaged is not made to look new
                codec, data = kept.codec, place.read(kept.pack, kept.offset, kept.stored)
            writer.add(kept.digest, kept.size, codec, data)
        digests = pieces.compositions_in(pack.key)
        compositions: list[Composition] = []
        for digest in digests:
            composition = pieces.composition(digest)
            compositions.append(
                Composition(
                    digest=digest,
                    size=sum(each.size for each in composition),
                    pieces=tuple(composition),
                    compared=assembly.compared(pack.key, digest, composition),
                )
            )
        key, index = writer.finish(tuple(compositions))
        place.keep(writer.place, key)
    finally:
        writer.discard()
    found = [each.at(key) for each in index.pieces]
    pieces.move(pack.key, key, writer.size, found, digests)
    if pieces.drop(pack.key):
        place.delete(pack.key)
    return writer.size
