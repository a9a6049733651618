"""GGUF files made by hand: a header, and zeros for the data."""

import struct
from collections.abc import Mapping, Sequence


def gguf(values: Mapping[str, object], tensors: Mapping[str, Sequence[int]]) -> bytes:
    """A file of version 3 with these keys and (all F32) tensors."""
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values))
    header += b"".join(_text(key) + _typed(value) for key, value in values.items())
    for name, shape in tensors.items():
        header += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, 0)
    return header + bytes(64)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _typed(value: object) -> bytes:
    if isinstance(value, list):
        if isinstance(value[0], str):
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_text, value))
        return struct.pack(f"<IIQ{len(value)}f", 9, 6, len(value), *value)
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    assert isinstance(value, str)
    return struct.pack("<I", 8) + _text(value)
