"""OpenAI's embeddings: texts in, vectors out, for models whose signature has a text and an embedding.

Source: https://platform.openai.com/docs/api-reference/embeddings
"""

import base64
from array import array
from collections.abc import Awaitable
from typing import Literal, cast

import msgspec

from modelyard.core.errors import Internal, InvalidInput, ModelyardError
from modelyard.core.signature import TensorSpec
from modelyard.serve.cache.answers import cache_headers
from modelyard.serve.call import Answer, Result
from modelyard.serve.codec import unpack
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.http import Request, Response, decode_error, error_response, json_response
from modelyard.serve.protocols.native import record_call
from modelyard.serve.protocols.options import options_of
from modelyard.serve.served import Served

MAX_TEXTS = 2048  # of one request, as OpenAI has it
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}
# A model tells vectors, not tokens: the object is asked for, so it is there, and says so.
_USAGE = {"prompt_tokens": 0, "total_tokens": 0, "reason": "the model does not tell the tokens it read"}


class EmbeddingsRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``/v1/embeddings``."""

    model: str
    input: object
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None


_decode = msgspec.json.Decoder(EmbeddingsRequest).decode


def model_card(name: str) -> dict[str, object]:
    """A model as OpenAI's lists have it; when it was made is not known to the node (0)."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "modelyard"}


async def in_its_words(answer: Awaitable[Response], request: Request) -> Response:
    """``answer``, or its error as OpenAI's clients read it."""
    try:
        return await answer
    except ModelyardError as error:
        plain = error_response(error, request.id)
        body = {
            "error": {
                "message": error.message,
                "type": _KINDS.get(plain.status, "server_error"),
                "param": error.field,
                "code": error.code,
            }
        }
        return Response(msgspec.json.encode(body), status=plain.status, headers=plain.headers)


async def embeddings(plane: Dataplane, request: Request) -> Response:
    """``POST /v1/embeddings``."""
    body = request.json_body()
    try:
        wanted = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise decode_error(error, body) from None
    served = plane.resolve(wanted.model)
    with plane.counting_refusals(served):
        text, vector = _specs_of(served)
        _check_dimensions(wanted.dimensions, vector)
        texts = _texts(wanted.input)
        options = options_of(request)
        if wanted.user and not options.client:
            options = options._replace(client=wanted.user[:128])
        calls = [
            record_call(served, {text.name: each}, f"input[{index}].", options)
            for index, each in enumerate(texts)
        ]
    if len(calls) == 1:
        results: list[Result] = [await plane.predict(served, calls[0])]
    else:
        results = await plane.predict_all(served, calls)
    data: list[dict[str, object]] = []
    for index, result in enumerate(results):
        if isinstance(result, ModelyardError):
            raise result
        each = _vector(served, result, vector)
        if wanted.encoding_format == "base64":
            shown: object = base64.b64encode(each.tobytes()).decode()
        else:
            shown = each.tolist()
        data.append({"object": "embedding", "index": index, "embedding": shown})
    answer = {"object": "list", "data": data, "model": wanted.model, "usage": _USAGE}
    return json_response(answer, headers=cache_headers(results))


def _specs_of(served: Served) -> tuple[TensorSpec, TensorSpec]:
    """The input that takes the text and the output that is the embedding. Raises InvalidInput."""
    signature = served.signature
    texts = [spec for spec in signature.inputs if spec.kind == "text" and not spec.shape]
    others = [spec for spec in signature.inputs if spec not in texts and not spec.optional]
    vectors = [spec for spec in signature.outputs if spec.kind == "embedding" and len(spec.shape) == 1]
    if len(texts) != 1 or others or len(vectors) != 1:
        raise InvalidInput(
            f"{served.endpoint!r} is not a model of embeddings: those have one input of kind text and one "
            "output of kind embedding.",
            field="model",
        )
    return texts[0], vectors[0]


def _check_dimensions(wanted: int | None, vector: TensorSpec) -> None:
    if wanted is not None and wanted != vector.shape[0]:
        raise InvalidInput(
            f"The embeddings of this model have {vector.shape[0]} dimensions, which cannot be changed.",
            field="dimensions",
        )


def _texts(value: object) -> list[str]:
    texts = cast("list[object]", value) if isinstance(value, list) else [value]
    if not texts:
        raise InvalidInput("There is no text in 'input'; send at least one.", field="input")
    if len(texts) > MAX_TEXTS:
        raise InvalidInput(f"{len(texts)} texts at once; send up to {MAX_TEXTS}.", field="input")
    for index, text in enumerate(texts):
        if isinstance(text, int | list) and not isinstance(text, bool):
            raise InvalidInput(
                "Tokens are those of one tokenizer, which the model here may not have; send text.",
                field="input",
            )
        if not isinstance(text, str):
            raise InvalidInput("'input' is a text or a list of texts.", field=f"input[{index}]")
    return cast("list[str]", texts)


def _vector(served: Served, answer: Answer, spec: TensorSpec) -> "array[float]":
    for tensor in answer:
        if tensor.name == spec.name:
            if tensor.datatype == "FP32":
                return array("f", bytes(tensor.data))
            return array("f", cast("list[float]", unpack(tensor.datatype, tensor.data)))
    raise Internal(f"{served.endpoint!r} answered without its output {spec.name!r}.")
