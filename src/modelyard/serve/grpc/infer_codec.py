"""ModelInferRequest and ModelInferResponse, by hand: the two messages of every call.

Packed numbers of protobuf are little-endian and row-major, as raw tensors are: FP32, FP64 and BOOL are taken
out of a message, and put into one, as they lie there. What is alike in call after call — the description of a
tensor — is looked up by its bytes. Decision 11 has the figures beside those of upb.

Source: ``proto/inference.proto``, https://protobuf.dev/programming-guides/encoding/
"""

from array import array
from collections.abc import Mapping
from functools import lru_cache
from math import prod
from typing import Final, NamedTuple, cast

from modelyard.core.datatypes import DATATYPES
from modelyard.core.errors import InvalidInput
from modelyard.serve.call import Answer, RawTensor
from modelyard.serve.codec import raw_size_fits
from modelyard.serve.grpc.codec import BYTES, broken, decode, encode, fields_of, read_varint, sized, varint
from modelyard.serve.grpc.proto_file import load

COPIED: Final = 64 * 1024  # bytes below which a copy is cheaper than a view
_KEPT: Final = 4096  # descriptions of tensors that are remembered
_KEPT_SIZE: Final = 256
# data type -> the field of InferTensorContents that holds it
_CONTENTS: Final = {
    "BOOL": 1, "INT8": 2, "INT16": 2, "INT32": 2, "INT64": 3, "UINT8": 4, "UINT16": 4, "UINT32": 4,
    "UINT64": 5, "FP32": 6, "FP64": 7, "BYTES": 8,
}  # fmt: skip
_CONTENT_NAMES: Final = (
    "", "bool_contents", "int_contents", "int64_contents", "uint_contents", "uint64_contents",
    "fp32_contents", "fp64_contents", "bytes_contents",
)  # fmt: skip


