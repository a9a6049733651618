"""ModelInfer: one message to a Call, its Answer to one message."""

from typing import Final

from modelyard.core.errors import InvalidInput
from modelyard.serve.cache.answers import cache_headers
from modelyard.serve.call import Answer, Call, Options
from modelyard.serve.checks import checked_call
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.edge.http2 import hpack_encoder
from modelyard.serve.grpc.infer_codec import InferRequest, decode_request, encode_response
from modelyard.serve.grpc.status import timeout_of
from modelyard.serve.http import Request
from modelyard.serve.protocols.options import options_of
from modelyard.serve.protocols.v2 import take_parameters
from modelyard.serve.served import Served

EMPTY_FINAL: Final = "triton_enable_empty_final_response"


async def infer(plane: Dataplane, request: Request, message: bytes, position: int) -> tuple[bytes, bytes]:
    """A ModelInferRequest, from ``position`` of ``message`` on, to a ModelInferResponse and the header block
    that marks what the cache or the fallback answered."""
    wanted = decode_request(message, position)
    served = plane.resolve(wanted.model, wanted.version or None)
    with plane.counting_refusals(served):
        call = call_of(served, wanted, options_in(request))
    answer = await plane.predict(served, call)
    reply = encode_response(
        wanted.model, str(served.version), wanted.id, chosen(wanted, answer), wanted.raw
    )
    if served.plain:
        return reply, b""
    return reply, b"".join(hpack_encoder.literal(*header) for header in cache_headers((answer,)))


def options_in(request: Request) -> Options:
    """What the metadata of a call say. Raises InvalidInput naming the one that is wrong."""
    options = options_of(request)
    text = request.header(b"grpc-timeout")
    if text is None:
        return options
    seconds = timeout_of(text)
    if options.timeout is not None:
        seconds = min(seconds, options.timeout)
    # A deadline that is over already is one all the same; the queue answers it.
    return options._replace(timeout=max(seconds, 1e-6))


def call_of(served: Served, wanted: InferRequest, options: Options) -> Call:
    """The request against the signature. Raises InvalidInput naming the field."""
    parameters = wanted.parameters
    if parameters:
        parameters.pop(EMPTY_FINAL, None)
        options, _ = take_parameters(served.signature, parameters, options)
    call = checked_call(served, wanted.inputs, parameters, options)
    if wanted.outputs:
        _check_outputs(served, wanted)
    return call


def _check_outputs(served: Served, wanted: InferRequest) -> None:
    known = {spec.name for spec in served.signature.outputs}
    for index, (name, parameters) in enumerate(wanted.outputs):
        if known and name not in known:
            raise InvalidInput(
                f"There is no output {name!r}; there is {', '.join(sorted(known))}.",
                field=f"outputs[{index}].name",
            )
        # A classification of 0 is tritonclient's way to say none.
        said = {key: value for key, value in parameters.items() if key != "classification" or value}
        if said:
            raise InvalidInput(
                f"The output {name!r} has parameters ({', '.join(said)}); none is known here.",
                field=f"outputs[{index}].parameters",
            )


def chosen(wanted: InferRequest, answer: Answer) -> Answer:
    """The outputs that were asked for, in the model's order."""
    if not wanted.outputs:
        return answer
    names = {name for name, _ in wanted.outputs}
    return tuple(tensor for tensor in answer if tensor.name in names)
