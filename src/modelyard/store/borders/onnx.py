"""Where the tensors of an ONNX model lie, in its own file and in those that it names.

Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3, https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Iterator
from typing import Final

from modelyard.store.borders.source import Source, Unreadable

_MOST: Final = 1_000_000  # fields
_TEXT: Final = 4096
_GRAPH, _FUNCTION = 7, 25  # of a model
_NODE, _INITIALIZER, _SPARSE = 1, 5, 15  # of a graph
_DATA: Final = frozenset(
    {4, 5, 6, 7, 9, 10, 11}
)  # of a tensor: float, int32, string, int64, raw, double, uint64
_EXTERNAL = 13


def fits(head: bytes, size: int) -> bool:
    """Whether the first bytes are those of a model: its IR version, then a field of one."""
    return len(head) > 3 and head[0] == 8 and 0 < head[1] < 32 and head[2] in (0x12, 0x1A, 0x22, 0x3A, 0x42)


def spans(source: Source) -> list[tuple[int, int]]:
    """Offset and length of the data of each tensor in the file. Raises Unreadable."""
    return [found[:2] for found in _tensors(source) if found[2] is None]


def outside(source: Source) -> list[tuple[str, int, int]]:
    """Path (relative to the model's folder), offset and length of each tensor elsewhere. Raises Unreadable."""
    return [(found[2], found[0], found[1]) for found in _tensors(source) if found[2] is not None]


def _tensors(source: Source) -> list[tuple[int, int, str | None]]:
    found: list[tuple[int, int, str | None]] = []
    left = [_MOST]
    waiting = [("model", 0, source.size)]
    while waiting:
        kind, start, stop = waiting.pop()
        entries: dict[str, str] = {}
        for number, place, length in _fields(source, start, stop, left):
            inner = _INSIDE.get((kind, number))
            if inner is not None:
                waiting.append((inner, place, place + length))
            elif kind == "tensor" and number in _DATA:
                found.append((place, length, None))
            elif kind == "tensor" and number == _EXTERNAL:
                key, value = _entry(source, place, place + length, left)
                entries[key] = value
        if "location" in entries:
            offset, size = entries.get("offset", "0"), entries.get("length", "")
            if offset.isdigit() and size.isdigit():
                found.append((int(offset), int(size), entries["location"]))
    return found


_INSIDE: Final = {
    ("model", _GRAPH): "graph", ("model", _FUNCTION): "function",
    ("graph", _NODE): "node", ("graph", _INITIALIZER): "tensor", ("graph", _SPARSE): "sparse",
    ("sparse", 1): "tensor", ("sparse", 2): "tensor", ("function", 7): "node",
    ("node", 5): "attribute",
    ("attribute", 5): "tensor", ("attribute", 10): "tensor", ("attribute", 6): "graph", ("attribute", 11): "graph",
}  # fmt: skip


def _entry(source: Source, start: int, stop: int, left: list[int]) -> tuple[str, str]:
    texts = {1: "", 2: ""}
    for number, place, length in _fields(source, start, stop, left):
        if number in texts and length <= _TEXT:
            texts[number] = source.read(place, length).decode(errors="replace")
    return texts[1], texts[2]


def _fields(source: Source, position: int, stop: int, left: list[int]) -> Iterator[tuple[int, int, int]]:
    """Number, place and length of the fields that have one."""
    while position < stop:
        left[0] -= 1
        if left[0] < 0:
            raise Unreadable("too many fields")
        key, position = _varint(source, position, stop)
        match key & 7:
            case 0:
                _, position = _varint(source, position, stop)
            case 1:
                position += 8
            case 5:
                position += 4
            case 2:
                length, position = _varint(source, position, stop)
                if position + length > stop:
                    raise Unreadable("a field that is longer than its message")
                yield key >> 3, position, length
                position += length
            case _:
                raise Unreadable("an unknown wire type")
        if key >> 3 == 0:
            raise Unreadable("a field without a number")


def _varint(source: Source, position: int, stop: int) -> tuple[int, int]:
    data = source.read(position, min(10, stop - position))
    value = 0
    for index, byte in enumerate(data):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, position + index + 1
    raise Unreadable("a number without an end")
