"""Tensors as Python values and back, by the specs of a signature; for models that are plain Python."""

import base64
import collections.abc
import contextlib
import dataclasses
import datetime
import decimal
import enum
import json
import math
import types
import uuid
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ..adapter import InvalidInput, ItemError
from ..tensor import DATATYPES, Tensor, from_numpy, from_values, len_of

_BOUNDS = {
    name: (
        (0, 2 ** (8 * size) - 1) if name[0] == "U" else (-(2 ** (8 * size - 1)), 2 ** (8 * size - 1) - 1)
    )
    for name, (size, _) in DATATYPES.items()
    if "INT" in name
}


def python_values(tensor: Tensor, spec: Dict[str, Any], *, batched: bool, array: bool) -> List[Any]:
    """One value per record: scalars, nested lists by shape, or numpy arrays when ``array``.

    BYTES become ``str``, those of kind bytes ``bytes``, those of kind json what their text says. Raises InvalidInput for text that is
    not UTF-8 or not JSON.
    """
    count = tensor.shape[0] if batched else 1
    shape = tensor.shape[1:] if batched else tensor.shape
    if array and tensor.datatype != "BYTES":
        # A copy: the model may write into what it is given.
        rows = tensor.numpy().reshape((count, *shape))
        return [rows[row].copy() for row in range(count)]
    flat = tensor.values()
    if tensor.datatype == "BYTES":
        flat = [_text(element, spec) for element in flat]
    size = len_of(shape)
    return [_nested(flat[row * size : (row + 1) * size], shape) for row in range(count)]


def _text(element: bytes, spec: Dict[str, Any]) -> Any:
    field = "inputs." + spec["name"]
    if spec.get("kind") == "bytes":
        return element
    try:
        text = element.decode("utf-8")
        return json.loads(text) if spec.get("kind") == "json" else text
    except UnicodeDecodeError:
        raise InvalidInput(field, "The input %r is not UTF-8 text." % spec["name"]) from None
    except (ValueError, RecursionError) as error:
        raise InvalidInput(field, "The input %r is not JSON: %s." % (spec["name"], error)) from None


def _nested(flat: Sequence[Any], shape: Sequence[int]) -> Any:
    if not shape:
        return flat[0]
    if len(shape) == 1:
        return list(flat)
    size = len_of(shape[1:])
    return [_nested(flat[index * size : (index + 1) * size], shape[1:]) for index in range(shape[0])]


def tensor_of(name: str, value: Any, spec: Optional[Dict[str, Any]]) -> Tensor:
    """What the model answered for the output ``name``, as its ``spec`` declares it.

    Without a spec: numbers, booleans and text as they are, anything else as JSON text. Raises ItemError
    when it does not fit.
    """
    if spec is not None and spec["datatype"] == "BYTES" and spec.get("kind") == "json":
        return _json_tensor(name, value, spec)
    value = _array_of(value)
    if spec is None:
        return _inferred(name, value)
    datatype = spec["datatype"]
    if hasattr(value, "dtype"):
        tensor = _cast(name, value, datatype)
    else:
        flat, shape = _flatten(name, value)
        tensor = from_values(datatype, shape, [_checked(name, element, datatype) for element in flat])
    _check_shape(name, tensor.shape, spec["shape"])
    return tensor


def stack(name: str, rows: Sequence[Tensor]) -> Tensor:
    """The rows of one call as one tensor with a batch axis. Raises ItemError when they differ."""
    first = rows[0]
    if any(row.shape != first.shape or row.datatype != first.datatype for row in rows):
        raise ItemError("The model answered %r in different shapes for the records of one call." % name)
    return Tensor(first.datatype, (len(rows), *first.shape), b"".join(bytes(row.data) for row in rows))


def _array_of(value: Any) -> Any:
    """A torch tensor or a pandas object as a numpy array; anything else as it is."""
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        return value.detach().cpu().numpy()
    if hasattr(value, "to_numpy"):
        return value.to_numpy()
    return value


def _plain(value: Any) -> Any:
    """For ``json.dumps``: what frameworks answer as Python values. Arrays as lists, tables as a list of rows,
    bytes that are no text as ``{"b64": …}``, objects as their public attributes."""
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return value.to_dict(orient="records")
    value = _array_of(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (bytes, bytearray)):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (PurePath, uuid.UUID, decimal.Decimal)):
        return str(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (Iterator, collections.abc.Sequence)):
        return list(value)
    shown = {} if isinstance(value, type) or callable(value) else _public(value)
    if shown:
        return shown
    raise TypeError("a value of type %s" % type(value).__name__)


_DATA = (types.MemberDescriptorType, types.GetSetDescriptorType)  # slots, and what compiled classes have