class Described(NamedTuple):
    """A tensor without its data; ``size`` is the length of its raw data (0: that varies)."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    size: int
    parameters: Mapping[str, object]


class InferRequest(NamedTuple):
    """A ModelInferRequest. ``outputs`` are those asked for (none: all), each with its parameters; ``raw``
    whether tensors came in raw_input_contents, which is how they are answered then."""

    model: str
    version: str
    id: bytes
    parameters: dict[str, object]
    inputs: list[RawTensor]
    outputs: list[tuple[str, Mapping[str, object]]]
    raw: bool


_descriptions: dict[bytes, Described] = {}
_wanted: dict[bytes, tuple[str, Mapping[str, object]]] = {}


def decode_request(data: bytes, position: int = 0) -> InferRequest:
    """The request that ``data`` is from ``position`` on. Raises InvalidInput naming the field."""
    end = len(data)
    model = version = id = b""
    parameters: dict[str, object] = {}
    described: list[Described] = []
    contents: list[bytes | None] = []
    outputs: list[tuple[str, Mapping[str, object]]] = []
    raws: list[bytes | memoryview] = []
    try:
        while position < end:
            tag = data[position]
            length = data[position + 1]
            position += 2
            if tag & 0x87 != BYTES:
                position = _skip(data, position - 2)
                continue
            if length >= 0x80:
                length, position = read_varint(data, position - 1)
            stop = position + length
            if stop > end:
                raise broken()
            if tag == 0x3A:
                raws.append(data[position:stop] if length < COPIED else memoryview(data)[position:stop])
            elif tag == 0x2A:
                entry = data[position:stop]
                one = _descriptions.get(entry)
                if one is not None:
                    described.append(one)
                    contents.append(None)
                else:
                    _read_input(entry, described, contents)
            elif tag == 0x0A:
                model = data[position:stop]
            elif tag == 0x12:
                version = data[position:stop]
            elif tag == 0x1A:
                id = data[position:stop]
            elif tag == 0x32:
                entry = data[position:stop]
                outputs.append(_wanted.get(entry) or _read_output(entry))
            elif tag == 0x22:
                name, value = _parameter(data[position:stop])
                parameters[name] = value
            position = stop
        if raws:
            inputs = _raw_inputs(described, contents, raws)
        else:
            inputs = [
                _typed_input(index, one, data)
                for index, (one, data) in enumerate(zip(described, contents, strict=True))
            ]
        return InferRequest(
            str(model, "utf-8"), str(version, "utf-8"), id, parameters, inputs, outputs, bool(raws)
        )
    except (IndexError, UnicodeDecodeError):
        raise broken() from None


def _skip(data: bytes, position: int) -> int:
    """Behind a field that we do not know."""
    tag, position = read_varint(data, position)
    match tag & 7:
        case 0:
            return read_varint(data, position)[1]
        case 1:
            position += 8
        case 2:
            length, position = read_varint(data, position)
            position += length
        case 5:
            position += 4
        case _:
            raise broken()
    if position > len(data) or tag >> 3 == 0:
        raise broken()
    return position


# --- inputs


def _read_input(entry: bytes, described: list[Described], contents: list[bytes | None]) -> None:
    """One InferInputTensor; its description is kept, its contents are not."""
    found: bytes | None = None
    head = b""
    start = position = 0
    end = len(entry)
    while position < end:
        start = position
        if entry[position] & 0x87 == BYTES and entry[position + 1] < 0x80:
            position += 2 + entry[position + 1]
        else:
            position = _skip(entry, position)
        if position > end:
            raise broken()
        if entry[start] != 0x2A:
            if found is not None:
                head += entry[start:position]
            continue
        body = start + 2 if entry[start + 1] < 0x80 else read_varint(entry, start + 1)[1]
        if found is None:
            head, found = entry[:start], entry[body:position]
        else:
            found += entry[body:position]  # given twice, protobuf merges them
    if found is None:
        head = entry
    one = _descriptions.get(head)
    if one is None:
        one = _describe(head)
        if len(head) <= _KEPT_SIZE:
            if len(_descriptions) >= _KEPT:
                _descriptions.clear()
            _descriptions[head] = one
    described.append(one)
    contents.append(b"" if found is None else found)


def _describe(head: bytes) -> Described:
    values = decode(load("inference").message("ModelInferRequest.InferInputTensor"), head)
    name = cast(str, values.get("name", ""))
    datatype = cast(str, values.get("datatype", ""))
    shape = tuple(cast("list[int]", values.get("shape", [])))
    if datatype not in DATATYPES:
        raise InvalidInput(
            f"{datatype!r} is not a data type of the V2 protocol ({', '.join(DATATYPES)}).",
            field=f"inputs[{name!r}].datatype",
        )
    if any(length < 0 for length in shape):
        raise InvalidInput(
            f"The shape {list(shape)} of {name!r} has a length below 0.", field=f"inputs[{name!r}].shape"
        )
    size = DATATYPES[datatype].size * prod(shape)
    return Described(name, datatype, shape, size, _choices(values.get("parameters")))


def _raw_inputs(
    described: list[Described], contents: list[bytes | None], raws: list[bytes | memoryview]
) -> list[RawTensor]:
    if len(described) != len(raws):
        raise InvalidInput(
            f"There are {len(described)} inputs and {len(raws)} raw_input_contents; each input has one.",
            field="raw_input_contents",
        )
    inputs: list[RawTensor] = []
    for index, (one, content, raw) in enumerate(zip(described, contents, raws, strict=True)):
        if content:
            raise InvalidInput(
                f"{one.name!r} has contents, and there are raw_input_contents; use one of them for all.",
                field=f"inputs[{index}].contents",
            )
        if one.parameters:
            _refuse_parameters(index, one)
        if len(raw) != one.size if one.size else not raw_size_fits(one.datatype, one.shape, raw):
            raise InvalidInput(
                f"The {len(raw)} bytes of {one.name!r} are not {one.datatype} {list(one.shape)}"
                + (f", which is {one.size} bytes." if one.size else "."),
                field=f"raw_input_contents[{index}]",
            )
        if one.datatype == "BOOL" and bytes(raw).strip(b"\0\1"):
            raise InvalidInput(
                f"A BOOL of {one.name!r} is neither 0 nor 1.", field=f"raw_input_contents[{index}]"
            )
        inputs.append(RawTensor(one.name, one.datatype, one.shape, raw))
    return inputs


def _refuse_parameters(index: int, one: Described) -> None:
    """Shared memory is the one that clients try. Raises InvalidInput."""
    raise InvalidInput(
        f"The input {one.name!r} has parameters ({', '.join(one.parameters)}); none is known here.",
        field=f"inputs[{index}].parameters",
    )


def _typed_input(index: int, one: Described, contents: bytes | None) -> RawTensor:
    """The tensor of an input with ``contents`` (InferTensorContents)."""
    if one.parameters:
        _refuse_parameters(index, one)
    number = _CONTENTS.get(one.datatype)
    if number is None:
        raise InvalidInput(
            f"{one.datatype} has no typed contents in this protocol; send {one.name!r} in raw_input_contents.",
            field=f"inputs[{index}].contents",
        )
    if number in (6, 7) and contents and contents[0] == number << 3 | BYTES:
        length, position = read_varint(contents, 1)
        if position + length == len(contents) and length == one.size:
            return RawTensor(one.name, one.datatype, one.shape, contents[position:])
    packed: list[bytes] = []  # numbers
    texts: list[bytes] = []
    loose: list[int] = []
    for field, wire, value in fields_of(contents or b""):
        if field != number:
            raise InvalidInput(
                f"{one.name!r} is {one.datatype}, whose values are in {_CONTENT_NAMES[number]}.",
                field=f"inputs[{index}].contents",
            )
        if isinstance(value, int):
            loose.append(value)
        elif number == 8:
            texts.append(len(value).to_bytes(4, "little") + value)
        elif wire == BYTES or number in (6, 7):
            packed.append(value)
        else:
            raise broken()
    if number == 8:
        data, count = b"".join(texts), len(texts)
    else:
        raw = packed[0] if len(packed) == 1 and not loose else b"".join(packed)
        if number in (6, 7):
            data, count = raw, len(raw) // (4 if number == 6 else 8)
        else:
            numbers = _numbers(raw) + loose
            data, count = _pack(index, one, numbers), len(numbers)
    if count != prod(one.shape) or (one.size and len(data) != one.size):
        raise InvalidInput(
            f"The shape {list(one.shape)} of {one.name!r} does not fit its {count} values.",
            field=f"inputs[{index}].shape",
        )
    return RawTensor(one.name, one.datatype, one.shape, data)


def _numbers(packed: bytes) -> list[int]:
    if not packed or max(packed) < 0x80:
        return list(packed)  # each is a byte
    numbers: list[int] = []
    position = 0
    while position < len(packed):
        number, position = read_varint(packed, position)
        numbers.append(number)
    return numbers


def _pack(index: int, one: Described, numbers: list[int]) -> bytes:
    kind = DATATYPES[one.datatype]
    if kind.family == "bool":
        return bytes([number != 0 for number in numbers])
    if kind.low < 0:
        numbers = [number - (1 << 64) if number >> 63 else number for number in numbers]
    try:
        return array(kind.typecode or "", numbers).tobytes()
    except OverflowError:
        position = next(i for i, number in enumerate(numbers) if not kind.low <= number <= kind.high)
        raise InvalidInput(
            f"{numbers[position]} does not fit into {one.datatype} ({kind.low} to {kind.high}).",
            field=f"inputs[{index}].contents[{position}]",
        ) from None


# --- outputs and parameters


def _read_output(entry: bytes) -> tuple[str, Mapping[str, object]]:
    values = decode(load("inference").message("ModelInferRequest.InferRequestedOutputTensor"), entry)
    one = (cast(str, values.get("name", "")), _choices(values.get("parameters")))
    if len(entry) <= _KEPT_SIZE:
        if len(_wanted) >= _KEPT:
            _wanted.clear()
        _wanted[entry] = one
    return one


def _parameter(entry: bytes) -> tuple[str, object]:
    values = decode(load("inference").message("ModelInferRequest.ParametersEntry"), entry)
    name = cast(str, values.get("key", ""))
    return name, _choice(name, values.get("value", {}))


def _choices(parameters: object) -> Mapping[str, object]:
    return {
        name: _choice(name, value) for name, value in cast("dict[str, object]", parameters or {}).items()
    }


def _choice(name: str, value: object) -> object:
    """The one value of an InferParameter."""
    choices = list(cast("dict[str, object]", value).values())
    if not choices:
        raise InvalidInput(f"The parameter {name!r} has no value.", field=f"parameters.{name}")
    return choices[-1]


# --- the answer


def encode_response(
    model: str,
    version: str,
    id: bytes,
    answer: Answer,
    raw: bool,
    parameters: Mapping[str, object] | None = None,
) -> bytes:
    """A ModelInferResponse; with ``raw`` the tensors are in raw_output_contents, else typed.

    FP16 and BF16 have no typed form: with one of them all are raw.
    """
    parts: list[bytes | memoryview] = [_names(model, version)]
    if id:
        parts += (b"\x1a", varint(len(id)), id)
    if parameters:
        parts += [_response_parameter(name, value) for name, value in parameters.items()]
    for tensor in answer:
        raw = raw or tensor.datatype not in _CONTENTS
    if raw:
        parts += [_described(tensor.name, tensor.datatype, tensor.shape) for tensor in answer]
        for tensor in answer:
            parts += (b"\x32", varint(len(tensor.data)), tensor.data)
    else:
        for tensor in answer:
            head = _description(tensor.name, tensor.datatype, tensor.shape)
            parts.append(sized(0x2A, head + sized(0x2A, _typed(tensor))))
    return b"".join(parts)


@lru_cache(maxsize=1024)
def _names(model: str, version: str) -> bytes:
    return sized(0x0A, model.encode()) + sized(0x12, version.encode())


@lru_cache(maxsize=4096)
def _described(name: str, datatype: str, shape: tuple[int, ...]) -> bytes:
    return sized(0x2A, _description(name, datatype, shape))


@lru_cache(maxsize=4096)
def _description(name: str, datatype: str, shape: tuple[int, ...]) -> bytes:
    lengths = b"".join(map(varint, shape))
    return (
        sized(0x0A, name.encode())
        + sized(0x12, datatype.encode())
        + (sized(0x1A, lengths) if shape else b"")
    )


def _typed(tensor: RawTensor) -> bytes:
    """InferTensorContents of a tensor."""
    number = _CONTENTS[tensor.datatype]
    data = bytes(tensor.data)
    if number in (1, 6, 7):
        return sized(number << 3 | BYTES, data) if data else b""
    if number == 8:
        parts: list[bytes] = []
        position = 0
        while position < len(data):
            stop = position + 4 + int.from_bytes(data[position : position + 4], "little")
            parts.append(sized(number << 3 | BYTES, data[position + 4 : stop]))
            position = stop
        return b"".join(parts)
    numbers = array(DATATYPES[tensor.datatype].typecode or "", data)
    return sized(number << 3 | BYTES, b"".join(map(varint, numbers))) if data else b""


_PARAMETER_FIELDS: Final = {
    bool: "bool_param",
    int: "int64_param",
    str: "string_param",
    float: "double_param",
}


def _response_parameter(name: str, value: object) -> bytes:
    entry = {"key": name, "value": {_PARAMETER_FIELDS[cast("type", type(value))]: value}}
    return sized(0x22, encode(load("inference").message("ModelInferResponse.ParametersEntry"), entry))
