"""The first prediction of every replica: made from the signature, or from the model's own example."""

from modelyard.core.datatypes import DATATYPES
from modelyard.core.errors import InvalidInput
from modelyard.core.signature import Signature, TensorSpec
from modelyard.serve.call import Call, RawTensor
from modelyard.serve.codec import pack, pack_record


def canary_call(signature: Signature, example: dict[str, object] | None, timeout: float) -> Call:
    """One record as a call.

    Raises InvalidInput when ``example`` does not fit the signature.
    """
    inputs: list[RawTensor] = []
    parameters: dict[str, object] = {}
    if example is not None:
        specs = {spec.name: spec for spec in signature.inputs}
        names = {parameter.name for parameter in signature.parameters}
        for name, value in example.items():
            if name in specs:
                shape, data = pack_record(specs[name], value, f"example.{name}", signature.batched)
                inputs.append(RawTensor(name, specs[name].datatype, shape, data))
            elif name in names:
                parameters[name] = value
            else:
                raise InvalidInput(
                    f"The example has {name!r}, which the model does not take.", field="example"
                )
    else:
        inputs = [_made_up(spec, signature.batched) for spec in signature.inputs if not spec.optional]
    return Call(tuple(inputs), parameters, 1, timeout)


def _made_up(spec: TensorSpec, batched: bool) -> RawTensor:
    """Zeros of the smallest shape; a word where text is wanted."""
    shape = tuple(1 if length < 0 else length for length in spec.shape)
    count = 1
    for length in shape:
        count *= length
    if spec.datatype == "BYTES":
        text = "null" if spec.kind == "json" else "modelyard"
        data = pack("BYTES", [text] * count, spec.name)
    else:
        data = bytes(count * DATATYPES[spec.datatype].size)
    return RawTensor(spec.name, spec.datatype, (1, *shape) if batched else shape, data)
