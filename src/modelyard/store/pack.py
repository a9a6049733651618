"""A pack that holds pieces of several blobs, and says so itself: a lost database is made anew from packs.

The pieces as they are kept, then the index (msgpack, in zstd), then 48 bytes: the mark, the index's length, its SHA-256.
"""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import zstandard

from modelyard.core.errors import Internal
from modelyard.core.struct import Noun
from modelyard.store.durable import disk_error

_MARK: Final = b"MYPACK1\n"
TAIL: Final = len(_MARK) + 8 + 32
_MOST: Final = 256 * 1024 * 1024  # bytes of an index


class Kept(Noun, array_like=True):
    """A piece and where it is: its name (see ``piece_name``), the pack's key, offset and length there, its own length, codec."""

    digest: bytes
    pack: str
    offset: int
    stored: int
    size: int
    codec: int

    def at(self, key: str) -> "Kept":
        """The same, in the pack of ``key``."""
        return msgspec.structs.replace(self, pack=key)


class Composition(Noun, array_like=True):
    """How a blob is put together: its SHA-256, its size, its pieces in order.

    A piece of this pack is only named; of another one it is said where it was when this was written. ``compared``: the
    digests of the pieces and that of the whole were taken in one reading of the same bytes, so that whoever finds each
    piece right has the right whole.
    """

    digest: bytes
    size: int
    pieces: tuple[Kept, ...]
    compared: bool = False  # packs of before do not say it


class Index(Noun):
    """What is in a pack. In it the pack's own key is an empty text: it follows from the index.

    No two packs have one key, also of the same pieces: whoever removes one never meets one that was just written.
    """

    pieces: tuple[Kept, ...]
    compositions: tuple[Composition, ...]
    nonce: bytes


class PackWriter:
    """Writes a pack at ``place``. Raises Unavailable when the disk is full."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._file = place.open("xb", buffering=1024 * 1024)
        self._pieces: list[Kept] = []
        self.size = 0

    def add(self, digest: bytes, size: int, codec: int, data: bytes) -> Kept:
        """Append a piece of ``size`` bytes that is kept as ``data``."""
        kept = Kept(digest=digest, pack="", offset=self.size, stored=len(data), size=size, codec=codec)
        self._write(data)
        self._pieces.append(kept)
        return kept

    def finish(self, compositions: tuple[Composition, ...]) -> tuple[str, Index]:
        """Write the index and close; the key of the pack, and the index."""
        index = Index(pieces=tuple(self._pieces), compositions=compositions, nonce=secrets.token_bytes(8))
        data = zstandard.ZstdCompressor(level=3).compress(msgspec.msgpack.encode(index))
        name = hashlib.sha256(data)
        self._write(data)
        self._write(_MARK + len(data).to_bytes(8, "little") + name.digest())
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise disk_error(error, self.place.parent) or error from error
        return key_of(name.hexdigest()), index

    def discard(self) -> None:
        """Close and remove what is not a pack of the store yet; nothing happens after it has moved."""
        with contextlib.suppress(OSError):  # of a full disk: what was buffered goes with the file
            self._file.close()
        self.place.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise disk_error(error, self.place.parent) or error from error
        self.size += len(data)


def key_of(name: str) -> str:
    """Where the pack of this name lies."""
    return f"packs/{name[:2]}/{name}"


def read_index(key: str, size: int, read: Callable[[int, int], bytes]) -> Index:
    """The index of the pack of ``key`` and ``size`` bytes. Raises Internal for a pack that is damaged."""
    tail = read(size - TAIL, TAIL) if size >= TAIL else b""
    length = int.from_bytes(tail[8:16], "little")
    if tail[:8] != _MARK or length > min(size - TAIL, _MOST):
        raise Internal(f"The pack {key} has no index.")
    data = read(size - TAIL - length, length)
    digest = hashlib.sha256(data)
    if digest.digest() != tail[16:] or key_of(digest.hexdigest()) != key:
        raise Internal(f"The index of the pack {key} is damaged.")
    try:
        plain = zstandard.ZstdDecompressor().decompress(data, max_output_size=_MOST)
        return msgspec.msgpack.decode(plain, type=Index)
    except (msgspec.MsgspecError, zstandard.ZstdError) as error:
        raise Internal(f"The index of the pack {key} is not understood ({error}).") from error
