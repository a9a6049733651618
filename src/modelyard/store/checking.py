"""Is everything in the store what it should be? Some blobs at a time, so that whoever asks sees how far it is."""

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

from modelyard.core.errors import Internal, NotFound
from modelyard.core.struct import Noun
from modelyard.store.assembly import Damaged
from modelyard.store.blob_reader import key_of
from modelyard.store.blob_rows import BlobRow
from modelyard.store.blobs import BlobStore
from modelyard.store.mending import Mending
from modelyard.store.pack import Index, Kept, read_index
from modelyard.store.pieces import Pieces

_RANGE: Final = 8 * 1024 * 1024  # bytes of a whole blob that are asked for at once


class Trouble(Noun):
    """A blob that is not in order: its digest, where it lies, what is wrong, and whether it is right now."""

    kind: Literal["missing", "damaged"]
    sha256: str
    place: str
    message: str
    repaired: bool = False


class Checked(Noun):
    """What was looked at: blobs and their bytes. ``last`` is where the next call goes on; None: all were."""

    blobs: int
    bytes: int
    troubles: tuple[Trouble, ...]
    last: str | None = None


class Check:
    """Of one store with its rows. ``deep`` reads every byte; ``repair`` puts right what can be. ``read`` is told how many
    bytes were read, and may take its time."""

    def __init__(
        self,
        blobs: BlobStore,
        pieces: Pieces,
        *,
        deep: bool,
        repair: bool,
        read: Callable[[int], None] = lambda count: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._blobs = blobs
        self._pieces = pieces
        self._deep = deep
        self._repair = repair
        self._clock = clock
        self._mending = Mending(blobs.place, pieces, blobs.cache, blobs.incoming)
        self._right = set[bytes]()  # pieces that were read already
        self._sizes: dict[str, int | None] = {}

    def run(self, sizes: dict[str, int], *, after: str = "", seconds: float = 10.0) -> Checked:
        """The blobs of ``sizes`` (bytes by digest) behind ``after``, until the time is over."""
        if self._repair and not after:
            rebuild(self._blobs, self._pieces, set(sizes))
        ends = self._clock() + seconds
        troubles: list[Trouble] = []
        count = total = 0
        for sha256 in sorted(each for each in sizes if each > after):
            if count and self._clock() >= ends:
                return Checked(blobs=count, bytes=total, troubles=tuple(troubles), last=after)
            trouble = self.blob(sha256, sizes[sha256])
            if trouble is not None:
                troubles.append(trouble)
            count, total, after = count + 1, total + sizes[sha256], sha256
        return Checked(blobs=count, bytes=total, troubles=tuple(troubles))

    def blob(self, sha256: str, size: int) -> Trouble | None:
        """What is, or was, wrong with one blob of so many bytes; None for one that is in order."""
        trouble = self._blob(sha256, size)
        if trouble is not None:
            self._sizes.clear()  # what was just packed anew is looked for where it is now
            trouble = self._blob(sha256, size)
        return trouble if trouble is None or not self._repair else self._mended(trouble, size)

    def _blob(self, sha256: str, size: int) -> Trouble | None:
        try:
            found = self._blobs.size(sha256)
        except NotFound:
            return Trouble(
                kind="missing", sha256=sha256, place=self._blobs.place.name,
                message="Its bytes are gone; upload the model again.",
            )  # fmt: skip
        row = self._pieces.blob(bytes.fromhex(sha256))
        path = self._blobs.place.path(key_of(sha256))
        whole = row.whole if path is None and row is not None else path is not None and path.is_file()
        if not whole and row is not None:
            return self._composition(sha256, row, size)
        key = key_of(sha256) if row is None or not row.whole else row.pack
        if self._size(key) is None:
            return Trouble(kind="missing", sha256=sha256, place=key, message="Its object is gone.")
        if found != size or self._size(key) != size:
            return Trouble(
                kind="damaged", sha256=sha256, place=key, message=f"It has {self._size(key)} bytes instead of {size}."
            )  # fmt: skip
        if self._deep and not self._whole(sha256, key, size):
            return Trouble(
                kind="damaged", sha256=sha256, place=key, message="Its bytes are not those of its digest."
            )
        return None

    def _whole(self, sha256: str, key: str, size: int) -> bool:
        """In ranges: whoever takes his time between them keeps no request waiting."""
        hashed = hashlib.sha256()
        try:
            for start in range(0, size, _RANGE):
                data = self._blobs.place.read(key, start, min(_RANGE, size - start))
                hashed.update(data)
                self._read(len(data))
        except FileNotFoundError:
            return False
        return hashed.hexdigest() == sha256

    def _composition(self, sha256: str, row: BlobRow, size: int) -> Trouble | None:
        composition = self._pieces.composition(row.digest)
        if sum(kept.size for kept in composition) != size:
            return Trouble(
                kind="damaged", sha256=sha256, place=row.pack, message="Its pieces are not all of it."
            )
        for kept in composition:
            there = self._size(kept.pack)
            if there is None or there < kept.offset + kept.stored:
                message = "A pack of its is gone." if there is None else "A pack of its is truncated."
                return Trouble(kind="missing", sha256=sha256, place=kept.pack, message=message)
        wrong = [kept for kept in composition if self._deep and not self._piece(kept)]
        if wrong:
            return Trouble(
                kind="damaged", sha256=sha256, place=wrong[0].pack,
                message=f"{len(wrong)} of its {len(composition)} pieces are damaged, the first at byte {wrong[0].offset}.",
            )  # fmt: skip
        return None

    def _piece(self, kept: Kept) -> bool:
        if kept.digest in self._right:
            return True
        try:
            self._blobs.assembly.piece(kept)
        except (Damaged, FileNotFoundError):
            return False
        finally:
            self._read(kept.stored)
        self._right.add(kept.digest)
        return True

    def _size(self, key: str) -> int | None:
        if key not in self._sizes:
            try:
                self._sizes[key] = self._blobs.place.size(key)
            except FileNotFoundError:
                self._sizes[key] = None
        return self._sizes[key]

    def _mended(self, trouble: Trouble, size: int) -> Trouble:
        row = self._pieces.blob(bytes.fromhex(trouble.sha256))
        if row is None:
            return trouble
        if row.whole and self._blobs.remote:
            self._mending.mend(row, ())
        elif row.whole:
            pieces = self._pieces.in_pack(row.pack)
            self._mending.mend(
                row._replace(whole=False), [each for each in pieces if not self._piece(each)]
            )
        else:
            composition = self._pieces.composition(row.digest)
            wrong = [kept for kept in composition if not self._piece(kept)]
            self._mending.mend(row, {kept.digest: kept for kept in wrong}.values())
        self._sizes.clear()
        if self._blob(trouble.sha256, size) is not None:
            return trouble
        return Trouble(
            kind=trouble.kind, sha256=trouble.sha256, place=trouble.place, message=trouble.message, repaired=True
        )  # fmt: skip


def rebuild(blobs: BlobStore, pieces: Pieces, needed: Iterable[str]) -> int:
    """Make the rows of pieced blobs anew that are ``needed`` and have none, from what packs say; how many.

    In a bucket also those of blobs that are kept whole.
    """
    missing = {each for each in needed if not blobs.has(each)}
    if not missing:
        return 0
    made = 0
    if blobs.remote:
        for found in blobs.place.objects("objects"):
            sha256 = found.key.rpartition("/")[2].partition("-")[0]
            if sha256 in missing:
                pieces.add_whole(bytes.fromhex(sha256), found.size, found.key, ())
                missing.discard(sha256)
                made += 1
    read = {
        found.key: (found.size, index)
        for found in blobs.place.objects("packs")
        if (index := _index(blobs, found.key, found.size)) is not None
    }
    own = {kept.digest: kept.at(key) for key, (_, index) in read.items() for kept in index.pieces}
    for key, (size, index) in read.items():
        for composition in index.compositions:
            if composition.digest.hex() not in missing:
                continue
            places = [own.get(kept.digest) or kept for kept in composition.pieces]
            if _add(blobs, pieces, composition.digest, composition.size, key, size, places):
                missing.discard(composition.digest.hex())
                made += 1
    return made


def _add(
    blobs: BlobStore,
    pieces: Pieces,
    digest: bytes,
    size: int,
    key: str,
    stored: int,
    places: Sequence[Kept],
) -> bool:
    known = pieces.known({kept.digest for kept in places})
    others: dict[str, list[Kept]] = {}
    for kept in places:
        if kept.digest not in known and kept.pack != key:
            others.setdefault(kept.pack, []).append(kept)
    for other, found in others.items():
        try:
            there = blobs.place.size(other)
            for kept in found:
                blobs.assembly.piece(kept)  # what a composition says of another pack may have been long ago
        except (FileNotFoundError, Damaged):
            return False
        pieces.add_pack(other, there, found)
    own = [kept for kept in places if kept.pack == key]
    return pieces.add_pieced(digest, size, key, stored, own, [kept.digest for kept in places])


def _index(blobs: BlobStore, key: str, size: int) -> Index | None:
    try:
        return read_index(key, size, lambda offset, length: blobs.place.read(key, offset, length))
    except Internal:
        return None
