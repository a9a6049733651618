"""Tensors as they travel: a data type of the V2 protocol, a shape, raw little-endian bytes."""

import array
import struct
from typing import Any, Dict, List, Sequence, Tuple

# data type -> (bytes per element, numpy name)
DATATYPES: Dict[str, Tuple[int, str]] = {
    "BOOL": (1, "bool"),
    "UINT8": (1, "uint8"),
    "UINT16": (2, "uint16"),
    "UINT32": (4, "uint32"),
    "UINT64": (8, "uint64"),
    "INT8": (1, "int8"),
    "INT16": (2, "int16"),
    "INT32": (4, "int32"),
    "INT64": (8, "int64"),
    "FP16": (2, "float16"),
    "BF16": (2, "uint16"),  # numpy has no bfloat16: its bits
    "FP32": (4, "float32"),
    "FP64": (8, "float64"),
    "BYTES": (0, "object"),
}
# numpy's own short names, little-endian
_FROM_NUMPY = {
    "|b1": "BOOL", "|u1": "UINT8", "<u2": "UINT16", "<u4": "UINT32", "<u8": "UINT64", "|i1": "INT8",
    "<i2": "INT16", "<i4": "INT32", "<i8": "INT64", "<f2": "FP16", "<f4": "FP32", "<f8": "FP64",
}  # fmt: skip
_TYPECODES = {
    "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h",
    "INT32": "i", "INT64": "q", "FP32": "f", "FP64": "d",
}  # fmt: skip

_COPIED = 64 * 1024  # bytes below which a copy is cheaper than a view of the array


class Tensor:
    """One tensor. ``shape`` includes the batch axis where the signature has one."""

    __slots__ = ("data", "datatype", "shape")

    def __init__(self, datatype: str, shape: Sequence[int], data: Any) -> None:
        self.datatype = datatype
        self.shape = tuple(shape)
        self.data = data  # bytes-like

    def numpy(self) -> Any:
        """As a numpy array (a view of the bytes; BYTES become an object array of ``bytes``)."""
        import numpy

        if self.datatype == "BYTES":
            flat = numpy.empty(len_of(self.shape), dtype=object)
            flat[:] = split_bytes(self.data)
            return flat.reshape(self.shape)
        return numpy.frombuffer(self.data, dtype=DATATYPES[self.datatype][1]).reshape(self.shape)

    def values(self) -> List[Any]:
        """All elements as a flat Python list; BYTES as ``bytes``. Needs no numpy."""
        if self.datatype == "BYTES":
            return split_bytes(self.data)
        if self.datatype == "BOOL":
            return [byte != 0 for byte in bytes(self.data)]
        if self.datatype == "FP16":
            raw = bytes(self.data)
            return list(struct.unpack("<%de" % (len(raw) // 2), raw))
        numbers = array.array(_TYPECODES[self.datatype])
        numbers.frombytes(self.data)
        return numbers.tolist()


def from_numpy(value: Any) -> Tensor:
    """A Tensor from a numpy array or scalar; strings and objects become BYTES (UTF-8).

    Raises TypeError for a type that the protocol has no word for (complex, dates).
    """
    import numpy

    value = numpy.asarray(value)
    datatype = _FROM_NUMPY.get(value.dtype.str)
    if datatype is not None and value.nbytes <= _COPIED:
        return Tensor(datatype, value.shape, value.tobytes())
    if value.dtype.kind in "USO":
        texts = [item if isinstance(item, bytes) else str(item).encode() for item in value.ravel().tolist()]
        return Tensor("BYTES", value.shape, join_bytes(texts))
    value = numpy.ascontiguousarray(value.astype(value.dtype.newbyteorder("<"), copy=False)).reshape(
        value.shape
    )
    datatype = _FROM_NUMPY.get(value.dtype.str)
    if datatype is None:
        raise TypeError("an array of %s cannot be sent; use numbers, booleans or text" % value.dtype)
    return Tensor(datatype, value.shape, value.reshape(-1).view("uint8").data)


def split_rows(name: str, array: Any, rows: Sequence[int], results: Sequence[Dict[str, Tensor]]) -> None:
    """Give each of ``results`` its rows of ``array`` (first axis) as the tensor ``name``."""
    whole = from_numpy(array)
    inner = whole.shape[1:]
    position = 0
    if whole.datatype == "BYTES":
        texts = split_bytes(whole.data)
        per_row = len_of(inner)
        for count, result in zip(rows, results):
            end = position + count * per_row
            result[name] = Tensor("BYTES", (count, *inner), join_bytes(texts[position:end]))
            position = end
        return
    data = memoryview(whole.data)
    stride = len_of(inner) * DATATYPES[whole.datatype][0]
    for count, result in zip(rows, results):
        end = position + count * stride
        result[name] = Tensor(whole.datatype, (count, *inner), data[position:end])
        position = end


def from_values(datatype: str, shape: Sequence[int], values: Sequence[Any]) -> Tensor:
    """A Tensor from a flat sequence of Python values. Needs no numpy."""
    if datatype == "BYTES":
        return Tensor(
            datatype,
            shape,
            join_bytes([value if isinstance(value, bytes) else str(value).encode() for value in values]),
        )
    if datatype == "BOOL":
        return Tensor(datatype, shape, bytes(bool(value) for value in values))
    if datatype == "FP16":
        return Tensor(datatype, shape, struct.pack("<%de" % len(values), *values))
    return Tensor(datatype, shape, array.array(_TYPECODES[datatype], values).tobytes())


def len_of(shape: Sequence[int]) -> int:
    """The number of elements of a tensor of ``shape``."""
    count = 1
    for length in shape:
        count *= length
    return count


def join_bytes(texts: Sequence[bytes]) -> bytes:
    """Elements of a BYTES tensor as raw bytes: u32 length, then the bytes, each."""
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def split_bytes(data: Any) -> List[bytes]:
    """The elements of a raw BYTES tensor. Raises ValueError when lengths and data disagree."""
    raw = bytes(data)
    texts, position = [], 0
    while position < len(raw):
        if position + 4 > len(raw):
            raise ValueError("a BYTES tensor ends inside a length")
        (length,) = struct.unpack_from("<I", raw, position)
        position += 4
        if position + length > len(raw):
            raise ValueError("a BYTES tensor ends inside an element")
        texts.append(raw[position : position + length])
        position += length
    return texts
