"""``infer`` of the Open Inference Protocol V2 over REST: tensors as JSON, as raw bytes, or mixed.

Sources: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md,
and the extensions binary_tensor_data, schedule_policy and parameters in
https://github.com/triton-inference-server/server/tree/main/docs/protocol
"""

import math
from collections.abc import Mapping

import msgspec
from msgspec import UNSET, UnsetType

from modelyard.core.datatypes import DATATYPES
from modelyard.core.errors import InvalidInput
from modelyard.core.signature import Signature
from modelyard.serve import binary
from modelyard.serve.cache.answers import cache_headers
from modelyard.serve.call import Answer, Options, RawTensor
from modelyard.serve.checks import checked_call
from modelyard.serve.codec import flatten, pack, unpack
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.http import Request, Response, decode_error
from modelyard.serve.protocols.options import MAX_PRIORITY, options_of
from modelyard.serve.served import Served


class InputTensor(msgspec.Struct, forbid_unknown_fields=True):
    """``data`` is flat or nested, row-major; without it the data are bytes behind the JSON."""

    name: str
    shape: list[int]
    datatype: str
    data: list[object] | UnsetType = UNSET
    parameters: dict[str, object] = {}


class OutputRequest(msgspec.Struct, forbid_unknown_fields=True):
    """An output that the caller wants."""

    name: str
    parameters: dict[str, object] = {}


class InferRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``infer``. ``model_name`` and ``model_version`` repeat what the path says."""

    inputs: list[InputTensor]
    id: str | None = None
    parameters: dict[str, object] = {}
    outputs: list[OutputRequest] | None = None
    model_name: str | None = None
    model_version: str | None = None


class OutputTensor(msgspec.Struct):
    """One output, flat and row-major."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    data: list[object]


