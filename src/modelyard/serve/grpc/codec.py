"""Messages of the ``.proto`` files to bytes and back, as dictionaries; for what is not on the hot path.

Source: https://protobuf.dev/programming-guides/encoding/. A map is a dictionary, an enum a number (or, in
what is written, its name), bytes are bytes; what a message does not say is absent. ``infer_codec`` does the messages of every call.
"""

import struct
from collections.abc import Mapping
from typing import Final, cast

from modelyard.core.errors import InvalidInput
from modelyard.serve.grpc.proto_file import MESSAGE, Field, Message

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5
_WIRE: Final = {
    1: FIXED64,
    2: FIXED32,
    9: BYTES,
    12: BYTES,
    MESSAGE: BYTES,
}  # type -> wire type, else varint
_U64: Final = (1 << 64) - 1


def broken() -> InvalidInput:
    """The bytes are not the message that the method takes."""
    return InvalidInput("The message is not a valid protobuf of this method's type.", field="message")


def varint(value: int) -> bytes:
    """A number of the wire, negative ones in two's complement."""
    value &= _U64
    if value < 0x80:
        return bytes((value,))
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """A number and the position behind it. Raises InvalidInput."""
    number = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & _U64, position
        shift += 7
    raise broken()


def sized(tag: int, data: bytes) -> bytes:
    """A field of the wire type BYTES; ``tag`` has the wire type in it."""
    return varint(tag) + varint(len(data)) + data


def fields_of(data: bytes) -> list[tuple[int, int, int | bytes]]:
    """(number, wire type, value) of each field. Raises InvalidInput."""
    found: list[tuple[int, int, int | bytes]] = []
    position, end = 0, len(data)
    while position < end:
        tag, position = read_varint(data, position)
        number, wire = tag >> 3, tag & 7
        value: int | bytes
        if wire == VARINT:
            value, position = read_varint(data, position)
        else:
            if wire == BYTES:
                length, position = read_varint(data, position)
            elif wire in (FIXED64, FIXED32):
                length = 8 if wire == FIXED64 else 4
            else:
                raise broken()  # groups are long gone
            value = data[position : position + length]
            position += length
            if position > end:
                raise broken()
        if number == 0:
            raise broken()
        found.append((number, wire, value))
    return found


def decode(message: Message, data: bytes) -> dict[str, object]:
    """The fields that ``data`` gives. Unknown ones are skipped, as protobuf wants. Raises InvalidInput."""
    found: dict[str, object] = {}
    for number, wire, raw in fields_of(data):
        field = message.numbers.get(number)
        if field is None:
            continue
        expected = _WIRE.get(field.type, VARINT)
        if field.repeated and wire == BYTES and expected != BYTES:
            values = [_value(field, each) for each in _unpacked(expected, cast(bytes, raw))]
            cast("list[object]", found.setdefault(field.name, [])).extend(values)
            continue
        if wire != expected:
            raise broken()
        value = _value(field, raw)
        if field.kind is not None and field.kind.entry:
            entry = cast("dict[str, object]", value)
            cast("dict[object, object]", found.setdefault(field.name, {}))[entry.get("key", "")] = (
                entry.get("value", {})
            )
        elif field.repeated:
            cast("list[object]", found.setdefault(field.name, [])).append(value)
        else:
            found[field.name] = value
    return found


def _unpacked(wire: int, data: bytes) -> list[int | bytes]:
    if wire == VARINT:
        numbers: list[int | bytes] = []
        position = 0
        while position < len(data):
            number, position = read_varint(data, position)
            numbers.append(number)
        return numbers
    size = 8 if wire == FIXED64 else 4
    if len(data) % size:
        raise broken()
    return [data[position : position + size] for position in range(0, len(data), size)]


def _value(field: Field, raw: int | bytes) -> object:
    if isinstance(raw, int):
        match field.type:
            case 8:
                return raw != 0
            case 3:
                return raw - (1 << 64) if raw >> 63 else raw
            case 5 | 14:
                low = raw & 0xFFFFFFFF
                return low - (1 << 32) if low >> 31 else low
            case 13:
                return raw & 0xFFFFFFFF
            case _:
                return raw
    match field.type:
        case 9:
            try:
                return raw.decode()
            except UnicodeDecodeError:
                raise broken() from None
        case 1:
            return struct.unpack("<d", raw)[0]
        case 2:
            return struct.unpack("<f", raw)[0]
        case 11 if field.kind is not None:
            return decode(field.kind, raw)
        case _:
            return raw


def encode(message: Message, values: Mapping[str, object]) -> bytes:
    """``values`` as a message; defaults are left out but in a oneof. Raises KeyError for an unknown field."""
    parts: list[bytes] = []
    for name, value in values.items():
        field = message.fields[name]
        if field.kind is not None and field.kind.entry:
            for key, each in cast("dict[object, object]", value).items():
                parts.append(_one(field, {"key": key, "value": each}))
        elif field.repeated:
            items = cast("list[object]", value)
            if items and _WIRE.get(field.type, VARINT) != BYTES:
                parts.append(
                    sized(field.number << 3 | BYTES, b"".join(_scalar(field, each) for each in items))
                )
            else:
                parts += [_one(field, each) for each in items]
        elif value or field.oneof is not None or field.type == MESSAGE:
            parts.append(_one(field, value))
    return b"".join(parts)


def _one(field: Field, value: object) -> bytes:
    if field.kind is not None:
        return sized(field.number << 3 | BYTES, encode(field.kind, cast("Mapping[str, object]", value)))
    wire = _WIRE.get(field.type, VARINT)
    if wire == BYTES:
        raw = value.encode() if isinstance(value, str) else cast(bytes, value)
        return sized(field.number << 3 | BYTES, raw)
    return varint(field.number << 3 | wire) + _scalar(field, value)


def _scalar(field: Field, value: object) -> bytes:
    if field.type == 1:
        return struct.pack("<d", value)
    if field.type == 2:
        return struct.pack("<f", value)
    if field.enum is not None and isinstance(value, str):
        return varint(field.enum.values[value])
    return varint(int(cast(int, value)))
