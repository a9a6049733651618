"""Header blocks of answers: literals that no table keeps (RFC 7541 §6.2.2), so that blocks can be made once."""

from functools import lru_cache
from typing import Final

# The indices of the static table (RFC 7541, appendix A) that answers have a use for.
_STATUSES: Final = {200: 8, 204: 9, 206: 10, 304: 11, 400: 12, 404: 13, 500: 14}
_NAMES: Final = {b":status": 8, b"content-length": 28, b"content-type": 31, b"retry-after": 53}


def _length(size: int) -> bytes:
    if size < 0x7F:
        return bytes((size,))
    parts = bytearray((0x7F,))
    size -= 0x7F
    while size >= 0x80:
        parts.append(size & 0x7F | 0x80)
        size >>= 7
    parts.append(size)
    return bytes(parts)


def literal(name: bytes, value: bytes) -> bytes:
    """One header. ``name`` is in lower case."""
    index = _NAMES.get(name)
    if index is None:
        start = b"\0" + _length(len(name)) + name
    elif index < 0x0F:
        start = bytes((index,))
    else:
        start = bytes((0x0F, index - 0x0F))
    return start + _length(len(value)) + value


@lru_cache(maxsize=256)
def status(code: int, content_type: bytes) -> bytes:
    """``:status`` and ``content-type``: the beginning of every answer."""
    index = _STATUSES.get(code)
    first = literal(b":status", b"%d" % code) if index is None else bytes((0x80 | index,))
    return first + literal(b"content-type", content_type)
