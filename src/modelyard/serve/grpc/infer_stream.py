"""ModelStreamInfer: requests on one stream, computed together, answered in the order they came.

A model that answers in pieces has each sent as it is made. An error is the answer to its own request
(``error_message``); the stream goes on.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from modelyard.core.errors import Internal, ModelyardError
from modelyard.serve.call import Answer, Options
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.edge.rpc import RpcStream
from modelyard.serve.grpc.codec import sized
from modelyard.serve.grpc.framing import Messages
from modelyard.serve.grpc.infer import EMPTY_FINAL, call_of, chosen, options_in
from modelyard.serve.grpc.infer_codec import InferRequest, decode_request, encode_response
from modelyard.serve.http import Request

log = logging.getLogger("modelyard.grpc")

AHEAD = 64  # requests of one stream that are computed, or wait to be answered
PIECES = 16  # pieces of one answer that wait for their turn

Pieces = asyncio.Queue[bytes | None]


async def infer_stream(plane: Dataplane, request: Request, stream: RpcStream, messages: Messages) -> None:
    """Answer every request of ``stream``. Raises the error of a stream that cannot be read on."""
    options = options_in(request)
    waiting: asyncio.Queue[tuple[Pieces, asyncio.Task[None]] | None] = asyncio.Queue(AHEAD)
    writer = asyncio.create_task(_write(stream, messages, waiting))
    buffer = bytearray()
    tasks: set[asyncio.Task[None]] = set()
    try:
        while (message := await messages.read(stream, buffer)) is not None:
            pieces: Pieces = asyncio.Queue(PIECES)
            task = asyncio.create_task(_answer(plane, message, options, pieces))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            await waiting.put((pieces, task))
        await waiting.put(None)
        await writer
    finally:
        writer.cancel()
        for task in tasks:
            task.cancel()


async def _write(
    stream: RpcStream,
    messages: Messages,
    waiting: "asyncio.Queue[tuple[Pieces, asyncio.Task[None]] | None]",
) -> None:
    while (one := await waiting.get()) is not None:
        pieces, _ = one
        while (piece := await pieces.get()) is not None:
            await stream.send(messages.pack(piece))


async def _answer(plane: Dataplane, message: bytes, options: Options, pieces: Pieces) -> None:
    id = b""
    model = ""
    try:
        wanted = decode_request(message)
        id, model = wanted.id, wanted.model
        async with aclosing(_answers(plane, wanted, options)) as answers:
            async for piece in answers:
                await pieces.put(sized(0x12, piece))
    except ModelyardError as error:
        await pieces.put(_refusal(error, model, id))
    except Exception:
        log.exception("an error of ours", extra={"endpoint": model})
        await pieces.put(
            _refusal(Internal("Something went wrong on our side; see the node's log."), model, id)
        )
    finally:
        # Nobody waits for room here when the stream is over.
        if not asyncio.current_task().cancelling():  # type: ignore[union-attr]
            await pieces.put(None)


def _refusal(error: ModelyardError, model: str, id: bytes) -> bytes:
    """ModelStreamInferResponse with the id of the request that it answers, as Triton has it."""
    answer = encode_response(model, "", id, (), raw=True)
    return sized(0x0A, error.message.encode("utf-8", "replace")) + sized(0x12, answer)


async def _answers(plane: Dataplane, wanted: InferRequest, options: Options) -> AsyncGenerator[bytes, None]:
    served = plane.resolve(wanted.model, wanted.version or None)
    empty_final = wanted.parameters.get(EMPTY_FINAL) is True
    with plane.counting_refusals(served):
        call = call_of(served, wanted, options)._replace(stream=True)
    version = str(served.version)
    said = {"triton_final_response": False} if empty_final else None
    async with aclosing(plane.stream(served, call)) as answers:
        async for answer in answers:
            yield _response(wanted, version, answer, said)
    if empty_final:
        yield encode_response(
            wanted.model, version, wanted.id, (), raw=True, parameters={"triton_final_response": True}
        )


def _response(
    wanted: InferRequest, version: str, answer: Answer, parameters: dict[str, bool] | None
) -> bytes:
    return encode_response(wanted.model, version, wanted.id, chosen(wanted, answer), wanted.raw, parameters)
