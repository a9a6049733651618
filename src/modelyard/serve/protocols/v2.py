"""The Open Inference Protocol V2 over REST, with tensors as JSON.

Source: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

import math

import msgspec

from modelyard.core.datatypes import DATATYPES
from modelyard.core.errors import InvalidInput, Unavailable
from modelyard.core.signature import Signature, TensorSpec
from modelyard.core.version import VERSION
from modelyard.serve.cache.answers import cache_headers
from modelyard.serve.call import RawTensor
from modelyard.serve.checks import checked_call
from modelyard.serve.codec import flatten, pack, unpack
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.http import Request, Response, decode_error, json_response
from modelyard.serve.protocols.options import options_of
from modelyard.serve.served import Served


class InputTensor(msgspec.Struct, forbid_unknown_fields=True):
    """``data`` is flat or nested, row-major."""

    name: str
    shape: list[int]
    datatype: str
    data: list[object]
    parameters: dict[str, object] = {}


class OutputRequest(msgspec.Struct, forbid_unknown_fields=True):
    """An output that the caller wants."""

    name: str
    parameters: dict[str, object] = {}


class InferRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``infer``."""

    inputs: list[InputTensor]
    id: str | None = None
    parameters: dict[str, object] = {}
    outputs: list[OutputRequest] | None = None


class OutputTensor(msgspec.Struct):
    """One output, flat and row-major."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    data: list[object]


class InferResponse(msgspec.Struct):
    """The answer of ``infer``."""

    model_name: str
    model_version: str
    id: str
    outputs: list[OutputTensor]


_decode = msgspec.json.Decoder(InferRequest).decode
_encode = msgspec.json.Encoder().encode


async def infer(plane: Dataplane, request: Request, name: str, version: str | None) -> Response:
    """``POST /v2/models/{name}[/versions/{version}]/infer``."""
    served = plane.resolve(name, version)
    with plane.counting_refusals(served):
        body = request.json_body()
        try:
            wanted = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise decode_error(error, body) from None
        inputs = [raw_tensor(tensor, index) for index, tensor in enumerate(wanted.inputs)]
        call = checked_call(served, inputs, wanted.parameters, options_of(request))
        chosen = _chosen_outputs(served, wanted)
    answer = await plane.predict(served, call)
    outputs = [
        OutputTensor(tensor.name, tensor.shape, tensor.datatype, unpack(tensor.datatype, tensor.data))
        for tensor in answer
        if chosen is None or tensor.name in chosen
    ]
    return Response(
        _encode(InferResponse(name, str(served.version), wanted.id or request.id, outputs)),
        headers=() if served.cache is None else cache_headers((answer,)),
    )


def raw_tensor(tensor: InputTensor, index: int) -> RawTensor:
    """A JSON tensor as raw bytes. Raises InvalidInput naming the field."""
    if tensor.datatype not in DATATYPES:
        raise InvalidInput(
            f"{tensor.datatype!r} is not a data type of the V2 protocol ({', '.join(DATATYPES)}).",
            field=f"inputs[{index}].datatype",
        )
    if tensor.parameters:
        raise InvalidInput(
            f"The input {tensor.name!r} has parameters ({', '.join(tensor.parameters)}); none is known here.",
            field=f"inputs[{index}].parameters",
        )
    shape, values = tensor.shape, tensor.data
    if values and type(values[0]) is list:
        nested, values = flatten(values, len(shape), f"inputs[{index}].data")
        if list(nested) != shape:
            raise InvalidInput(
                f"The data of {tensor.name!r} is nested as {list(nested)}, its shape says {shape}.",
                field=f"inputs[{index}].shape",
            )
    if any(length < 0 for length in shape) or math.prod(shape) != len(values):
        raise InvalidInput(
            f"The shape {shape} of {tensor.name!r} does not fit its {len(values)} values.",
            field=f"inputs[{index}].shape",
        )
    return RawTensor(
        tensor.name, tensor.datatype, tuple(shape), pack(tensor.datatype, values, f"inputs[{index}].data")
    )


def _chosen_outputs(served: Served, wanted: InferRequest) -> set[str] | None:
    """The outputs that the caller asked for; None for all. Raises InvalidInput for an unknown one."""
    if not wanted.outputs:
        return None
    known = {spec.name for spec in served.signature.outputs}
    for index, output in enumerate(wanted.outputs):
        if known and output.name not in known:
            raise InvalidInput(
                f"There is no output {output.name!r}; there is {', '.join(sorted(known))}.",
                field=f"outputs[{index}].name",
            )
        if output.parameters:
            raise InvalidInput(
                f"The output {output.name!r} has parameters ({', '.join(output.parameters)}); none is known here.",
                field=f"outputs[{index}].parameters",
            )
    return {output.name for output in wanted.outputs}


async def server_metadata() -> Response:
    """``GET /v2``."""
    return json_response({"name": "modelyard", "version": VERSION, "extensions": []})


async def model_metadata(plane: Dataplane, name: str, version: str | None) -> Response:
    """``GET /v2/models/{name}``. The ``parameters`` of the signature stand beside what V2 asks for."""
    served = plane.resolve(name, version)
    signature = served.signature
    return json_response(
        {
            "name": name,
            "versions": [str(served.version)],
            "platform": served.platform,
            "inputs": [_described(signature, spec) for spec in signature.inputs],
            "outputs": [_described(signature, spec) for spec in signature.outputs],
            "parameters": {
                "model": served.model,
                "digest": served.digest,
                "options": signature.parameters,
                "signature": signature,
            },
        }
    )


def _described(signature: Signature, spec: TensorSpec) -> dict[str, object]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": signature.batch_shape(spec)}


async def model_ready(plane: Dataplane, name: str, version: str | None) -> Response:
    """``GET /v2/models/{name}/ready``. Raises Unavailable while it is not."""
    served = plane.resolve(name, version)
    if not served.ready:
        raise Unavailable(f"{name!r} is not ready.", retry_after=1.0)
    return json_response({"name": name, "ready": True})
