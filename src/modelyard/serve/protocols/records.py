"""Records in the forms that V1, MLflow, SageMaker and Vertex share: rows, and columns.

    rows     {"instances": [v, v]}               one value per record, where the model has one input
             {"instances": [{"a": v}, {"a": v}]} inputs by name
    columns  {"inputs": [v, v]}, {"inputs": {"a": [v, v]}}    whole tensors, batch axis first

Bytes are ``{"b64": "..."}``, both ways where they are not UTF-8. Rows of fixed shapes are computed as one
tensor; where lengths differ each row is a call of its own, so that the queue can put like to like. A record
at fault fails the whole request: these protocols have no word for it.

Source: https://www.tensorflow.org/tfx/serving/api_rest#predict_api
"""

from collections.abc import Sequence
from math import prod
from typing import cast

import msgspec

from modelyard.core.errors import Internal, InvalidInput, ModelyardError
from modelyard.core.signature import Signature, TensorSpec
from modelyard.serve.call import Answer, Call, Options, RawTensor
from modelyard.serve.checks import checked_call
from modelyard.serve.codec import flatten, from_b64, is_b64, json_values, nest, pack
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.protocols.native import MAX_RECORDS, Record, record_call
from modelyard.serve.served import Served

TOGETHER = 256  # rows that are one call: the scheduler can part calls, not rows


def row_calls(served: Served, rows: object, parameters: Record, options: Options, field: str) -> list[Call]:
    """``rows`` as calls, as few as can be. Raises InvalidInput naming the row."""
    if not isinstance(rows, list) or not rows:
        raise InvalidInput(f"{field!r} is a list with at least one record.", field=field)
    values = cast("list[object]", rows)
    if len(values) > MAX_RECORDS:
        raise InvalidInput(f"{len(values)} records at once; send up to {MAX_RECORDS}.", field=field)
    signature = served.signature
    only = only_input(signature)
    calls = [
        record_call(
            served, _record(signature, only, value, f"{field}[{index}]", parameters), f"{field}[{index}].", options
        )
        for index, value in enumerate(values)
    ]  # fmt: skip
    return _stacked(served, calls)


def only_input(signature: Signature) -> TensorSpec | None:
    """The input that a value without a name is for: the only one that must be given."""
    needed = [spec for spec in signature.inputs if not spec.optional]
    return needed[0] if len(needed) == 1 else None


def _record(
    signature: Signature, only: TensorSpec | None, value: object, field: str, parameters: Record
) -> Record:
    """One row as inputs by name."""
    if isinstance(value, dict):
        record = cast("Record", value)
        if only is not None and (only.kind == "json" or is_b64(record)) and only.name not in record:
            return {only.name: _plain(only, record, field), **parameters}
        specs = {spec.name: spec for spec in signature.inputs}
        named = {
            name: _plain(specs[name], each, f"{field}.{name}") if name in specs else each
            for name, each in record.items()
        }
        return {**parameters, **named}
    if only is None:
        names = ", ".join(spec.name for spec in signature.inputs)
        raise InvalidInput(f"This model has the inputs {names}; give them by name.", field=field)
    return {only.name: _plain(only, value, field), **parameters}


def _plain(spec: TensorSpec, value: object, field: str) -> object:
    return value if spec.datatype != "BYTES" or spec.kind == "json" else from_b64(value, field)


def _stacked(served: Served, calls: list[Call]) -> list[Call]:
    """Rows of one shape as calls of many rows, none larger than a batch may be."""
    signature = served.signature
    if (
        len(calls) < 2
        or not signature.batched
        or signature.max_batch == 1
        or not all(map(_fixed, signature.inputs))
    ):
        return calls  # fmt: skip
    names = [tensor.name for tensor in calls[0].inputs]
    alike = all(
        call.parameters == calls[0].parameters and [tensor.name for tensor in call.inputs] == names
        for call in calls
    )
    if not alike:
        return calls
    most = served.serving.max_batch
    limit = max(1, min(TOGETHER, most, signature.max_batch or most))
    together: list[Call] = []
    for start in range(0, len(calls), limit):
        part = calls[start : start + limit]
        inputs = tuple(
            RawTensor(
                tensor.name,
                tensor.datatype,
                (len(part), *tensor.shape[1:]),
                b"".join(call.inputs[position].data for call in part),
            )
            for position, tensor in enumerate(part[0].inputs)
        )
        together.append(part[0]._replace(inputs=inputs, rows=len(part)))
    return together


