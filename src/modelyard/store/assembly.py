"""Puts a pieced blob together, whole or in part; what is damaged is told and never handed out."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from modelyard.core.errors import Internal
from modelyard.store.build import Build, decoded
from modelyard.store.codec import NAMES
from modelyard.store.durable import disk_error
from modelyard.store.pack import Kept, read_index
from modelyard.store.piece_name import is_named
from modelyard.store.place import Place

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
        data = decoded(kept, self._place.read(kept.pack, kept.offset, kept.stored))
        if data is None or not is_named(kept.digest, data):
            raise Damaged(
                f"The piece {kept.digest.hex()} in {self._place.name}/{kept.pack} is damaged.", b"", [kept]
            )
        return bytes(data)

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

    def build(
        self, digest: bytes, composition: Sequence[Kept], place: Path, *, pack: str | None = None
    ) -> None:
        """The blob as a file at ``place``, on the disk and checked. Raises Damaged, Unavailable for a full disk.

        Each piece is compared with its digest. The whole is compared, too, unless ``pack`` says of it that these pieces
        are what it is made of.
        """
        known = pack is not None and self.compared(pack, digest, composition)
        try:
            with place.open("x+b", buffering=0) as file:
                right, wrong = Build(self._place, file.fileno()).run(composition, None if known else digest)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise disk_error(error, place.parent) or error from error
        if right and not wrong:
            return
        names = ", ".join(f"{each.pack} at {each.offset} ({NAMES[each.codec]})" for each in wrong[:3])
        raise Damaged(
            f"The blob {digest.hex()} is damaged in {self._place.name}: {names or 'its composition is wrong'}. It is not "
            "served. Look with: modelyard store verify --deep --repair",
            digest,
            wrong,
        )

    def compared(self, pack: str, digest: bytes, composition: Sequence[Kept]) -> bool:
        """Whether a pack's index, which its name is the digest of, has this composition as one that was compared.

        Raises FileNotFoundError for a pack that went meanwhile.
        """
        try:
            size = self._place.size(pack)
            index = read_index(pack, size, lambda offset, length: self._place.read(pack, offset, length))
        except Internal:
            return False
        return any(
            each.compared
            and each.digest == digest
            and [(kept.digest, kept.size) for kept in each.pieces]
            == [(kept.digest, kept.size) for kept in composition]
            for each in index.compositions
        )

    def forget(self) -> None:
        """Drop the pieces that are kept for reads of small parts."""
        with self._lock:
            self._recent.clear()

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
