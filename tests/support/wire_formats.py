"""Writes small FlatBuffers and protobuf messages, so that files of models can be made without their frameworks."""

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Scalar(NamedTuple):
    """A number in a table, by its struct letter."""

    form: str
    value: float


class Numbers(NamedTuple):
    """A vector of numbers."""

    form: str
    values: Sequence[float]


Table = Mapping[
    int, object
]  # by the field's number: Scalar, Numbers, str, bytes, a table, a sequence of tables


def flatbuffer(root: Table, mark: bytes = b"\0\0\0\0") -> bytes:
    """A buffer with the table ``root`` and four bytes to tell it by."""
    data = bytearray(4) + mark
    struct.pack_into("<I", data, 0, _table(data, root))
    return bytes(data)


def _table(data: bytearray, fields: Table) -> int:
    """Write a table and what it points to behind it; its place."""
    count = max(fields, default=-1) + 1
    offsets, size = [0] * count, 4
    for number, value in sorted(fields.items()):
        width = struct.calcsize("<" + value.form) if isinstance(value, Scalar) else 4
        offsets[number] = size
        size += width
    _align(data, 4)
    vtable = len(data)
    data += struct.pack(f"<HH{count}H", 4 + 2 * count, size, *offsets)
    _align(data, 4)
    place = len(data)
    data += struct.pack("<i", place - vtable) + bytes(size - 4)
    for number, value in sorted(fields.items()):
        slot = place + offsets[number]
        if isinstance(value, Scalar):
            struct.pack_into("<" + value.form, data, slot, value.value)
        else:
            struct.pack_into("<I", data, slot, _value(data, value) - slot)
    return place


def _value(data: bytearray, value: object) -> int:
    if isinstance(value, Mapping):
        return _table(data, value)
    _align(data, 8)
    data += bytes(4)  # so that items of eight bytes lie well
    place = len(data)
    if isinstance(value, str | bytes):
        text = value.encode() if isinstance(value, str) else value
        data += struct.pack("<I", len(text)) + text + b"\0"
    elif isinstance(value, Numbers):
        data += struct.pack(f"<I{len(value.values)}{value.form}", len(value.values), *value.values)
    else:
        assert isinstance(value, Sequence)
        data += struct.pack("<I", len(value)) + bytes(4 * len(value))
        for index, each in enumerate(value):
            slot = place + 4 + 4 * index
            struct.pack_into("<I", data, slot, _table(data, each) - slot)
    return place


def _align(data: bytearray, to: int) -> None:
    data += bytes(-len(data) % to)


def message(*fields: tuple[int, int | str | bytes]) -> bytes:
    """A protobuf message of varints and length-delimited fields."""
    data = b""
    for number, value in fields:
        if isinstance(value, int):
            data += _varint(number << 3) + _varint(value & (1 << 64) - 1)
        else:
            content = value.encode() if isinstance(value, str) else value
            data += _varint(number << 3 | 2) + _varint(len(content)) + content
    return data


def _varint(value: int) -> bytes:
    data = b""
    while value > 127:
        data += bytes([value & 127 | 128])
        value >>= 7
    return data + bytes([value])
