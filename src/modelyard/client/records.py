"""Records in and out: numpy arrays become JSON, and answers become arrays again, by the signature."""

import base64
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from modelyard.core.datatypes import DATATYPES
from modelyard.core.errors import InvalidInput

_NUMPY_NAMES = {
    "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64",
    "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64",
    "FP16": "float16", "FP32": "float32", "FP64": "float64",
}  # fmt: skip


def merge(record: Mapping[str, Any] | None, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """One record from a positional one and keywords. Raises InvalidInput when a name comes twice."""
    merged = dict(record or {})
    for name, value in inputs.items():
        if name in merged:
            raise InvalidInput(
                f"{name!r} stands in the record and is given again; give it once.", field=name
            )
        merged[name] = value
    return merged


def encode(value: Any) -> bytes:
    """JSON of a record, bytes that are no text as ``{"b64": "…"}``. Raises InvalidInput naming the place of a value that JSON has no word for."""
    return msgspec.json.encode(plain(value, ""))


def plain(value: Any, place: str) -> Any:
    """``value`` with arrays as lists and numpy's scalars as numbers; ``place`` is its path so far."""
    # The kinds that records are made of come first: this runs for each element of plain lists.
    if value is None or type(value) in (str, bool, int):
        return value
    if isinstance(value, str):  # numpy's own text too
        return str(value)
    if isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise InvalidInput(
                f"{value} cannot be sent: JSON has only finite numbers; None is a gap in a table.",
                field=place or None,
            )
        return value
    if isinstance(value, Mapping):
        return {
            str(name): plain(item, f"{place}.{name}" if place else str(name))
            for name, item in value.items()
        }
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return _array(value, place)
    if isinstance(value, Sequence):
        return [plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    raise InvalidInput(
        f"A {type(value).__name__} cannot be sent; use numbers, text, lists or numpy arrays.",
        field=place or None,
    )


def file_of(value: Any) -> bytes | None:
    """The bytes that an output stands for: of a text, or of ``{"b64": "…"}``; None for any other value."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str):
        return base64.b64decode(value["b64"])
    return None


def _array(value: Any, place: str) -> Any:
    """A numpy array or scalar (torch and pandas' ``.to_numpy()`` results are such) as lists."""
    kind = getattr(value.dtype, "kind", "O")
    if kind == "f":
        import numpy

        if not numpy.isfinite(value).all():
            raise InvalidInput(
                "The array holds NaN or infinity, which JSON cannot carry; replace them.",
                field=place or None,
            )
        return value.tolist()
    if kind in "biu":
        return value.tolist()
    return plain(value.tolist(), place)


class OutputTypes(msgspec.Struct, frozen=True):
    """Datatype of each output by name, from the V2 metadata of a model."""

    types: dict[str, str]

    def apply(self, outputs: dict[str, Any]) -> dict[str, Any]:
        """Outputs with every number as a numpy array (a scalar for a single one); text stays text."""
        return {name: self._convert(value, self.types.get(name)) for name, value in outputs.items()}

    def _convert(self, value: Any, datatype: str | None) -> Any:
        if datatype not in DATATYPES or isinstance(value, (str, dict)) or value is None:
            return value
        import numpy

        if datatype == "BYTES":
            return numpy.asarray(value, dtype=object) if _is_rectangular(value) else value
        return numpy.asarray(value, dtype=_NUMPY_NAMES[datatype])[()]


def _is_rectangular(value: Any) -> bool:
    """Whether a list holds text alone (an object array of ragged lists helps nobody)."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def has_numpy() -> bool:
    """Whether numpy can be imported here; it is not imported."""
    return importlib.util.find_spec("numpy") is not None
