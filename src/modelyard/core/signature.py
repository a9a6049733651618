"""What a model takes and gives: names, types, shapes, parameters, and how calls may be batched."""

from typing import Literal

from modelyard.core.struct import Noun

Kind = Literal["text", "json", "label", "embedding", "table", "tensor", "bytes"]


class TensorSpec(Noun):
    """One input or output of a model.

    ``shape`` is the shape of *one record*, without the batch axis; -1 is "any length". ``kind``
    tells what the values mean; *bytes* are a file's, in JSON text or ``{"b64": "…"}``. An ``optional`` input may be left out of a call.
    """

    name: str
    datatype: str
    shape: tuple[int, ...] = ()
    kind: Kind = "tensor"
    optional: bool = False
    description: str = ""


class ParameterSpec(Noun):
    """One option of a call, such as ``normalize``."""

    name: str
    type: Literal["bool", "int", "float", "string"]
    default: bool | int | float | str | None = None
    description: str = ""


class Signature(Noun):
    """The inputs, outputs and parameters of a version.

    ``batched``: every input and output has one more axis in front, along which records of several
    calls can be put together. ``max_batch`` is that axis' largest length (1: exported for exactly
    one record). A model that is not batched gets one record a call.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...] = ()
    parameters: tuple[ParameterSpec, ...] = ()
    batched: bool = True
    max_batch: int | None = None

    def batch_shape(self, spec: TensorSpec) -> tuple[int, ...]:
        """The shape that protocols with a batch axis (V2) show for ``spec``."""
        if not self.batched:
            return spec.shape
        return (1 if self.max_batch == 1 else -1, *spec.shape)
