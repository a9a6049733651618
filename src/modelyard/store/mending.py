"""Makes good what is damaged, from copies of the same bytes elsewhere: files of the cache that are still right."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from modelyard.store.blob_rows import BlobRow
from modelyard.store.cache import Cache
from modelyard.store.pack import Kept
from modelyard.store.piece_name import is_named
from modelyard.store.pieces import Pieces
from modelyard.store.place import Place
from modelyard.store.repacking import repack

_CHUNK: Final = 4 * 1024 * 1024


class Mending:
    """Of one store. Each method says whether everything it was asked for is good now."""

    def __init__(self, place: Place, pieces: Pieces, cache: Cache, incoming: Callable[[], Path]) -> None:
        self._place = place
        self._pieces = pieces
        self._cache = cache
        self._incoming = incoming

    def mend(self, row: BlobRow, damaged: Iterable[Kept]) -> bool:
        """Write the damaged pieces of a pieced blob anew, or a whole one that is a pack itself."""
        if row.whole:
            return self._whole(row)
        by_pack: dict[str, dict[bytes, bytes]] = {}
        for kept in damaged:
            data = self._copy(kept)
            if data is None:
                return False
            by_pack.setdefault(kept.pack, {})[kept.digest] = data
        return all(self._pack(key, found) for key, found in by_pack.items())

    def _copy(self, kept: Kept) -> bytes | None:
        """The bytes of a piece from a file of the cache that has it."""
        for user in self._pieces.users(kept.digest):
            path = self._cache.find(user.hex())
            if path is None:
                continue
            position = 0
            for each in self._pieces.composition(user):
                if each.digest == kept.digest:
                    with path.open("rb") as file:
                        data = os.pread(file.fileno(), each.size, position)
                    if is_named(kept.digest, data):
                        return data
                position += each.size
        return None

    def _pack(self, key: str, mended: dict[bytes, bytes]) -> bool:
        if key.startswith("objects/") and self._place.root is not None:
            return self._patched(key, mended)
        for pack in self._pieces.packs():
            if pack.key == key:
                repack(self._place, self._pieces, self._incoming, pack, mended)
                return True
        return False

    def _patched(self, key: str, mended: dict[bytes, bytes]) -> bool:
        """A blob that is a pack itself, with the mended pieces in their places, if it is right then."""
        source = self._place.path(key)
        assert source is not None
        place = self._incoming()
        try:
            shutil.copyfile(source, place)
            with place.open("r+b") as file:
                for kept in self._pieces.in_pack(key):
                    if kept.digest in mended:
                        os.pwrite(file.fileno(), mended[kept.digest], kept.offset)
            if _sha256(place) != source.name:
                return False
            self._place.keep(place, key)
        finally:
            place.unlink(missing_ok=True)
        return True

    def _whole(self, row: BlobRow) -> bool:
        """From the cache to the bucket again."""
        path = self._cache.find(row.digest.hex())
        if path is None or self._place.root is not None or _sha256(path) != row.digest.hex():
            return False
        self._place.keep(path, row.pack)
        return True


def _sha256(path: Path) -> str:
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            hashed.update(data)
    return hashed.hexdigest()
