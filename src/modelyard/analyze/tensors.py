"""Graphs that take tensors and give tensors: which of their axes is that of the batch."""

from collections.abc import Sequence
from typing import NamedTuple

from modelyard.core.errors import RejectedContent
from modelyard.core.signature import Signature, TensorSpec

Axis = int | str | None
MAX_AXES = 32
MAX_LENGTH = 1 << 48


class Value(NamedTuple):
    """An input or output as the graph has it. ``shape`` is None for an unknown rank; an axis is a length, a
    symbol, or None when it may be any and has no name. ``datatype`` is V2's word."""

    name: str
    datatype: str
    shape: tuple[Axis, ...] | None
    description: str = ""


def signature(inputs: Sequence[Value], outputs: Sequence[Value], *, exact: bool = False) -> Signature:
    """Inputs and outputs, with the batch axis taken off where there is one.

    Batched means: every input and output has a first axis of any length, and that of all inputs (with ``exact``, of
    outputs too) has the same symbol (exporters that write none mean one; the executor proves it with two records). A
    graph whose first axes are all exactly 1 takes one record a call and still shows its batch axis.
    """
    everything = [*inputs, *outputs]
    firsts = [value.shape[0] if value.shape else -1 for value in everything]
    symbols = {value.shape[0] for value in (everything if exact else inputs) if value.shape}
    dynamic = not any(isinstance(first, int) for first in firsts) and len(symbols) == 1
    single = all(first == 1 for first in firsts)
    batched = dynamic or single
    return Signature(
        inputs=tuple(_spec(value, batched) for value in inputs),
        outputs=tuple(_spec(value, batched) for value in outputs),
        batched=batched,
        max_batch=1 if single else None,
    )


def check(path: str, inputs: Sequence[Value], outputs: Sequence[Value], again: str) -> None:
    """What every graph must have: inputs of known rank, outputs, names that differ, possible shapes.

    Raises RejectedContent; ``again`` says how to save the model anew.
    """
    for place, values in (("inputs", inputs), ("outputs", outputs)):
        if not values:
            raise RejectedContent(f"{path} has no {place}, so there is nothing to predict.", field=path)
        names = [value.name for value in values]
        if "" in names or len(set(names)) != len(names):
            raise RejectedContent(
                f"{path} has {place} without names, or two of one name. {again}.", field=path
            )
        for value in values:
            if value.shape is None and place == "inputs":
                raise RejectedContent(
                    f"The input {value.name[:100]!r} has no shape. {again} with the shape told (axes may be dynamic).",
                    field=f"inputs.{value.name[:100]}",
                )
            lengths = [axis for axis in value.shape or () if isinstance(axis, int)]
            if len(value.shape or ()) > MAX_AXES or not all(0 <= axis <= MAX_LENGTH for axis in lengths):
                raise RejectedContent(
                    f"{path} is corrupt: the shape of {value.name[:100]!r} is not possible. {again}.",
                    field=path,
                )


def warnings(told: Signature) -> tuple[str, ...]:
    """What the author of such a graph should know."""
    if told.max_batch == 1:
        return (
            "The model was exported for exactly one record a call; export it with a dynamic first axis to "
            "let calls be computed together.",
        )
    return ()


def _spec(value: Value, batched: bool) -> TensorSpec:
    # An output of unknown rank is told as one axis of any length; answers carry their real shape.
    shape = (None,) if value.shape is None else value.shape
    axes = shape[1:] if batched else shape
    return TensorSpec(
        name=value.name,
        datatype=value.datatype,
        shape=tuple(axis if isinstance(axis, int) else -1 for axis in axes),
        kind="text" if value.datatype == "BYTES" else "tensor",
        description=value.description,
    )
