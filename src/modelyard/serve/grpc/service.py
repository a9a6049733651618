"""The methods of gRPC that this node has: path → handler, and how a call begins and ends."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from modelyard.core.errors import Cancelled, Internal, ModelyardError, NotFound, Unavailable
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.edge.http2 import hpack_encoder
from modelyard.serve.edge.rpc import RpcStream
from modelyard.serve.grpc import inference, reflection
from modelyard.serve.grpc.codec import decode, encode
from modelyard.serve.grpc.descriptors import FILES, services
from modelyard.serve.grpc.framing import Messages, framed, only
from modelyard.serve.grpc.infer import infer
from modelyard.serve.grpc.infer_stream import infer_stream
from modelyard.serve.grpc.proto_file import ProtoFile, load
from modelyard.serve.grpc.status import HEAD, OK, Unimplemented, trailers
from modelyard.serve.http import Request
from modelyard.serve.observe.failures import FailureLog

if TYPE_CHECKING:
    from modelyard.serve.observe.tracing import SpanTrace, Tracer

log = logging.getLogger("modelyard.grpc")

WATCH_EVERY: Final = 0.5  # seconds between two looks at what Watch tells of
INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
Unary = Callable[[Request, bytes], Awaitable[bytes]]
Duplex = Callable[[Request, RpcStream, Messages], Awaitable[None]]


class GrpcService:
    """Answers calls of gRPC. ``max_message`` is the largest message in bytes."""

    def __init__(self, plane: Dataplane, max_message: int) -> None:
        self._plane = plane
        self._max_message = max_message
        self._failures = FailureLog()
        self.requests = 0
        self.tracer: Tracer | None = None
        self._services = frozenset(name for file in FILES for name in services(load(file)))
        self._unary: dict[str, Unary] = {}
        self._duplex: dict[str, Duplex] = {
            "/inference.GRPCInferenceService/ModelStreamInfer": self._infer_stream,
            "/grpc.health.v1.Health/Watch": self._watch,
        }
        file = load("inference")
        for method in file.services["GRPCInferenceService"]:
            handler = inference.METHODS.get(method.name)
            if handler is not None:
                path = f"/inference.GRPCInferenceService/{method.name}"
                self._unary[path] = self._coded(file, method.input, method.output, handler)
        self._unary["/grpc.health.v1.Health/Check"] = self._check
        for name in ("reflection_v1", "reflection_v1alpha"):
            reflected = load(name)
            path = f"/{reflected.package}.ServerReflection/ServerReflectionInfo"
            self._duplex[path] = self._reflecting(reflected)

    def is_duplex(self, path: str) -> bool:
        """Whether requests of this method are handed on as they come, not as a whole."""
        return path in self._duplex

    def refusal(self, error: ModelyardError, request: Request) -> bytes:
        """The one header block of an answer that is nothing but ``error``."""
        return HEAD + trailers(error, request.id)

    async def __call__(self, request: Request, stream: RpcStream) -> None:
        """Answer one call; every error is told in its trailers."""
        self.requests += 1
        if self.tracer is None:
            await self._answer(request, stream, None)
            return
        request.trace = trace = self.tracer.begin(request, "grpc")
        await self._answer(request, stream, trace)

    async def _answer(self, request: Request, stream: RpcStream, trace: "SpanTrace | None") -> None:
        begun = False
        error: ModelyardError | None = None
        try:
            if request.path == INFER:
                body = request.body
                if body[:1] == b"\0" and b"grpc-encoding" not in request.headers:
                    _, position = only(body)
                    reply, marks = await infer(self._plane.seen_by(request.client), request, body, position)
                    stream.answer(HEAD + marks, framed(reply), OK)
                else:
                    messages = Messages(request.headers, self._max_message)
                    seen = self._plane.seen_by(request.client)
                    reply, marks = await infer(seen, request, self._message(body, messages), 0)
                    stream.answer(_head(messages) + marks, messages.pack(reply), OK)
                return
            unary = self._unary.get(request.path)
            if unary is not None:
                messages = Messages(request.headers, self._max_message)
                reply = await unary(request, self._message(request.body, messages))
                stream.answer(_head(messages), messages.pack(reply), OK)
                return
            duplex = self._duplex.get(request.path)
            if duplex is None or request.method != "POST":
                raise Unimplemented(f"{request.path[:200]!r} is not a method of this node.", field="path")
            messages = Messages(request.headers, self._max_message)
            stream.start(_head(messages))
            begun = True
            await duplex(request, stream, messages)
            stream.end(
                trailers(Unavailable("The node is stopping; call again.", retry_after=1.0), request.id)
                if stream.stopping
                else OK
            )
        except ModelyardError as failure:
            error = failure
            self._failures.failed(request, error, "grpc")
            self._end(request, stream, error, begun)
        except asyncio.CancelledError:
            error = Cancelled("The call was cancelled.")
            self._failures.left(request, "grpc")
            self._end(request, stream, error, begun)
            raise
        except Exception:
            log.exception("an error of ours", extra={"request_id": request.id, "path": request.path})
            error = Internal(f"Something went wrong on our side; the node's log names it by {request.id}.")
            self._end(request, stream, error, begun)
        finally:
            if trace is not None:
                status, code = (200, "ok") if error is None else (error.kind.http, error.code)
                trace.answered(status, code, None if error is None else error.place)

    def _end(self, request: Request, stream: RpcStream, error: ModelyardError, begun: bool) -> None:
        if begun:
            stream.end(trailers(error, request.id))
        else:
            stream.start(HEAD + trailers(error, request.id), end=True)

    @staticmethod
    def _message(body: bytes, messages: Messages) -> bytes:
        flag, position = only(body)
        return messages.unpack(flag, body[position:])

    def _coded(self, file: ProtoFile, input: str, output: str, handler: inference.Handler) -> Unary:
        takes, gives = file.message(input), file.message(output)

        async def call(request: Request, message: bytes) -> bytes:
            values = handler(self._plane.seen_by(request.client), decode(takes, message))
            return encode(gives, values if isinstance(values, dict) else await values)

        return call

    # --- streams

    async def _infer_stream(self, request: Request, stream: RpcStream, messages: Messages) -> None:
        await infer_stream(self._plane.seen_by(request.client), request, stream, messages)

    def _reflecting(self, file: ProtoFile) -> Duplex:
        takes, gives = file.message("ServerReflectionRequest"), file.message("ServerReflectionResponse")

        async def reflect(request: Request, stream: RpcStream, messages: Messages) -> None:
            buffer = bytearray()
            while (message := await messages.read(stream, buffer)) is not None:
                reply = encode(gives, reflection.answer(decode(takes, message)))
                await stream.send(messages.pack(reply))

        return reflect

    # --- health

    def _health(self, request: Request, service: str) -> int:
        """The node's health is told to everybody; that of an endpoint to who shows a key, where keys are asked for."""
        plane = self._plane
        if plane.table.keys is not None and service and service not in self._services:
            plane = plane.seen_by(plane.check_key(request.bearer()))
        return inference.health_of(plane, service, self._services)

    async def _check(self, request: Request, message: bytes) -> bytes:
        health = load("health")
        service = str(decode(health.message("HealthCheckRequest"), message).get("service", ""))
        status = self._health(request, service)
        if status == inference.SERVICE_UNKNOWN:
            raise NotFound(f"There is no service or endpoint {service!r} here.", field="service")
        return encode(health.message("HealthCheckResponse"), {"status": status})

    async def _watch(self, request: Request, stream: RpcStream, messages: Messages) -> None:
        health = load("health")
        message = await messages.read(stream, bytearray())
        if message is None:
            return
        service = str(decode(health.message("HealthCheckRequest"), message).get("service", ""))
        told: int | None = None
        while True:
            status = self._health(request, service)
            if stream.stopping:
                status = inference.NOT_SERVING
            if status != told:
                reply = encode(health.message("HealthCheckResponse"), {"status": status})
                await stream.send(messages.pack(reply))
                told = status
            if stream.stopping:
                return
            await asyncio.sleep(WATCH_EVERY)


def _head(messages: Messages) -> bytes:
    if messages.encoding is None:
        return HEAD
    return HEAD + hpack_encoder.literal(b"grpc-encoding", messages.encoding.encode())
