"""Where the members of a zip lie: the tensors of what torch.save writes, the arrays of an .npz."""

import io
import struct
import zipfile
import zlib

from modelyard.store.borders.source import Source, Unreadable

_LOCAL = struct.Struct("<4s22xHH")  # a member's own header: its mark, the lengths of name and extra
_ERRORS = (zipfile.BadZipFile, struct.error, ValueError, OSError, NotImplementedError, EOFError, zlib.error)


def fits(head: bytes, size: int) -> bool:
    """Whether the first bytes are those of a zip."""
    return head[:4] == b"PK\3\4"


def spans(source: Source) -> list[tuple[int, int]]:
    """Offset and length of the bytes of each member, as they are stored. Raises Unreadable."""
    found: list[tuple[int, int]] = []
    try:
        with zipfile.ZipFile(_File(source)) as opened:
            members = opened.infolist()
    except _ERRORS as error:
        raise Unreadable(str(error)) from error
    for member in members:
        mark, name, extra = _LOCAL.unpack(source.read(member.header_offset, _LOCAL.size))
        if mark != b"PK\3\4":
            raise Unreadable("a member is not where the directory says")
        found.append((member.header_offset + _LOCAL.size + name + extra, member.compress_size))
    return found


class _File(io.RawIOBase):
    """A source as zipfile wants it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._position, self._source.size)[whence]
        if base + offset < 0:
            raise ValueError("a negative place in the file")
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        left = max(self._source.size - self._position, 0)
        data = self._source.read(self._position, left if size < 0 else min(size, left))
        self._position += len(data)
        return data
