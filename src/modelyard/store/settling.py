"""Looks at a blob for pieces that are there already, and keeps only the others when that pays."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from modelyard.core.errors import Conflict, Unavailable
from modelyard.store.borders import FileSource, Source, cut
from modelyard.store.codec import RAW, encode
from modelyard.store.pack import Composition, Kept, PackWriter
from modelyard.store.piece_name import name_of
from modelyard.store.pieces import Pieces
from modelyard.store.place import Place

SMALLEST: Final = 256 * 1024  # bytes of a blob that is looked at
# A pieced blob has to be put together before it is served: not for less than a part of its bytes.
PART: Final = 1 / 16
_ATTEMPTS: Final = 3


class Settled(NamedTuple):
    """What became of a blob: pieced or not, its bytes, and those that it added to the store."""

    whole: bool
    size: int
    added: int


class _Part(NamedTuple):
    digest: bytes
    offset: int
    size: int


class Settling:
    """Cuts blobs into pieces. ``incoming`` gives a path for a pack on its way."""

    def __init__(self, place: Place, pieces: Pieces, incoming: Callable[[], Path]) -> None:
        self._place = place
        self._pieces = pieces
        self._incoming = incoming

    def settle(
        self, sha256: str, path: Path, own: str, told: Iterable[tuple[int, int]] = (), *, there: bool
    ) -> Settled:
        """Look at the bytes of a blob in ``path``, whose own pack would be ``own`` (and is, when it is ``there``).

        Raises Conflict when others collect what it refers to again and again, Unavailable when the file is not that of
        ``sha256`` any more and lies nowhere else.
        """
        digest = bytes.fromhex(sha256)
        told = tuple(told)
        with FileSource(path) as source:
            parts = _compared(digest, source, told) if source.size >= SMALLEST else []
            if parts is None:
                if not there:
                    raise Unavailable(
                        f"The file {sha256} changed on this disk while it was looked at; send it again."
                    )
                parts = []  # others are not to have pieces of what is damaged
            for _ in range(_ATTEMPTS):
                known = self._pieces.known({part.digest for part in parts})
                elsewhere = {each for each, kept in known.items() if kept.pack != own}
                new = _new(parts, elsewhere)
                if not there and parts and not new and (row := self._pieces.blob(digest)) is not None:
                    self._pieces.touch(digest)
                    return Settled(row.whole, row.size, 0)  # somebody else was faster
                fresh = sum(part.size for part in new)
                if not parts or source.size - fresh < source.size * PART:
                    if not there:
                        self._place.keep(path, own)
                    found = [_raw(part, own) for part in new if part.digest not in known]
                    self._pieces.add_whole(digest, source.size, own, found)
                    return Settled(True, source.size, source.size)
                added = self._write(digest, source, parts, new, known)
                if added is not None:
                    return Settled(False, source.size, added)
        raise Conflict(
            f"What the blob {sha256} has in common with others was collected meanwhile; try again."
        )

    def _write(
        self,
        digest: bytes,
        source: Source,
        parts: list[_Part],
        new: list[_Part],
        known: dict[bytes, Kept],
    ) -> int | None:
        """Bytes of the pack that was written; None when what it refers to was collected meanwhile."""
        writer = PackWriter(self._incoming())
        try:
            kept: dict[bytes, Kept] = {}
            for part in new:
                codec, data = encode(source.read(part.offset, part.size))
                kept[part.digest] = writer.add(part.digest, part.size, codec, data)
            order = tuple(kept.get(part.digest) or known[part.digest] for part in parts)
            key, index = writer.finish(
                (Composition(digest=digest, size=source.size, pieces=order, compared=True),)
            )
            self._place.keep(writer.place, key)
        finally:
            writer.discard()
        found = [each.at(key) for each in index.pieces]
        added = self._pieces.add_pieced(
            digest, source.size, key, writer.size, found, [part.digest for part in parts]
        )
        return writer.size if added else None


def outside_of(files: Iterable[tuple[str, Path]]) -> dict[str, list[tuple[int, int]]]:
    """By path: the tensors that ONNX models among ``files`` (path, place) say are in other files."""
    from modelyard.store.borders import outside

    found: dict[str, list[tuple[int, int]]] = {}
    for path, place in files:
        if not path.lower().endswith(".onnx"):
            continue
        folder = path.rpartition("/")[0]
        with FileSource(place) as source:
            for location, offset, length in outside(source):
                name = f"{folder}/{location}" if folder else location
                found.setdefault(name, []).append((offset, length))
    return found


def _compared(digest: bytes, source: Source, told: Iterable[tuple[int, int]]) -> list[_Part] | None:
    """The parts of a blob, in order; None when it is not what its digest says.

    Both digests are of one reading: the parts, found right one by one, make up the whole.
    """
    parts: list[_Part] = []
    hashed = hashlib.sha256()
    for offset, length in cut(source, told):
        data = source.read(offset, length)
        hashed.update(data)
        parts.append(_Part(name_of(data), offset, length))
    return parts if hashed.digest() == digest else None


def _new(parts: list[_Part], elsewhere: set[bytes]) -> list[_Part]:
    """Each part once that nobody else has."""
    seen = set(elsewhere)
    new: list[_Part] = []
    for part in parts:
        if part.digest not in seen:
            seen.add(part.digest)
            new.append(part)
    return new


def _raw(part: _Part, key: str) -> Kept:
    return Kept(
        digest=part.digest, pack=key, offset=part.offset, stored=part.size, size=part.size, codec=RAW
    )
