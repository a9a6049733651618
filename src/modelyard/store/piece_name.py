"""The name of a piece: a digest of its bytes that says which digest it is, as multihash does (0x1e, 0x20: BLAKE3).

Files are named by SHA-256, as the world outside names them. Pieces are met by nobody outside, and compared whenever a
file is put together of them: BLAKE3 takes a third of the time. A piece of before decision 37, and one
that is a whole small blob (see ``gathering``), has 32 bytes of SHA-256.
"""

import hashlib
from typing import Final, Protocol

import blake3

_BLAKE3: Final = b"\x1e\x20"


class Hashing(Protocol):
    """What takes bytes part by part."""

    def update(self, data: bytes | bytearray | memoryview, /) -> object:
        """Take more bytes."""
        ...

    def digest(self) -> bytes:
        """Of all bytes that were taken."""
        ...


def name_of(data: bytes | bytearray | memoryview) -> bytes:
    """The name of a new piece."""
    return _BLAKE3 + blake3.blake3(data).digest()


def is_named(name: bytes, data: bytes | bytearray | memoryview) -> bool:
    """Whether ``data`` are the bytes of the piece ``name``; of bytes with an empty name nothing is known."""
    check = Checking(name)
    check.update(data)
    return check.right()


class Checking:
    """Compares bytes that come part by part with the name that they should have."""

    def __init__(self, name: bytes) -> None:
        self._name = name
        self._hash: Hashing | None = None
        if name.startswith(_BLAKE3) and len(name) == 34:
            self._hash = blake3.blake3()
        elif name:
            self._hash = hashlib.sha256()

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take more bytes."""
        if self._hash is not None:
            self._hash.update(data)

    def right(self) -> bool:
        """Whether all bytes that came are those of the name."""
        if self._hash is None:
            return True
        return self._name[-32:] == self._hash.digest() and len(self._name) in (32, 34)
