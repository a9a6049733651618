"""Gives the bytes of blobs, wherever they are: whole files, pieces in packs, objects in a bucket, the cache."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Final, TypeVar

from modelyard.core.errors import InvalidInput, NotFound
from modelyard.core.manifest import check_digest
from modelyard.store.assembly import Assembly, Damaged
from modelyard.store.blob_rows import BlobRow
from modelyard.store.cache import Cache
from modelyard.store.incoming import Incoming
from modelyard.store.mending import Mending
from modelyard.store.pack import Kept
from modelyard.store.pieces import Pieces
from modelyard.store.place import Place

CHUNK: Final = 1024 * 1024
_ATTEMPTS: Final = 3
_T = TypeVar("_T")


class BlobReader:
    """Reads what a store keeps. Any thread may use it, while others write, pack anew and collect."""

    def __init__(self, root: Path, pieces: Pieces | None, remote: Place | None) -> None:
        self._root = root.absolute()
        self._incoming = Incoming(self._root / "incoming")
        self.remote = remote is not None
        self.place = remote or Place.local(self._root)
        self.pieces = pieces
        self.cache = Cache(self._root / "cache")
        self.assembly = Assembly(self.place)

    def has(self, sha256: str) -> bool:
        """Whether the blob is there."""
        try:
            self.size(sha256)
        except NotFound:
            return False
        return True

    def size(self, sha256: str) -> int:
        """Bytes. Raises NotFound."""
        check_digest(sha256)
        if not self.remote:
            with suppress(FileNotFoundError):
                return self.place.size(key_of(sha256))
        return self._row(sha256).size

    def open(self, sha256: str) -> Iterator[bytes]:
        """All bytes, in parts of some megabytes at most. Raises NotFound at once, Damaged on the way."""
        self.size(sha256)
        return self._stream(sha256)

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``, fewer at the end. Raises NotFound, Damaged."""
        end = min(offset + length, self.size(sha256))
        if offset < 0 or length < 0:
            raise InvalidInput("An offset and a length are not negative.")
        if end <= offset:
            return b""
        return self._found(sha256, lambda: self._read(sha256, offset, end - offset))

    def verify(self, sha256: str) -> bool:
        """Read the blob where it is kept and say whether it is still what its name says. Raises NotFound."""
        hashed = hashlib.sha256()
        parts = self.open(sha256)
        try:
            for part in parts:
                hashed.update(part)
        except (Damaged, NotFound, FileNotFoundError):  # there is a row, and something of it is gone
            return False
        return hashed.hexdigest() == sha256

    def path(self, sha256: str) -> Path:
        """A file with the bytes of a blob: its own, or one in the cache, made when it is not there.

        Somebody may remove it at any time; whoever needs it links it. Raises NotFound, Damaged, Unavailable.
        """
        if not self.remote and self._whole(sha256).is_file():
            return self._whole(sha256)
        row = self._row(sha256)
        found = self.cache.find(sha256)
        if found is not None and found.stat().st_size == row.size:
            return found
        return self._found(sha256, lambda: self._fetch(sha256))

    def _stream(self, sha256: str) -> Iterator[bytes]:
        if not self.remote:
            with suppress(FileNotFoundError):
                yield from self.place.stream(key_of(sha256), CHUNK)
                return
        row = self._row(sha256)
        if row.whole:
            parts = self._found(sha256, lambda: self._begun(sha256))
            if parts is not None:
                yield from parts
                return
            row = self._row(sha256)  # it became pieced meanwhile
        for kept in self._composition(row):
            yield self._piece(sha256, kept)

    def _begun(self, sha256: str) -> Iterator[bytes] | None:
        """The parts of a whole blob, of which the first one has come; None for one that is not whole."""
        row = self._row(sha256)
        if not row.whole:
            return None
        parts = self.place.stream(row.pack, CHUNK)
        return chain([next(parts, b"")], parts)

    def _piece(self, sha256: str, kept: Kept) -> bytes:
        def read() -> bytes:
            assert self.pieces is not None
            now = self.pieces.known([kept.digest]).get(kept.digest)
            if now is None:
                raise FileNotFoundError(kept.pack)
            return self.assembly.piece(now)

        try:
            return self.assembly.piece(kept)
        except FileNotFoundError:
            return self._found(sha256, read)

    def _read(self, sha256: str, offset: int, length: int) -> bytes:
        if not self.remote:
            with suppress(FileNotFoundError):
                return self.place.read(key_of(sha256), offset, length)
        row = self._row(sha256)
        found = self.cache.find(sha256)
        if found is not None:
            with found.open("rb") as file:
                file.seek(offset)
                return file.read(length)
        if row.whole:
            return self.place.read(row.pack, offset, length)
        return self.assembly.range(self._composition(row), offset, length)

    def _fetch(self, sha256: str) -> Path:
        """Make the file of the cache. FileNotFoundError when a pack went meanwhile."""
        row = self._row(sha256)
        place = self._incoming.place()
        try:
            if row.whole:
                whole = whole_of(row, CHUNK * 8)
                self.assembly.build(row.digest, whole, place)
            else:
                self._built(row, place)
            if self.pieces is not None:
                self.pieces.touch(row.digest)
            return self.cache.keep(place, sha256)
        finally:
            place.unlink(missing_ok=True)

    def _built(self, row: BlobRow, place: Path) -> None:
        """Put it together; of damaged pieces once more, when they could be mended."""
        # From a bucket the whole is compared while it comes, for less than asking for the pack's index would take.
        pack = None if self.remote else row.pack
        try:
            self.assembly.build(row.digest, self._composition(row), place, pack=pack)
        except Damaged as error:
            assert self.pieces is not None
            place.unlink(missing_ok=True)
            mending = Mending(self.place, self.pieces, self.cache, self._incoming.place)
            if not error.pieces or not mending.mend(row, error.pieces):
                raise
            self.assembly.build(row.digest, self._composition(row), place)

    def _found(self, sha256: str, call: Callable[[], _T]) -> _T:
        """What ``call`` gives; again with fresh rows when what it reads was moved meanwhile. Raises NotFound."""
        for _ in range(_ATTEMPTS):
            try:
                return call()
            except FileNotFoundError:
                continue
        raise NotFound(f"There is no blob {sha256}.", field="sha256")

    def _row(self, sha256: str) -> BlobRow:
        check_digest(sha256)
        row = None if self.pieces is None else self.pieces.blob(bytes.fromhex(sha256))
        if row is None or (row.whole and not self.remote):
            raise NotFound(f"There is no blob {sha256}.", field="sha256")
        return row

    def _composition(self, row: BlobRow) -> list[Kept]:
        assert self.pieces is not None
        return self.pieces.composition(row.digest)

    def _whole(self, sha256: str) -> Path:
        check_digest(sha256)
        return self._root / key_of(sha256)


def key_of(sha256: str) -> str:
    """Where a blob lies that is kept whole."""
    return f"objects/{sha256[:2]}/{sha256}"


def is_file_of(path: Path, sha256: str) -> bool:
    """Whether a file has the bytes of a digest. Raises FileNotFoundError."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def sha256_of(key: str) -> str | None:
    """The blob that lies at ``key``; None for what is none."""
    folder, _, name = key.removeprefix("objects/").partition("-")[0].partition("/")
    return name if len(name) == 64 and name.startswith(folder) and key.startswith("objects/") else None


def whole_of(row: BlobRow, part: int) -> list[Kept]:
    """A blob that is a pack itself, as raw parts of it; only the whole has a digest."""
    return [
        Kept(digest=b"", pack=row.pack, offset=start, stored=length, size=length, codec=0)
        for start in range(0, row.size, part)
        for length in (min(part, row.size - start),)
    ]
