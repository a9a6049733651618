"""What a call costs: its rows, and the length of its longest row, by what its adapter declared.

An adapter declares (in HELLO) a cost and a shape; see ``modelyard_executor/adapter.py``:

    cost   rows      every row costs the same
           length    a row costs the length of one input: bytes of a text (a stand-in for tokens whose
                     scale the latency model learns), or the length of a number input's variable axis
           elements  a row costs the number of elements of one input
    of     the input that is measured
    shape  rows      a batch costs its rows
           padded    rows are padded to the longest: rows × longest. Also right where only rows of one
                     length are computed together: it has the node prefer those
           ragged    rows are not padded: a batch costs the sum of its lengths
           quadratic padded, and attention over the longest row dominates: rows × longest²

A call with several rows is one piece of work whose rows are computed together: it counts as
rows × longest, whatever its shorter rows would cost alone.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from modelyard.core.signature import Signature, TensorSpec

COSTS: Final = ("rows", "length", "elements")
SHAPES: Final = ("rows", "padded", "ragged", "quadratic")
_KEYS: Final = frozenset({"cost", "of", "shape"})
_length_at = struct.Struct("<I").unpack_from


class Measured(Protocol):
    """The tensor that is looked at: ``serve``'s RawTensor, or whatever has its fields."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def data(self) -> bytes | memoryview: ...


class Costed(Protocol):
    """A call: its inputs, and its length along the batch axis (1 where there is none)."""

    @property
    def inputs(self) -> Sequence[Measured]: ...
    @property
    def rows(self) -> int: ...


class CostRule:
    """How one deployment's calls are measured; made once from the declaration and the signature.

    ``by_rows`` is True when length plays no part: then ``rows`` of the call is all there is to know,
    and nobody needs to ask :meth:`measure`. ``shape`` says what a batch of several calls costs.
    """

    __slots__ = ("_longest", "by_rows", "cost", "of", "shape")

    def __init__(self, declared: Mapping[str, object], signature: Signature) -> None:
        """Raises ValueError, with a sentence, for a declaration that cannot be followed."""
        unknown = sorted(set(declared) - _KEYS)
        if unknown:
            raise ValueError(f"the cost has {', '.join(unknown)[:200]}; it has only cost, of and shape")
        self.cost = _one_of(declared.get("cost", "rows"), COSTS, "cost")
        self.by_rows = self.cost == "rows"
        self.shape = _one_of(declared.get("shape", "rows" if self.by_rows else "padded"), SHAPES, "shape")
        if self.by_rows != (self.shape == "rows"):
            raise ValueError(
                f"the cost {self.cost!r} does not go with the shape {self.shape!r}; a cost of rows has the "
                "shape rows, and no other cost has it"
            )
        self.of: str | None = None
        self._longest: Callable[[Measured, int], int] | None = None
        if self.by_rows:
            if declared.get("of"):
                raise ValueError("a cost of rows measures no input; leave out 'of'")
            return
        spec = _input(declared.get("of") or None, signature)
        self.of = spec.name
        self._longest = _measurement(self.cost, spec, signature.batched)

    def measure(self, call: Costed) -> tuple[int, int]:
        """(rows, length of the longest row) of ``call``; both are at least 1.

        An optional input that the call leaves out has the length 1. Raises ValueError for BYTES whose
        lengths and data disagree.
        """
        longest = self._longest
        if longest is None:
            return call.rows, 1
        for tensor in call.inputs:
            if tensor.name == self.of:
                return call.rows, max(1, longest(tensor, call.rows))
        return call.rows, 1


def _one_of(value: object, known: tuple[str, ...], what: str) -> str:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"the {what} of a row is {str(value)[:40]!r}; known: {', '.join(known)}")
    return value


def _input(name: object, signature: Signature) -> TensorSpec:
    """The input that is measured; may be left unnamed when there is one."""
    if name is None and len(signature.inputs) == 1:
        return signature.inputs[0]
    for spec in signature.inputs:
        if spec.name == name:
            return spec
    known = ", ".join(repr(spec.name) for spec in signature.inputs)
    raise ValueError(f"the cost is measured of {str(name)[:100]!r}; the model's inputs are {known[:300]}")


def _measurement(cost: str, spec: TensorSpec, batched: bool) -> Callable[[Measured, int], int]:
    """What measures the longest row of one input (tensor, rows); 0 for an empty row."""
    first = 1 if batched else 0
    if cost == "elements":
        return lambda tensor, rows: _product(tensor.shape[first:])
    if spec.datatype == "BYTES":
        return _longest_text
    for axis, length in enumerate(spec.shape, first):
        if length == -1:
            return lambda tensor, rows, axis=axis: tensor.shape[axis]
    raise ValueError(
        f"the cost is the length of {spec.name!r}, whose shape {list(spec.shape)} has no axis of any length (-1)"
    )


def _product(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count


def _longest_text(tensor: Measured, rows: int) -> int:
    """Bytes of the longest row's elements; the raw form is u32 length, then the bytes, each."""
    data = tensor.data
    end = len(data)
    per_row = _product(tensor.shape) // rows
    if rows == 1:
        return end - 4 * per_row
    position = longest = 0
    try:
        for _ in range(rows):
            start = position
            for _ in range(per_row):
                position += 4 + _length_at(data, position)[0]
            if position - start > longest:
                longest = position - start
    except struct.error:
        position = -1
    if position != end:
        raise ValueError(f"the lengths of the BYTES tensor {tensor.name!r} and its data disagree")
    return longest - 4 * per_row
