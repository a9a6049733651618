"""An ONNX graph without its weights, which stay where they are in the file: they can be mapped, not copied.

ONNX Runtime reads a file whole, parses it, and copies each tensor out of it. A tensor that is *external* (a place
in a file: https://github.com/onnx/onnx/blob/main/docs/ExternalData.md) it maps. So the graph is written anew in
memory, with every large tensor as a place in the file that it came from. Field numbers are those of onnx.proto.
"""

import mmap
from pathlib import Path
from typing import Iterator, List, Optional, Tuple, Union

Data = Union[bytes, mmap.mmap]

SMALLEST = 1024  # bytes of a tensor that is left where it is
LARGEST = 64 * 1024 * 1024  # bytes of a graph without its weights; a larger one has them in another form
_GRAPH, _INITIALIZER, _RAW_DATA, _EXTERNAL, _LOCATION = 7, 5, 9, 13, 14
_BYTES = 2  # wire type


def skeleton(path: Path) -> "Optional[Tuple[bytes, int]]":
    """The graph in ``path``, and how many bytes of tensors lie in files. None when it cannot be had."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return read(data, path.name.encode("utf-8"))
    except (OSError, ValueError):
        return None  # whatever is wrong with it, ONNX Runtime says it better


def read(data: Data, name: bytes) -> "Optional[Tuple[bytes, int]]":
    """As :func:`skeleton`, of the bytes of the file ``name``. Raises ValueError for what is no message."""
    parts: List[bytes] = []
    left = 0
    for number, wire, begin, start, end in _fields(data, 0, len(data)):
        if number == _GRAPH and wire == _BYTES:
            graph, left = _graph(data, start, end, name)
            parts += [_key(_GRAPH, _BYTES), _varint(len(graph)), graph]
        else:
            parts.append(data[begin:end])
    whole = b"".join(parts)
    return (whole, left) if left and len(whole) <= LARGEST else None


def _graph(data: Data, start: int, end: int, name: bytes) -> "Tuple[bytes, int]":
    parts: List[bytes] = []
    left = size = 0
    for number, wire, begin, inner, stop in _fields(data, start, end):
        found = _tensor(data, inner, stop, name) if number == _INITIALIZER and wire == _BYTES else None
        if found is None:
            size += stop - begin
            if size > LARGEST:
                raise ValueError("the weights are not raw")
            parts.append(data[begin:stop])
        else:
            tensor, length = found
            left += length
            parts += [_key(_INITIALIZER, _BYTES), _varint(len(tensor)), tensor]
    return b"".join(parts), left


def _tensor(data: Data, start: int, end: int, name: bytes) -> "Optional[Tuple[bytes, int]]":
    """The tensor as one that lies in a file, and how many bytes do; None for one that is small."""
    parts: List[bytes] = []
    place: "Optional[Tuple[int, int]]" = None
    for number, wire, begin, inner, stop in _fields(data, start, end):
        if number == _RAW_DATA and wire == _BYTES:
            place = (inner, stop - inner)
        elif number == _EXTERNAL and wire == _BYTES:
            length = _length(data, inner, stop)
            if length is not None:
                return data[start:end], length
        elif stop - begin > SMALLEST:  # values of another form than raw bytes
            return None
        else:
            parts.append(data[begin:stop])
    if place is None or place[1] < SMALLEST:
        return None
    offset, length = place
    for key, value in ((b"location", name), (b"offset", b"%d" % offset), (b"length", b"%d" % length)):
        entry = b"\x0a" + _varint(len(key)) + key + b"\x12" + _varint(len(value)) + value
        parts += [_key(_EXTERNAL, _BYTES), _varint(len(entry)), entry]
    parts += [_key(_LOCATION, 0), b"\x01"]
    return b"".join(parts), length


def _length(data: Data, start: int, end: int) -> Optional[int]:
    """The number in an entry ``length`` of what is said of a tensor that lies in another file."""
    words = [data[inner:stop] for _, wire, _, inner, stop in _fields(data, start, end) if wire == _BYTES]
    return int(words[1]) if len(words) == 2 and words[0] == b"length" and words[1].isdigit() else None


def _fields(data: Data, position: int, end: int) -> "Iterator[Tuple[int, int, int, int, int]]":
    """(number, wire type, where it begins, where its value begins and ends) of each field of a message.

    Raises ValueError for what is no message.
    """
    while position < end:
        begin = position
        key, position = _read_varint(data, position, end)
        wire = key & 7
        start = position
        if wire == 0:
            _, position = _read_varint(data, position, end)
        elif wire == 1:
            position += 8
        elif wire == _BYTES:
            length, start = _read_varint(data, position, end)
            position = start + length
        elif wire == 5:
            position += 4
        else:
            raise ValueError("wire type %d" % wire)
        if position > end:
            raise ValueError("a field is longer than its message")
        yield key >> 3, wire, begin, start, position


def _read_varint(data: Data, position: int, end: int) -> "Tuple[int, int]":
    result = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7
    raise ValueError("a number does not end")


def _key(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _varint(value: int) -> bytes:
    taken = bytearray()
    while value >= 0x80:
        taken.append(value & 0x7F | 0x80)
        value >>= 7
    taken.append(value)
    return bytes(taken)
