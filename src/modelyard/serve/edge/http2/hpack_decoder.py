"""HPACK decoding (RFC 7541): a header block to a list of headers, with the table that both sides keep.

The Huffman codes are those of python-hyper's ``hpack``; its decoder copies the rest of the block for each
literal, which makes a block of many small ones quadratic.
"""

from functools import lru_cache
from typing import Final

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from modelyard.serve.edge.http2.frames import COMPRESSION_ERROR, ConnectionError2

TABLE_SIZE: Final = 4096  # bytes, as RFC 7541 §4.1 counts them; the default of SETTINGS_HEADER_TABLE_SIZE
_OVERHEAD: Final = 32
_STATIC: Final = ((b"", b""), *((bytes(name), bytes(value)) for name, value in HeaderTable.STATIC_TABLE))
_FIRST: Final = len(_STATIC)  # the index of the newest dynamic entry

Headers = list[tuple[bytes, bytes]]


def _broken(what: str) -> ConnectionError2:
    return ConnectionError2(COMPRESSION_ERROR, what)


@lru_cache(maxsize=1024)
def _huffman(data: bytes) -> bytes:
    try:
        return decode_huffman(data)
    except HPACKDecodingError as error:
        raise _broken("a Huffman code is not one") from error


class HpackDecoder:
    """One connection's decoder. ``changes`` grows whenever the dynamic table does anything."""

    __slots__ = ("_limit", "_size", "_table", "changes")

    def __init__(self) -> None:
        self._table: Headers = list(_STATIC)
        self._size = 0
        self._limit = TABLE_SIZE
        self.changes = 0

    def decode(self, block: bytes, limit: int) -> tuple[Headers, int]:
        """The headers of ``block``, and the size of their list (RFC 9113 §6.5.2).

        Headers over ``limit`` are counted and not kept, so that the table stays right. Raises
        ConnectionError2: after an error the two tables differ, and nothing more can be read.
        """
        table = self._table
        headers: Headers = []
        total = position = 0
        end = len(block)
        may_resize = True
        while position < end:
            first = block[position]
            if first & 0x80:  # an entry of the table
                index = first & 0x7F
                position += 1
                if index == 0x7F:
                    index, position = _integer(block, position, 0x7F)
                if not 0 < index < len(table):
                    raise _broken("an index beyond the table")
                header = table[index]
            elif first & 0xE0 == 0x20:  # a new size of the table
                size = first & 0x1F
                position += 1
                if size == 0x1F:
                    size, position = _integer(block, position, 0x1F)
                if not may_resize or size > TABLE_SIZE:
                    raise _broken("a size of the table that was not agreed on")
                self._limit = size
                self._evict()
                continue
            else:
                kept = first & 0x40
                mask = 0x3F if kept else 0x0F
                index = first & mask
                position += 1
                if index == mask:
                    index, position = _integer(block, position, mask)
                if index:
                    if index >= len(table):
                        raise _broken("an index beyond the table")
                    name = table[index][0]
                else:
                    name, position = _string(block, position)
                value, position = _string(block, position)
                header = (name, value)
                if kept:
                    self._add(header)
            may_resize = False
            total += len(header[0]) + len(header[1]) + _OVERHEAD
            if total <= limit:
                headers.append(header)
        return headers, total

    def _add(self, header: tuple[bytes, bytes]) -> None:
        self._table.insert(_FIRST, header)
        self._size += len(header[0]) + len(header[1]) + _OVERHEAD
        self._evict()

    def _evict(self) -> None:
        self.changes += 1
        while self._size > self._limit:
            name, value = self._table.pop()
            self._size -= len(name) + len(value) + _OVERHEAD


def _integer(block: bytes, position: int, prefix: int) -> tuple[int, int]:
    """The rest of an integer whose prefix is full (RFC 7541 §5.1); none here is over 2^28."""
    number = prefix
    for shift in (0, 7, 14, 21):
        if position >= len(block):
            break
        byte = block[position]
        position += 1
        number += (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise _broken("a number that is too long, or cut off")


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    if position >= len(block):
        raise _broken("a block that is cut off")
    first = block[position]
    length = first & 0x7F
    position += 1
    if length == 0x7F:
        length, position = _integer(block, position, 0x7F)
    text = block[position : position + length]
    if len(text) != length:
        raise _broken("a block that is cut off")
    return (_huffman(text) if first & 0x80 else text), position + length
