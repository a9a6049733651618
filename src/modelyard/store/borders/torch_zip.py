"""Where the members of a zip lie: the tensors of what torch.save writes, the arrays of an .npz."""

import struct
import zipfile
import zlib

from modelyard.host.seekable import Seekable
from modelyard.store.borders.source import MOST, Source, Unreadable

_LOCAL = struct.Struct("<4s22xHH")  # a member's own header: its mark, the lengths of name and extra
_ERRORS = (zipfile.BadZipFile, struct.error, ValueError, OSError, NotImplementedError, EOFError, zlib.error)


def fits(head: bytes, size: int) -> bool:
    """Whether the first bytes are those of a zip."""
    return head[:4] == b"PK\3\4"


def spans(source: Source) -> list[tuple[int, int]]:
    """Offset and length of the bytes of each member, as they are stored. Raises Unreadable."""
    found: list[tuple[int, int]] = []
    try:
        with zipfile.ZipFile(Seekable(source, MOST)) as opened:
            members = opened.infolist()
    except _ERRORS as error:
        raise Unreadable(str(error)) from error
    for member in members:
        mark, name, extra = _LOCAL.unpack(source.read(member.header_offset, _LOCAL.size))
        if mark != b"PK\3\4":
            raise Unreadable("a member is not where the directory says")
        found.append((member.header_offset + _LOCAL.size + name + extra, member.compress_size))
    return found
