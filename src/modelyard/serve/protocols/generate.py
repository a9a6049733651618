"""``generate`` and ``generate_stream`` of the V2 protocol: inputs by name in, outputs by name out.

    POST /v2/models/{m}/generate          {"text": "Once", "parameters": {"limit": 5}}
                                          → {"model_name": ..., "model_version": ..., "output": ...}
    POST /v2/models/{m}/generate_stream   the same as Server-Sent Events, one ``data:`` line per piece; a
                                          model that does not stream gives one event

``text_input`` stands for the only text input of a model that has none of that name; its only text output is
``text_output`` then. An error before the first piece has its status; a later one is an event
``{"error": ...}``, the last.

Source: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_generate.md
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast

import msgspec

from modelyard.core.errors import InvalidInput, ModelyardError
from modelyard.serve.cache.answers import cache_headers
from modelyard.serve.call import Answer, Call
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.http import Request, Response, json_response
from modelyard.serve.protocols.native import Record, object_of, record_call, record_of
from modelyard.serve.protocols.options import options_of
from modelyard.serve.served import Served


async def generate(plane: Dataplane, request: Request, name: str, version: str | None) -> Response:
    """``POST /v2/models/{name}[/versions/{version}]/generate``."""
    served = plane.resolve(name, version)
    with plane.counting_refusals(served):
        call, alias = _call(served, request)
    answer = await plane.predict(served, call)
    return json_response(_piece(served, answer, alias), headers=cache_headers((answer,)))


async def generate_stream(plane: Dataplane, request: Request, name: str, version: str | None) -> Response:
    """``POST /v2/models/{name}[/versions/{version}]/generate_stream``."""
    served = plane.resolve(name, version)
    with plane.counting_refusals(served):
        call, alias = _call(served, request)
    answers = plane.stream(served, call._replace(stream=True))
    return Response(
        b"",
        content_type=b"text/event-stream; charset=utf-8",
        headers=((b"cache-control", b"no-store"),),
        stream=_events(served, answers, alias, request.id),
    )


async def _events(
    served: Served, answers: AsyncGenerator[Answer, None], alias: bool, request_id: str
) -> AsyncIterator[bytes]:
    begun = False
    async with aclosing(answers):
        try:
            async for answer in answers:
                yield _event(_piece(served, answer, alias))
                begun = True
        except ModelyardError as error:
            if not begun:
                raise
            yield _event(error.body(request_id))


def _event(value: object) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(value)


def _call(served: Served, request: Request) -> tuple[Call, bool]:
    """The body as a call, and whether its input came as ``text_input``. Raises InvalidInput."""
    record = object_of(request)
    signature = served.signature
    names = {spec.name for spec in signature.inputs}
    parameters = record.pop("parameters", None) if "parameters" not in names else None
    record.pop("id", None) if "id" not in names else None
    if parameters is not None:
        if not isinstance(parameters, dict):
            raise InvalidInput("'parameters' is an object of values by name.", field="parameters")
        for name, value in cast("Record", parameters).items():
            if name in record:
                raise InvalidInput(f"{name!r} is given twice.", field=f"parameters.{name}")
            record[name] = value
    texts = [spec.name for spec in signature.inputs if spec.datatype == "BYTES" and spec.kind != "json"]
    alias = "text_input" in record and "text_input" not in names and len(texts) == 1
    if alias:
        if texts[0] in record:
            raise InvalidInput(f"'text_input' and {texts[0]!r} are the same input.", field="text_input")
        record[texts[0]] = record.pop("text_input")
    return record_call(served, record, "", options_of(request)), alias


def _piece(served: Served, answer: Answer, alias: bool) -> Record:
    record = record_of(served, answer)
    if alias:
        texts = [tensor.name for tensor in answer if tensor.datatype == "BYTES"]
        if len(texts) == 1:
            record = {"text_output" if name == texts[0] else name: value for name, value in record.items()}
    return {"model_name": served.endpoint, "model_version": str(served.version), **record}
