"""Where the tensors of a GGUF file lie.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

import itertools
from typing import Final

from modelyard.store.borders.source import Source, Unreadable

_SCALARS: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes
_STRING, _ARRAY, _UINT32 = 8, 9, 4
_MOST: Final = 5_000_000


def fits(head: bytes, size: int) -> bool:
    """Whether the first bytes are those of such a file."""
    return head[:4] == b"GGUF" and head[4:8] in (b"\2\0\0\0", b"\3\0\0\0")


def spans(source: Source) -> list[tuple[int, int]]:
    """Offset and length of each tensor, its padding included. Raises Unreadable."""
    tensors, keys = source.number(8, 8), source.number(16, 8)
    if tensors > _MOST or keys > _MOST:
        raise Unreadable("too many tensors or keys")
    position, alignment = 24, 32
    for _ in range(keys):
        name, position = _text(source, position)
        kind = source.number(position, 4)
        if name == b"general.alignment" and kind == _UINT32:
            alignment = source.number(position + 4, 4)
        position = _skip(source, position + 4, kind)
    places: list[int] = []
    for _ in range(tensors):
        _, position = _text(source, position)
        axes = source.number(position, 4)
        if axes > 8:
            raise Unreadable("a tensor of too many axes")
        position += 4 + 8 * axes + 4
        places.append(source.number(position, 8))
        position += 8
    if not 0 < alignment <= 1 << 20:
        raise Unreadable("an impossible alignment")
    start = -(-position // alignment) * alignment
    ends = [start + place for place in sorted(set(places))] + [source.size]
    return [(begin, end - begin) for begin, end in itertools.pairwise(ends)]


def _text(source: Source, position: int) -> tuple[bytes, int]:
    length = source.number(position, 8)
    return source.read(position + 8, length), position + 8 + length


def _skip(source: Source, position: int, kind: int) -> int:
    """The place behind a value."""
    if kind in _SCALARS:
        return position + _SCALARS[kind]
    if kind == _STRING:
        return position + 8 + source.number(position, 8)
    if kind != _ARRAY:
        raise Unreadable("a value of an unknown type")
    inner, count = source.number(position, 4), source.number(position + 4, 8)
    position += 12
    if count > _MOST:
        raise Unreadable("a list that is too long")
    if inner in _SCALARS:
        return position + count * _SCALARS[inner]
    if inner != _STRING:
        raise Unreadable("a list of an unknown type")
    for _ in range(count):
        position += 8 + source.number(position, 8)
    return position
