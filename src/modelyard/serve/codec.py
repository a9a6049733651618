"""JSON values to raw tensors and back, strictly: no rounding, no silent conversion, no guessing."""

import base64
import binascii
import math
import struct
from array import array
from collections.abc import Sequence
from math import isfinite, prod
from typing import cast

import msgspec

from modelyard.core.datatypes import DATATYPES, Datatype
from modelyard.core.errors import InvalidInput
from modelyard.core.signature import TensorSpec

_FLOATS = frozenset({float, int})
_ALLOWED: dict[str, frozenset[type]] = {
    "float": _FLOATS,
    "int": frozenset({int}),
    "bool": frozenset({bool}),
    "bytes": frozenset({str, bytes}),
}
_JSON_NAMES: dict[type, str] = {
    str: "text",
    bool: "true/false",
    int: "a whole number",
    float: "a number with a fraction",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
_NAN = {"FP32": struct.pack("<f", math.nan), "FP64": struct.pack("<d", math.nan)}
_WANTED = {"float": "numbers", "int": "whole numbers", "bool": "true or false", "bytes": "text"}
_BF16_LIMIT = 3.396e38  # what rounds to infinity with seven bits of fraction
_FP32_LIMIT = 3.4028235677973366e38  # from here on a double rounds to infinity as FP32


def pack(datatype: str, values: list[object], field: str) -> bytes:
    """A flat list of JSON values as raw little-endian bytes of ``datatype``; BYTES may be ``bytes`` too.

    Raises InvalidInput for a value of another type, out of range, or not finite.
    """
    kind = DATATYPES[datatype]
    types = set(map(type, values))
    if not types <= _ALLOWED[kind.family]:
        _refuse_types(datatype, kind, values, field)
    if kind.family == "float":
        return _pack_floats(datatype, kind, cast("list[float]", values), field)
    if kind.family == "int":
        try:
            return array(kind.typecode or "", cast("list[int]", values)).tobytes()
        except OverflowError:
            position = next(i for i, v in enumerate(values) if not kind.low <= cast(int, v) <= kind.high)
            raise InvalidInput(
                f"{values[position]} does not fit into {datatype} ({kind.low} to {kind.high}).",
                field=f"{field}[{position}]",
            ) from None
    if kind.family == "bool":
        return bytes(cast("list[bool]", values))
    try:
        if bytes in types:
            texts = [value if isinstance(value, bytes) else cast(str, value).encode() for value in values]
        else:
            texts = [value.encode() for value in cast("list[str]", values)]
    except UnicodeEncodeError:
        raise InvalidInput(
            "This text holds half of a surrogate pair; send valid Unicode.", field=field
        ) from None
    return b"".join([len(text).to_bytes(4, "little") + text for text in texts])


def _pack_floats(datatype: str, kind: Datatype, values: list[float], field: str) -> bytes:
    try:
        if datatype == "BF16":
            return _pack_bf16(values)
        if kind.typecode is None:  # FP16
            return struct.pack(f"<{len(values)}e", *values)
        packed = array(kind.typecode, values)
        # A value too large for FP32 became infinite; one sum tells whether to look closer.
        if isfinite(sum(packed)) or all(map(isfinite, packed)):
            return packed.tobytes()
    except (OverflowError, struct.error):
        pass
    limit = {"FP16": 65520.0, "BF16": _BF16_LIMIT, "FP32": _FP32_LIMIT}.get(datatype, math.inf)
    position = next((i for i, value in enumerate(values) if not _within(value, limit)), 0)
    raise InvalidInput(
        f"{values[position]!r:.40} does not fit into {datatype}.", field=f"{field}[{position}]"
    )


def _pack_bf16(values: list[float]) -> bytes:
    """The upper half of each FP32, rounded to the nearest (ties to even). Raises OverflowError."""
    bits = array("I", array("f", values).tobytes())
    if not all(-_BF16_LIMIT < value < _BF16_LIMIT for value in values):
        raise OverflowError
    return array("H", [(each + 0x7FFF + ((each >> 16) & 1)) >> 16 for each in bits]).tobytes()


def _within(value: float, limit: float) -> bool:
    try:
        return -limit < float(value) < limit
    except OverflowError:  # a whole number that no double can hold
        return False


def _refuse_types(datatype: str, kind: Datatype, values: list[object], field: str) -> None:
    allowed = _ALLOWED[kind.family]
    position = next(i for i, value in enumerate(values) if type(value) not in allowed)
    found = _JSON_NAMES[type(values[position])]
    raise InvalidInput(
        f"{datatype} takes {_WANTED[kind.family]}; this is {found}.", field=f"{field}[{position}]"
    )


def unpack(datatype: str, data: bytes | memoryview) -> list[object]:
    """The elements of a raw tensor as a flat list of JSON values; BYTES as text (UTF-8).

    NaN and infinities come out as they are; JSON writes them as null.
    """
    kind = DATATYPES[datatype]
    if kind.typecode is not None:
        numbers = cast("array[int]", array(kind.typecode))
        numbers.frombytes(data)
        if kind.family == "bool":
            return [number != 0 for number in numbers]
        return cast("list[object]", numbers.tolist())
    raw = bytes(data)
    if datatype == "BF16":
        wide = array("f", array("I", [half << 16 for half in array("H", raw)]).tobytes())
        return cast("list[object]", wide.tolist())
    if datatype == "FP16":
        return list(struct.unpack(f"<{len(raw) // 2}e", raw))
    return [element.decode("utf-8", "replace") for element in elements(raw)]


def elements(data: bytes | memoryview) -> list[bytes]:
    """The elements of a raw BYTES tensor whose size was checked (:func:`raw_size_fits`)."""
    raw = bytes(data)
    found: list[bytes] = []
    position = 0
    while position < len(raw):
        length = int.from_bytes(raw[position : position + 4], "little")
        position += 4
        found.append(raw[position : position + length])
        position += length
    return found


def raw_size_fits(datatype: str, shape: Sequence[int], data: bytes | memoryview) -> bool:
    """Whether ``data`` has the bytes that ``shape`` of ``datatype`` needs (BYTES: the elements)."""
    size = DATATYPES[datatype].size
    if size:
        return len(data) == size * prod(shape)
    position, count, length = 0, 0, len(data)
    while position + 4 <= length:
        position += 4 + int.from_bytes(data[position : position + 4], "little")
        count += 1
    return position == length and count == prod(shape)


def flatten(value: object, depth: int, field: str) -> tuple[tuple[int, ...], list[object]]:
    """A nested JSON list of exactly ``depth`` levels as (shape, flat list).

    Raises InvalidInput where the nesting is not ``depth`` deep or lists differ in length.
    """
    if depth == 0:
        if type(value) is list:
            raise InvalidInput("Give one value here, not a list.", field=field)
        return (), [value]
    if type(value) is not list:
        raise InvalidInput(f"Give {_lists(depth)} here, not {_JSON_NAMES[type(value)]}.", field=field)
    level = cast("list[object]", value)
    shape = [len(level)]
    for _ in range(depth - 1):
        length: int | None = None
        flat: list[object] = []
        for index, part in enumerate(level):
            if type(part) is not list:
                raise InvalidInput(
                    f"This must be nested {depth} lists deep; it is less.", field=f"{field}[{index}]"
                )
            items = cast("list[object]", part)
            if length is None:
                length = len(items)
            elif len(items) != length:
                raise InvalidInput(
                    f"Lists of one level differ in length ({length} and {len(items)}); pad or split them.",
                    field=field,
                )
            flat += items
        shape.append(length or 0)
        level = flat
    if level and type(level[0]) is list:
        raise InvalidInput(f"This is nested deeper than {_lists(depth)}.", field=field)
    return tuple(shape), level


def _lists(depth: int) -> str:
    return "a list" if depth == 1 else f"lists in lists, {depth} deep"


def nest(shape: Sequence[int], flat: list[object]) -> object:
    """The reverse of :func:`flatten`."""
    if not shape:
        return flat[0] if flat else None
    for axis in range(len(shape) - 1, 0, -1):
        length = shape[axis]
        flat = [flat[index * length : (index + 1) * length] for index in range(prod(shape[:axis]))]
    return flat


def pack_record(
    spec: TensorSpec, value: object, field: str, batched: bool
) -> tuple[tuple[int, ...], bytes]:
    """One input of one record: JSON value → (shape with batch axis of 1, raw bytes)."""
    if spec.kind == "json":
        text = msgspec.json.encode(value)
        return ((1,) if batched else ()), len(text).to_bytes(4, "little") + text
    if spec.datatype == "BYTES" and type(value) is not str:
        value = from_b64(value, field)
    shape, flat = flatten(value, len(spec.shape), field)
    if not shape_fits(shape, spec.shape):
        raise InvalidInput(
            f"{spec.name!r} has shape {list(shape)}; the model takes {list(spec.shape)} (-1: any length).",
            field=field,
        )
    try:
        packed = (
            _pack_table(spec, flat, field) if spec.kind == "table" else pack(spec.datatype, flat, field)
        )
    except InvalidInput as error:
        if not shape:
            error.field = field  # one value has no position
        raise
    return ((1, *shape) if batched else shape), packed


def json_values(spec: TensorSpec | None, datatype: str, data: bytes | memoryview) -> list[object]:
    """The elements of an output as JSON: documents, text, and ``{"b64": "…"}`` for bytes that are no UTF-8."""
    if datatype != "BYTES":
        return unpack(datatype, data)
    if spec is not None and spec.kind == "json":
        return [msgspec.json.decode(element) for element in elements(data)]
    values: list[object] = []
    for element in elements(data):
        try:
            values.append(element.decode())
        except UnicodeDecodeError:
            values.append({"b64": base64.b64encode(element).decode()})
    return values


def is_b64(value: object) -> bool:
    """Whether ``value`` is ``{"b64": "…"}``, as TensorFlow Serving writes bytes."""
    return type(value) is dict and len(cast("dict[str, object]", value)) == 1 and "b64" in value


def from_b64(value: object, field: str) -> object:
    """``value`` with the bytes that each ``{"b64": "…"}`` in it stands for. Raises InvalidInput."""
    if type(value) is list:
        return [from_b64(each, field) for each in cast("list[object]", value)]
    if is_b64(value):
        text = cast("dict[str, object]", value)["b64"]
        try:
            return base64.b64decode(cast(str, text), validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise InvalidInput("The b64 is not base64 text.", field=field) from None
    return value


def _pack_table(spec: TensorSpec, flat: list[object], field: str) -> bytes:
    """Values of a table's column: null is a gap (NaN) in a column of numbers, as in a data frame."""
    gaps = [index for index, value in enumerate(flat) if value is None]
    if not gaps or spec.datatype not in _NAN:
        return pack(spec.datatype, flat, field)
    packed = bytearray(pack(spec.datatype, [0 if value is None else value for value in flat], field))
    nan = _NAN[spec.datatype]
    for index in gaps:
        packed[index * len(nan) : (index + 1) * len(nan)] = nan
    return bytes(packed)


def unpack_record(
    spec: TensorSpec | None, datatype: str, shape: Sequence[int], data: bytes | memoryview, batched: bool
) -> object:
    """One output of one record: raw bytes → nested JSON value without the batch axis of 1."""
    flat = json_values(spec, datatype, data)
    return nest(shape[1:] if batched else shape, flat)


def shape_fits(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether a record's shape is the one wanted; -1 stands for any length."""
    if shape == wanted:
        return True
    if len(shape) != len(wanted):
        return False
    for have, want in zip(shape, wanted, strict=True):  # noqa: SIM110 (a generator costs as much again)
        if have != want and want != -1:
            return False
    return True