def _fixed(spec: TensorSpec) -> bool:
    """Whether all records of ``spec`` cost the same."""
    return -1 not in spec.shape and (spec.datatype != "BYTES" or spec.kind in ("label", "table"))


async def answer_rows(plane: Dataplane, served: Served, calls: Sequence[Call]) -> list[object]:
    """What the rows of ``calls`` predict, in order: a value each, or an object of several outputs.

    Raises the error of the first row that has one.
    """
    if len(calls) == 1:
        return _rows_of(served, calls[0], await plane.predict(served, calls[0]))
    rows: list[object] = []
    for call, result in zip(calls, await plane.predict_all(served, calls), strict=True):
        if isinstance(result, ModelyardError):
            raise result
        rows += _rows_of(served, call, result)
    return rows


def _rows_of(served: Served, call: Call, answer: Answer) -> list[object]:
    signature = served.signature
    specs = {spec.name: spec for spec in signature.outputs}
    columns: dict[str, list[object]] = {}
    for tensor in answer:
        flat = json_values(specs.get(tensor.name), tensor.datatype, tensor.data)
        if not signature.batched:
            columns[tensor.name] = [nest(tensor.shape, flat)]
            continue
        if not tensor.shape or tensor.shape[0] != call.rows:
            raise Internal(
                f"The model answered {tensor.name!r} of shape {list(tensor.shape)} for {call.rows} rows."
            )
        columns[tensor.name] = cast("list[object]", nest(tensor.shape, flat))
    if len(columns) == 1:
        return next(iter(columns.values()))
    count = call.rows if signature.batched else 1
    return [{name: column[row] for name, column in columns.items()} for row in range(count)]


def column_call(served: Served, columns: object, parameters: Record, options: Options, field: str) -> Call:
    """Whole tensors as one call. Raises InvalidInput naming the input."""
    signature = served.signature
    specs = {spec.name: spec for spec in signature.inputs}
    if is_b64(columns) or not isinstance(columns, dict):
        only = only_input(signature)
        if only is None:
            raise InvalidInput(
                f"This model has the inputs {', '.join(specs)}; give them by name.", field=field
            )
        named: Record = {only.name: columns}
    else:
        named = cast("Record", columns)
    inputs: list[RawTensor] = []
    for name, value in named.items():
        spec = specs.get(name)
        where = f"{field}.{name}"
        if spec is None:
            raise InvalidInput(
                f"{served.endpoint!r} has no input {name!r}; it takes {', '.join(specs)}.", field=where
            )
        depth = len(spec.shape) + signature.batched
        if spec.kind == "json":
            shape, flat = _documents(value, depth, where)
        else:
            shape, flat = flatten(_plain(spec, value, where), depth, where)
        if 0 in shape or prod(shape) != len(flat):
            raise InvalidInput(f"{name!r} has nothing in it.", field=where)
        inputs.append(RawTensor(name, spec.datatype, shape, pack(spec.datatype, flat, where)))
    return checked_call(served, inputs, dict(parameters), options)


def _documents(value: object, depth: int, field: str) -> tuple[tuple[int, ...], list[object]]:
    """Values of kind json: any JSON is an element, a list only where the batch axis is."""
    if depth == 0:
        return (), [msgspec.json.encode(value)]
    if depth > 1 or not isinstance(value, list):
        raise InvalidInput("Give a list of one JSON value per record here.", field=field)
    documents = cast("list[object]", value)
    return (len(documents),), [msgspec.json.encode(document) for document in documents]


def tensors_of(served: Served, answer: Answer) -> object:
    """The answer to :func:`column_call`: one output's whole tensor, or an object of them by name."""
    specs = {spec.name: spec for spec in served.signature.outputs}
    outputs = {
        tensor.name: nest(tensor.shape, json_values(specs.get(tensor.name), tensor.datatype, tensor.data))
        for tensor in answer
    }
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs
