"""Examples: what an object is called with, as it is given, and the same as records of a model."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from modelyard.client.records import plain
from modelyard.core.datatypes import DATATYPES
from modelyard.core.errors import InvalidInput
from modelyard.core.signature import Signature, TensorSpec

MOST = 8  # records that are compared; the first of them becomes the version's example
_ACCEPTED = (
    "a numpy array (rows first), a pandas data frame, torch tensors, a text or a list of texts, a record (a dict of inputs "
    "by name) or a list of records"
)


class Example(NamedTuple):
    """``native`` is what the object is called with: at most MOST records together. ``named`` are columns by the input's
    name, ``placed`` inputs by position, each with one entry for every one of ``rows`` records."""

    native: Any
    rows: int
    named: Mapping[str, Sequence[Any]] | None = None
    placed: tuple[Sequence[Any], ...] = ()


def read(given: object) -> Example | None:
    """``given`` as an example; None for none. Raises InvalidInput for what cannot be one."""
    if given is None:
        return None
    kind = type(given).__module__.partition(".")[0]
    value: Any = given
    if kind == "pandas":
        return _frame(value)
    if isinstance(given, str):
        return Example([given], 1, placed=([given],))
    if isinstance(given, Mapping):
        return _mapping({str(name): each for name, each in given.items()})
    if kind == "scipy":
        value = value.toarray()
    if kind == "torch":
        return _placed((value,))
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return _array(value)
    if isinstance(given, tuple) and given and all(hasattr(each, "shape") for each in given):
        return _placed(given)
    if isinstance(given, list | tuple):
        return _list(list(given))
    raise InvalidInput(f"A {type(given).__name__} is no example; give {_ACCEPTED}.", field="example")


def _frame(frame: Any) -> Example:
    if not hasattr(frame, "columns"):  # a series: one record
        frame = frame.to_frame().T
    frame = frame.iloc[:MOST]
    _some(len(frame))
    named = {str(name): [_gap(each) for each in frame[name].tolist()] for name in frame.columns}
    return Example(frame, len(frame), named=named)


def _array(array: Any) -> Example:
    if array.ndim == 0:
        raise InvalidInput(f"A single number is no example; give {_ACCEPTED}.", field="example")
    if array.ndim == 1 and array.dtype.kind not in "OUS":
        array = array.reshape(1, -1)  # one record
    array = array[:MOST]
    _some(len(array))
    return Example(array, len(array), placed=(list(array),))


def _placed(tensors: Sequence[Any]) -> Example:
    counts = {int(each.shape[0]) if len(each.shape) else 0 for each in tensors}
    if len(counts) != 1 or 0 in counts:
        raise InvalidInput(
            "The tensors of an example begin with the same number of records, 1 or more; theirs are "
            f"{', '.join(str(tuple(each.shape)) for each in tensors)}.",
            field="example",
        )
    held = tuple(each[:MOST] for each in tensors)
    count = min(MOST, counts.pop())
    return Example(held, count, placed=tuple([array(each) for each in tensor] for tensor in held))


def _mapping(held: dict[str, Any]) -> Example:
    if not held:
        raise InvalidInput("The example is empty.", field="example")
    if all(type(each).__module__.partition(".")[0] == "torch" for each in held.values()):
        placed = _placed(tuple(held.values()))
        named = dict(zip(held, placed.placed, strict=True))
        native = dict(zip(held, placed.native, strict=True))
        return Example(native, placed.rows, named=named)
    return Example([held], 1, named={name: [value] for name, value in held.items()})


def _list(items: list[Any]) -> Example:
    items = items[:MOST]
    _some(len(items))
    if all(isinstance(each, Mapping) for each in items):
        names = list(dict.fromkeys(str(name) for each in items for name in each))
        return Example(
            items, len(items), named={name: [each.get(name) for each in items] for name in names}
        )
    if all(isinstance(each, int | float) for each in items):
        return Example([items], 1, placed=([items],))  # one record
    return Example(items, len(items), placed=(items,))


def _some(count: int) -> None:
    if count == 0:
        raise InvalidInput("The example has no record in it.", field="example")


def _gap(value: Any) -> Any:
    return None if isinstance(value, float) and value != value else value


def array(tensor: Any) -> Any:
    """A tensor of torch as an array; anything else as it is."""
    if not hasattr(tensor, "detach"):
        return tensor
    held = tensor.detach().cpu()
    return held.float().numpy() if str(held.dtype) == "torch.bfloat16" else held.numpy()


def records_of(example: Example, signature: Signature) -> list[dict[str, Any]]:
    """The example as records of ``signature``. Raises InvalidInput that says what does not fit."""
    columns = _columns(example, signature)
    if not signature.batched and not _single(example, signature):
        return [
            {
                name: _value(specs[name], _together(values))
                for specs in [_specs(signature)]
                for name, values in columns.items()
            }
        ]
    specs = _specs(signature)
    return [
        {
            name: _value(specs[name], values[row])
            for name, values in columns.items()
            if values[row] is not None or not specs[name].optional
        }
        for row in range(example.rows)
    ]


def _single(example: Example, signature: Signature) -> bool:
    """Whether a model without a batch still takes one record of the example at a time."""
    columns = _columns(example, signature)
    specs = _specs(signature)
    return all(
        len(_shape(values[0])) == len(specs[name].shape) or specs[name].datatype == "BYTES"
        for name, values in columns.items()
    )


def _together(values: Sequence[Any]) -> list[Any]:
    return [plain(each, "example") for each in values]


def _specs(signature: Signature) -> dict[str, TensorSpec]:
    found = {spec.name: spec for spec in signature.inputs}
    for parameter in signature.parameters:
        found.setdefault(parameter.name, TensorSpec(name=parameter.name, datatype="BYTES", kind="json"))
    return found


def _columns(example: Example, signature: Signature) -> dict[str, Sequence[Any]]:
    inputs = [spec.name for spec in signature.inputs]
    needed = [spec.name for spec in signature.inputs if not spec.optional]
    if example.named is not None:
        named = dict(example.named)
        if len(inputs) == 1 and inputs[0] not in named:  # one matrix, of a table's columns
            rows = [[named[name][row] for name in named] for row in range(example.rows)]
            return {
                inputs[0]: [
                    row[0] if not signature.inputs[0].shape and len(row) == 1 else row for row in rows
                ]
            }
        known = {*inputs, *(each.name for each in signature.parameters)}
        strange = [name for name in named if name not in known]
        lacking = [name for name in needed if name not in named]
        if strange or lacking:
            told = [f"has {', '.join(map(repr, strange[:8]))}"] if strange else []
            told += [f"lacks {', '.join(map(repr, lacking[:8]))}"] if lacking else []
            raise InvalidInput(
                f"The example {' and '.join(told)}; the model takes {', '.join(inputs)[:300]}.",
                field="example",
            )
        return named
    placed = example.placed
    if len(placed) == 1 and len(inputs) > 1:  # a matrix, of a model that names its columns
        width = len(placed[0][0]) if hasattr(placed[0][0], "__len__") else 1
        if width != len(inputs):
            raise InvalidInput(
                f"The example has {width} columns, and the model takes {len(inputs)}: {', '.join(inputs)[:300]}.",
                field="example",
            )
        return {name: [row[index] for row in placed[0]] for index, name in enumerate(inputs)}
    if not len(needed) <= len(placed) <= len(inputs):
        raise InvalidInput(
            f"The example has {len(placed)} inputs, and the model takes {len(inputs)}: {', '.join(inputs)[:300]}.",
            field="example",
        )
    return dict(zip(inputs, placed, strict=False))


def _value(spec: TensorSpec, value: Any) -> Any:
    """As JSON, of the shape that the model takes."""
    if hasattr(value, "dtype") and hasattr(value, "tolist") and value.dtype.kind == "f":
        value = _gaps(value.tolist())
    told = plain(value, f"example.{spec.name}")
    if spec.kind == "json":
        return told
    shape = _shape(told)
    if not spec.shape and shape == (1,):
        return told[0]
    fits = len(shape) == len(spec.shape) and all(
        want in (-1, have) for want, have in zip(spec.shape, shape, strict=False)
    )
    if not fits and spec.datatype != "BYTES":
        raise InvalidInput(
            f"A record of the example has the shape {list(shape)} for {spec.name!r}; the model takes {list(spec.shape)}"
            f"{' (-1 is any length)' if -1 in spec.shape else ''}.",
            field="example",
        )
    whole = spec.datatype in DATATYPES and DATATYPES[spec.datatype].family == "int"
    return _whole(told) if whole else told


def _gaps(value: Any) -> Any:
    """NaN as the gap that it is in a table."""
    return [_gaps(each) for each in value] if isinstance(value, list) else _gap(value)


def _whole(value: Any) -> Any:
    """2.0 as 2: what a data frame with a gap makes of whole numbers."""
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _shape(value: Any) -> tuple[int, ...]:
    if hasattr(value, "shape"):
        return tuple(int(each) for each in value.shape)
    return (len(value), *(_shape(value[0]) if value else ())) if isinstance(value, list) else ()


def as_json(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of numbers, texts and lists alone."""
    return msgspec.to_builtins({name: plain(value, name) for name, value in record.items()})