class BinaryOutput(msgspec.Struct):
    """One output whose data are bytes behind the JSON."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    parameters: dict[str, int]


class InferResponse(msgspec.Struct):
    """The answer of ``infer``."""

    model_name: str
    model_version: str
    id: str
    outputs: list[OutputTensor] | list[OutputTensor | BinaryOutput]


Chosen = Mapping[str, bool]  # outputs that are wanted, and whether as raw bytes

_decode = msgspec.json.Decoder(InferRequest).decode
_encode = msgspec.json.Encoder().encode


async def infer(plane: Dataplane, request: Request, name: str, version: str | None) -> Response:
    """``POST /v2/models/{name}[/versions/{version}]/infer``."""
    served = plane.resolve(name, version)
    with plane.counting_refusals(served):
        length = request.headers.get(binary.LENGTH)
        if length is not None:
            wanted, inputs = _read_binary(served, request.body, length)
        else:
            body = request.json_body(octets=True)  # so tritonclient.http.aio says of JSON
            try:
                wanted = _decode(body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise decode_error(error, body) from None
            inputs = [raw_tensor(tensor, index, None) for index, tensor in enumerate(wanted.inputs)]
        options = options_of(request)
        parameters, raw = wanted.parameters, False
        if parameters:
            options, raw = take_parameters(served.signature, parameters, options)
        call = checked_call(served, inputs, parameters, options)
        chosen = _chosen_outputs(served, wanted, raw)
    answer = await plane.predict(served, call)
    if raw or (chosen is not None and True in chosen.values()):
        return _binary_response(served, name, wanted.id or request.id, answer, chosen, raw)
    outputs = [
        OutputTensor(tensor.name, tensor.shape, tensor.datatype, unpack(tensor.datatype, tensor.data))
        for tensor in answer
        if chosen is None or tensor.name in chosen
    ]
    return Response(
        _encode(InferResponse(name, str(served.version), wanted.id or request.id, outputs)),
        headers=() if served.plain else cache_headers((answer,)),
    )


def _read_binary(served: Served, body: bytes, length: bytes) -> tuple[InferRequest, list[RawTensor]]:
    """A body of JSON and raw tensors. Raises InvalidInput."""
    head, data = binary.split(body, length)
    if not head:
        wanted = InferRequest([], parameters={"binary_data_output": True})
        return wanted, [binary.whole_body(served.signature, served.endpoint, data)]
    try:
        wanted = _decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise decode_error(error, body) from None
    tail = binary.Tail(data)
    inputs = [raw_tensor(tensor, index, tail) for index, tensor in enumerate(wanted.inputs)]
    tail.finish()
    return wanted, inputs


def raw_tensor(tensor: InputTensor, index: int, tail: binary.Tail | None) -> RawTensor:
    """A JSON tensor, or one whose bytes are in ``tail``. Raises InvalidInput naming the field."""
    if tensor.datatype not in DATATYPES:
        raise InvalidInput(
            f"{tensor.datatype!r} is not a data type of the V2 protocol ({', '.join(DATATYPES)}).",
            field=f"inputs[{index}].datatype",
        )
    values = tensor.data
    if tensor.parameters or values is UNSET:
        return _binary_tensor(tensor, index, tail)
    shape = tensor.shape
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


def _binary_tensor(tensor: InputTensor, index: int, tail: binary.Tail | None) -> RawTensor:
    field = f"inputs[{index}]"
    unknown = tensor.parameters.keys() - {"binary_data_size"}
    if unknown:
        raise InvalidInput(
            f"The input {tensor.name!r} has parameters that are not known here: {', '.join(sorted(unknown))}"
            + (
                " (there is no shared memory)." if any("shared_memory" in each for each in unknown) else "."
            ),
            field=f"{field}.parameters",
        )
    if "binary_data_size" not in tensor.parameters:
        raise InvalidInput(
            f"The input {tensor.name!r} has neither data nor a binary_data_size.", field=f"{field}.data"
        )
    if tensor.data is not UNSET:
        raise InvalidInput(
            f"The input {tensor.name!r} has both data and a binary_data_size.", field=f"{field}.data"
        )
    if tail is None:
        raise InvalidInput(
            "Binary inputs need the header Inference-Header-Content-Length, the length of the JSON.",
            field="inference-header-content-length",
        )
    data = tail.take(tensor.parameters["binary_data_size"], f"{field}.parameters.binary_data_size")
    return binary.raw_tensor(tensor.name, tensor.datatype, tensor.shape, data, f"{field}.shape")


def take_parameters(
    signature: Signature, parameters: dict[str, object], options: Options
) -> tuple[Options, bool]:
    """Take what is the protocol's out of ``parameters``: (options, whether outputs are wanted raw).

    A parameter of that name in the model's signature is the model's. Raises InvalidInput.
    """
    own = {spec.name for spec in signature.parameters}
    raw = False
    for name in _OF_PROTOCOL & parameters.keys() - own:
        value = parameters.pop(name)
        field = f"parameters.{name}"
        if name == "binary_data_output":
            raw = _flag(value, field)
        elif name.startswith("sequence_"):
            if value not in (0, "", False):
                raise InvalidInput(
                    "Models here keep nothing between two calls; there are no sequences.", field=field
                )
        elif type(value) is not int or value < 0:
            raise InvalidInput(f"{name!r} is a whole number of at least 0.", field=field)
        elif name == "priority":
            if value > MAX_PRIORITY:
                raise InvalidInput(f"'priority' is at most {MAX_PRIORITY}.", field=field)
            options = options._replace(priority=value)
        elif value:  # timeout in microseconds; 0 is the deployment's own
            seconds = value / 1e6
            if options.timeout is None or seconds < options.timeout:
                options = options._replace(timeout=seconds)
    return options, raw


_OF_PROTOCOL = frozenset(
    {"binary_data_output", "priority", "timeout", "sequence_id", "sequence_start", "sequence_end"}
)


def _flag(value: object, field: str) -> bool:
    if type(value) is not bool:
        raise InvalidInput("This is true or false.", field=field)
    return value


def _chosen_outputs(served: Served, wanted: InferRequest, raw: bool) -> Chosen | None:
    """The outputs that the caller asked for; None for all.

    Raises InvalidInput for an unknown one, or when the body names another model than the path.
    """
    if wanted.model_name is not None and wanted.model_name != served.endpoint:
        raise InvalidInput(
            f"The path asks {served.endpoint!r}, the body {wanted.model_name!r}.", field="model_name"
        )
    if wanted.model_version is not None and wanted.model_version not in ("", str(served.version)):
        raise InvalidInput(f"{served.endpoint!r} serves version {served.version}.", field="model_version")
    if not wanted.outputs:
        return None
    known = {spec.name for spec in served.signature.outputs}
    chosen: dict[str, bool] = {}
    for index, output in enumerate(wanted.outputs):
        if known and output.name not in known:
            raise InvalidInput(
                f"There is no output {output.name!r}; there is {', '.join(sorted(known))}.",
                field=f"outputs[{index}].name",
            )
        chosen[output.name] = raw
        for name, value in output.parameters.items():
            field = f"outputs[{index}].parameters.{name}"
            if name == "binary_data":
                chosen[output.name] = _flag(value, field)
            elif name == "classification":
                raise InvalidInput(
                    "The classification extension is not offered; take the output as it is and sort it.",
                    field=field,
                )
            else:
                raise InvalidInput(
                    f"The output {output.name!r} has a parameter {name!r}; there is binary_data.",
                    field=field,
                )
    return chosen


def _binary_response(
    served: Served, name: str, call_id: str, answer: Answer, chosen: Chosen | None, raw: bool
) -> Response:
    """JSON, then the raw bytes of the outputs that were wanted so."""
    outputs: list[OutputTensor | BinaryOutput] = []
    tail: list[bytes | memoryview] = []
    for tensor in answer:
        if chosen is not None and tensor.name not in chosen:
            continue
        if raw if chosen is None else chosen[tensor.name]:
            size = {"binary_data_size": len(tensor.data)}
            outputs.append(BinaryOutput(tensor.name, tensor.shape, tensor.datatype, size))
            tail.append(tensor.data)
        else:
            values = unpack(tensor.datatype, tensor.data)
            outputs.append(OutputTensor(tensor.name, tensor.shape, tensor.datatype, values))
    head = _encode(InferResponse(name, str(served.version), call_id, outputs))
    return Response(
        b"".join((head, *tail)),
        content_type=b"application/octet-stream",
        headers=((binary.LENGTH, b"%d" % len(head)), *cache_headers((answer,))),
    )
