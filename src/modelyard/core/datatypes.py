"""The tensor data types of the Open Inference Protocol V2.

Source: https://github.com/kserve/open-inference-protocol (Tensor Data Types). Raw tensors are
little-endian and row-major; an element of BYTES is a u32 length followed by that many bytes.
"""

from typing import Final, NamedTuple


class Datatype(NamedTuple):
    """One data type: bytes per element (0: variable) and the ``array`` typecode, if there is one."""

    size: int
    typecode: str | None
    family: str  # "bool", "int", "float" or "bytes"
    low: int = 0  # inclusive bounds; integers only
    high: int = 0


def _signed(bits: int, typecode: str) -> Datatype:
    return Datatype(bits // 8, typecode, "int", -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def _unsigned(bits: int, typecode: str) -> Datatype:
    return Datatype(bits // 8, typecode, "int", 0, (1 << bits) - 1)


DATATYPES: Final[dict[str, Datatype]] = {
    "BOOL": Datatype(1, "B", "bool"),
    "UINT8": _unsigned(8, "B"),
    "UINT16": _unsigned(16, "H"),
    "UINT32": _unsigned(32, "I"),
    "UINT64": _unsigned(64, "Q"),
    "INT8": _signed(8, "b"),
    "INT16": _signed(16, "h"),
    "INT32": _signed(32, "i"),
    "INT64": _signed(64, "q"),
    "FP16": Datatype(2, None, "float"),
    "BF16": Datatype(2, None, "float"),
    "FP32": Datatype(4, "f", "float"),
    "FP64": Datatype(8, "d", "float"),
    "BYTES": Datatype(0, None, "bytes"),
}
