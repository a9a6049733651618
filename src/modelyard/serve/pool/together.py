"""Whether a model answers a call beside others as it answers it alone: found out once for each version.

Batching is ours to decide, so it may not change what a caller gets. A model that mixes the rows of a batch (a
softmax along the wrong axis, statistics of the batch, padding that is not masked, values that are quantized by
the largest of all rows) is found by its first prediction, computed again between a call like it and itself.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from itertools import repeat
from typing import Final, cast

import msgspec

from modelyard.core.datatypes import DATATYPES
from modelyard.core.errors import ModelyardError, TooLarge, Unavailable
from modelyard.core.signature import Signature, TensorSpec
from modelyard.serve.call import Answer, Call, RawTensor, Result
from modelyard.serve.codec import elements, pack, unpack

LONGEST: Final = 5.0  # seconds of a first prediction; a model that takes longer is not tried
MOST: Final = 1 << 20  # elements of an output that are looked at
UNFINISHED: Final = "its process ended while it was tried with several calls together"

Ask = Callable[[Sequence[Call]], Awaitable[Sequence[Result]]]


async def difference(
    ask: Ask, call: Call, alone: Answer, signature: Signature, tolerance: float
) -> str | None:
    """Why calls are to be computed one at a time; None when they may be computed together.

    ``alone`` is the answer to ``call``; ``ask`` has calls computed together. Numbers may differ by ``tolerance``
    times the largest of their output, or times 1. Nothing is said of a model that does not repeat itself, nor
    where calls cannot be asked at all.
    """
    try:
        other = mate(call, signature)
        (beside,) = await ask([other])
    except ModelyardError as error:  # a number that cannot be moved, or none that a cost is measured by
        other, beside = call, error
    if isinstance(beside, ModelyardError):  # it is made up, and need not be a call that the model takes
        other, beside = call, alone
    try:
        answers = await ask([call, other, call])
    except ModelyardError:
        return None
    for answer, expected in zip(answers, (alone, beside, alone), strict=True):
        if isinstance(answer, TooLarge):
            return None  # of memory, which the queue learns for itself
        if isinstance(answer, Unavailable):
            return UNFINISHED
        if isinstance(answer, ModelyardError):
            return f"a call that is answered alone fails beside others: {answer.message}"
        why = _apart(expected, answer, signature, tolerance)
        if why is not None:
            (again,) = await ask([call])
            repeats = not isinstance(again, ModelyardError) and not _apart(
                alone, again, signature, tolerance
            )
            return why if repeats else None
    return None


def mate(call: Call, signature: Signature) -> Call:
    """A call like ``call`` and not the same: free axes half as long, texts cut, numbers with fractions moved."""
    specs = {spec.name: spec for spec in signature.inputs}
    return call._replace(
        inputs=tuple(_moved(each, specs[each.name], signature.batched) for each in call.inputs)
    )


def _moved(tensor: RawTensor, spec: TensorSpec, batched: bool) -> RawTensor:
    if spec.kind in ("json", "bytes"):
        return tensor
    axis = next((axis for axis, length in enumerate(spec.shape) if length < 0), None)
    if axis is not None:
        return _shorter(tensor, axis + batched)
    family = DATATYPES[tensor.datatype].family
    values = unpack(tensor.datatype, tensor.data)
    if family == "float":
        values = [value / 2 + 0.25 if isinstance(value, float) else value for value in values]
    elif family == "bytes":
        values = [value[: max(1, len(value) // 2)] if isinstance(value, str) else value for value in values]
    return tensor._replace(data=pack(tensor.datatype, values, tensor.name))


def _shorter(tensor: RawTensor, axis: int) -> RawTensor:
    """The first half along ``axis``."""
    size = DATATYPES[tensor.datatype].size
    length = tensor.shape[axis]
    if not size or length < 2:
        return tensor
    block = size * math.prod(tensor.shape[axis + 1 :])
    kept = length // 2 * block
    data = bytes(tensor.data)
    parts = [data[start : start + kept] for start in range(0, len(data), length * block)]
    shape = (*tensor.shape[:axis], length // 2, *tensor.shape[axis + 1 :])
    return tensor._replace(shape=shape, data=b"".join(parts))


def _apart(expected: Answer, answer: Answer, signature: Signature, tolerance: float) -> str | None:
    """How ``answer`` differs from what was ``expected``; None where it does not."""
    specs = {spec.name: spec for spec in signature.outputs}
    found = {tensor.name: tensor for tensor in answer}
    for tensor in expected:
        other = found.get(tensor.name)
        if other is None:
            return f"{tensor.name!r} is only answered alone"
        if tensor.shape != other.shape:
            return f"{tensor.name!r} has the shape {list(tensor.shape)} alone and {list(other.shape)} beside others"
        if tensor.data == other.data:
            continue
        far = _far(_values(tensor, specs.get(tensor.name)), _values(other, specs.get(tensor.name)))
        if far == math.inf:
            return f"{tensor.name!r} is another value alone and beside others"
        if far > tolerance:
            return f"{tensor.name!r} differs by {far:.2g} alone and beside others, and {tolerance:g} is tolerated"
    return None


def _values(tensor: RawTensor, spec: TensorSpec | None) -> list[object]:
    kind = DATATYPES[tensor.datatype]
    if kind.size:
        return unpack(tensor.datatype, tensor.data[: MOST * kind.size])
    if spec is not None and spec.kind == "json":
        return [msgspec.json.decode(element) for element in elements(tensor.data)[:MOST]]
    return list(elements(tensor.data)[:MOST])


def _far(one: list[object], other: list[object]) -> float:
    """The largest distance of two numbers in the same place, as a part of the largest number or of 1;
    infinity where anything else differs."""
    pairs: list[tuple[float, float]] = []
    if not _pair(one, other, pairs):
        return math.inf
    scale = max([1.0, *(abs(a) for a, _ in pairs if math.isfinite(a))])
    farthest = 0.0
    for a, b in pairs:
        if a == b or (math.isnan(a) and math.isnan(b)):
            continue
        if not (math.isfinite(a) and math.isfinite(b)):
            return math.inf
        farthest = max(farthest, abs(a - b) / scale)
    return farthest


def _pair(one: object, other: object, pairs: list[tuple[float, float]]) -> bool:
    """Whether two values have one form and differ in numbers with fractions alone, which are put into ``pairs``."""
    if isinstance(one, list) and isinstance(other, list):
        ours, theirs = cast("list[object]", one), cast("list[object]", other)
        return len(ours) == len(theirs) and all(map(_pair, ours, theirs, repeat(pairs)))
    if isinstance(one, dict) and isinstance(other, dict):
        first, second = cast("dict[str, object]", one), cast("dict[str, object]", other)
        return first.keys() == second.keys() and all(_pair(first[key], second[key], pairs) for key in first)
    if isinstance(one, float) and isinstance(other, float):
        pairs.append((one, other))
        return True
    return one == other
