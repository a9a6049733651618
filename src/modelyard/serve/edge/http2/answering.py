"""Handlers to answers over HTTP/2: Responses as HEADERS and DATA, errors as the one JSON object or gRPC's."""

import asyncio
import logging
from typing import TYPE_CHECKING

from modelyard.core.errors import Cancelled, Internal, ModelyardError
from modelyard.serve.edge.http2 import hpack_encoder
from modelyard.serve.edge.http2.stream import Stream
from modelyard.serve.edge.rpc import Rpc
from modelyard.serve.edge.shared import Shared
from modelyard.serve.http import Response, close_stream, error_response

if TYPE_CHECKING:
    from modelyard.serve.edge.http2.connection import Http2Connection

log = logging.getLogger("modelyard.http")


async def serve_rpc(connection: "Http2Connection", stream: Stream, rpc: Rpc) -> None:
    """Have ``rpc`` answer the call of gRPC on ``stream``."""
    try:
        await rpc(stream.request, stream)
    finally:
        connection.close(stream)


async def answer_request(connection: "Http2Connection", stream: Stream, shared: Shared) -> None:
    """Have the handler answer the request on ``stream``."""
    try:
        response = await _answer(stream, shared)
        if response is not None:
            _write(stream, response)
    finally:
        connection.close(stream)


async def _answer(stream: Stream, shared: Shared) -> Response | None:
    """What is to be written; None when it was, or when nobody wants it."""
    request = stream.request
    try:
        response = await shared.handler(request)
        if response.stream is not None:
            await _send_pieces(stream, response)
            return None
        return response
    except ModelyardError as error:
        return error_response(error, request.id)
    except asyncio.CancelledError:
        if stream.ended_out:
            return None  # the client left; the dataplane has counted it
        return error_response(Cancelled("The node is stopping."), request.id)
    except Exception:
        log.exception("an error of ours", extra={"request_id": request.id, "path": request.path})
        return error_response(
            Internal(f"Something went wrong on our side; the node's log names it by {request.id}."),
            request.id,
        )


def refuse(stream: Stream, error: ModelyardError, shared: Shared) -> None:
    """Answer with ``error`` before, or instead of, any handler."""
    if stream.grpc and shared.rpc is not None:
        stream.start(shared.rpc.refusal(error, stream.request), end=True)
    else:
        _write(stream, error_response(error, stream.request.id))


def _write(stream: Stream, response: Response) -> None:
    body = b"" if stream.request.method == "HEAD" else response.body
    stream.respond(_head(stream, response, len(response.body)), body)


def _head(stream: Stream, response: Response, length: int | None) -> bytes:
    parts = [hpack_encoder.status(response.status, response.content_type)]
    if length is not None:
        parts.append(hpack_encoder.literal(b"content-length", b"%d" % length))
    parts.append(hpack_encoder.literal(b"x-request-id", stream.request.id.encode()))
    parts += [hpack_encoder.literal(name.lower(), value) for name, value in response.headers]
    return b"".join(parts)


async def _send_pieces(stream: Stream, response: Response) -> None:
    """A Response with a stream: raises what comes before its first piece; a later error resets the stream."""
    pieces = response.stream
    assert pieces is not None
    begun = False
    try:
        piece = await anext(pieces, None) if stream.request.method != "HEAD" else None
        stream.start(_head(stream, response, None), end=piece is None)
        begun = True
        while piece is not None:
            await stream.send(piece)
            piece = await anext(pieces, None)
        stream.end()
    except asyncio.CancelledError:
        if not begun:
            raise
    except Exception:
        if not begun:
            raise
        # Without END_STREAM: the client sees that the answer is not whole.
        log.exception(
            "a stream broke off", extra={"request_id": stream.request.id, "path": stream.request.path}
        )
    finally:
        await close_stream(pieces)