def _public(value: Any) -> Dict[str, Any]:
    """What an object holds, without what begins with an underscore."""
    names = list(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__[:-1]:
        names += [name for name, each in vars(kind).items() if isinstance(each, _DATA)]
    found = {}
    for name in dict.fromkeys(names):
        if not name.startswith("_"):
            with contextlib.suppress(AttributeError):
                found[name] = getattr(value, name)
    return found


def _with_text_keys(value: Any) -> Any:
    """The same with the keys of every dict as text: JSON has no others."""
    if isinstance(value, dict):
        return {
            key
            if isinstance(key, str)
            else str(getattr(key, "item", lambda key=key: key)()): _with_text_keys(each)
            for key, each in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_with_text_keys(each) for each in value]
    return value


def _json_text(name: str, value: Any) -> bytes:
    try:
        try:
            text = json.dumps(value, default=_plain, allow_nan=False, separators=(",", ":"))
        except TypeError as error:
            if "keys must be" not in str(error):
                raise
            text = json.dumps(
                _with_text_keys(value), default=_plain, allow_nan=False, separators=(",", ":")
            )
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ItemError(
            "The model answered %r with something that JSON has no word for: %s." % (name, error)
        ) from None


def _json_tensor(name: str, value: Any, spec: Dict[str, Any]) -> Tensor:
    """``shape`` () is one document; [n] is a list of documents."""
    if not spec["shape"]:
        return from_values("BYTES", (), [_json_text(name, value)])
    elements = value.tolist() if hasattr(value, "tolist") else value
    if len(spec["shape"]) != 1 or not isinstance(elements, (list, tuple)):
        raise ItemError(
            "The model answered %r with a %s; it must be a list." % (name, type(value).__name__)
        )
    _check_shape(name, (len(elements),), spec["shape"])
    return from_values("BYTES", (len(elements),), [_json_text(name, element) for element in elements])


def _cast(name: str, value: Any, datatype: str) -> Tensor:
    """A numpy array or scalar in the declared type, when nothing but precision is lost."""
    import numpy

    value = numpy.asarray(value)
    if value.dtype.kind in "USO":
        flat = [_checked(name, element, datatype) for element in value.ravel().tolist()]
        return from_values(datatype, value.shape, flat)
    target = numpy.dtype(DATATYPES[datatype][1]) if datatype != "BYTES" else None
    if target is not None and target.kind in "iu" and value.dtype.kind in "iu":
        low, high = _BOUNDS[datatype]
        fits = value.size == 0 or (int(value.min()) >= low and int(value.max()) <= high)
    else:
        fits = (
            target is not None
            and numpy.can_cast(value.dtype, target, "same_kind")
            and (value.dtype.kind != "b" or target.kind == "b")
        )
    if target is None or not fits:
        raise ItemError(
            "The model answered %r as %s; its signature says %s." % (name, value.dtype, datatype)
        )
    return from_numpy(value.astype(target, copy=False))


def _flatten(name: str, value: Any) -> Tuple[List[Any], Tuple[int, ...]]:
    """A nested list as its elements and its shape. Raises ItemError when it is ragged."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        return [value], ()
    if not value:
        return [], (0,)
    parts = [_flatten(name, _array_of(element)) for element in value]
    if any(shape != parts[0][1] for _, shape in parts):
        raise ItemError("The model answered %r as a list whose parts differ in shape." % name)
    return [element for flat, _ in parts for element in flat], (len(parts),) + parts[0][1]


def _checked(name: str, value: Any, datatype: str) -> Any:
    """``value`` when it is a value of ``datatype``."""
    if datatype == "BYTES":
        fits = isinstance(value, (str, bytes))
    elif datatype == "BOOL":
        fits = isinstance(value, bool)
    elif datatype in _BOUNDS:
        low, high = _BOUNDS[datatype]
        fits = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    else:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        fits = fits and (not math.isfinite(value) or abs(value) <= _LARGEST[datatype])
    if not fits:
        raise ItemError(
            "The model answered %r with %.60r (%s); its signature says %s."
            % (name, value, type(value).__name__, datatype)
        )
    return value


_LARGEST = {"FP16": 65504.0, "FP32": 3.4028234663852886e38, "FP64": 1.7976931348623157e308}


def _inferred(name: str, value: Any) -> Tensor:
    if hasattr(value, "dtype"):
        try:
            return from_numpy(value)
        except TypeError as error:
            raise ItemError("The model answered %r with %s." % (name, error)) from None
    try:
        flat, shape = _flatten(name, value)
    except ItemError:
        flat, shape = [value], ()
    kinds = {type(element) for element in flat}
    if kinds == {bool}:
        return from_values("BOOL", shape, flat)
    if kinds == {int} and all(-(2**63) <= element < 2**63 for element in flat):
        return from_values("INT64", shape, flat)
    if kinds and kinds <= {int, float} and float in kinds:
        return from_values("FP64", shape, [float(element) for element in flat])
    if kinds and kinds <= {str, bytes}:
        return from_values("BYTES", shape, flat)
    return from_values("BYTES", (), [_json_text(name, value)])


def _check_shape(name: str, shape: Sequence[int], declared: Sequence[int]) -> None:
    if len(shape) != len(declared) or any(want not in (-1, have) for have, want in zip(shape, declared)):
        raise ItemError(
            "The model answered %r with shape %s; its signature says %s."
            % (name, list(shape), list(declared))
        )
