"""Calls of gRPC, past the frames of HTTP/2: framing, compression, and the messages of every method."""

import gzip
import struct
from typing import Any

from fuzz.engine import Harness
from fuzz.rest import MAX_BODY, edge
from modelyard.serve.grpc.codec import encode
from modelyard.serve.grpc.framing import framed
from modelyard.serve.grpc.proto_file import load
from modelyard.serve.grpc.service import GrpcService
from modelyard.serve.http import Request

_SERVICE = "/inference.GRPCInferenceService/"
PATHS = [
    f"{_SERVICE}ModelInfer", f"{_SERVICE}ModelStreamInfer", f"{_SERVICE}ServerMetadata", f"{_SERVICE}ModelMetadata",
    f"{_SERVICE}ModelReady", f"{_SERVICE}ModelConfig", f"{_SERVICE}ModelStatistics", f"{_SERVICE}RepositoryIndex",
    f"{_SERVICE}RepositoryModelLoad", f"{_SERVICE}RepositoryModelUnload", "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/no.Such/Method",
]  # fmt: skip


class _Stream:
    """One call: what comes, in pieces, and what was answered."""

    stopping = True  # so that Watch tells one thing and ends

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces
        self.ended = False
        self.messages = 0

    def answer(self, head: bytes, data: bytes, trailers: bytes) -> None:
        assert not self.ended
        self.ended = True
        self.messages += 1

    def start(self, head: bytes, *, end: bool = False) -> None:
        assert not self.ended
        self.ended = end

    async def send(self, data: bytes) -> None:
        assert not self.ended
        assert len(data) == 5 + int.from_bytes(data[1:5], "big")
        self.messages += 1

    def end(self, trailers: bytes | None = None) -> None:
        assert not self.ended
        self.ended = True

    async def receive(self) -> bytes | None:
        return self._pieces.pop(0) if self._pieces else None


def grpc_harness() -> Harness:
    """The first byte says the method, the second how the message is framed; the rest is the message."""
    node = edge()
    service = GrpcService(node.plane, MAX_BODY)

    def fuzz_one(data: bytes) -> int:
        if len(data) < 2:
            return 0
        path, flags, message = PATHS[data[0] % len(PATHS)], data[1], data[2:]
        headers = {b"content-type": b"application/grpc"}
        if flags & 3 == 1:
            headers[b"grpc-encoding"] = headers[b"grpc-accept-encoding"] = b"gzip"
            body = struct.pack(">BL", 1, len(message)) + message
        else:
            body = message if flags & 3 == 2 else framed(message) * (1 + (flags >> 2) % 3)
        step = max(1, len(body) // (1 + (flags >> 4)))
        duplex = service.is_duplex(path)
        pieces = [body[start : start + step] for start in range(0, len(body), step)]
        stream = _Stream(pieces if duplex else [])
        request = Request("POST", path, "", headers, "r", b"" if duplex else body)
        node.run(service(request, stream))
        node.raise_faults()
        assert stream.ended
        return stream.messages

    file = load("inference")

    def infer(**changes: Any) -> bytes:
        wanted = {
            "model_name": "every",
            "inputs": [{"name": "fp32", "datatype": "FP32", "shape": [2]}],
        } | changes
        return encode(file.message("ModelInferRequest"), wanted)

    def one(datatype: str, **contents: Any) -> bytes:
        tensor = {"name": datatype.lower(), "datatype": datatype, "shape": [2], "contents": contents}
        return infer(inputs=[tensor])

    calls = [
        infer(raw_input_contents=[struct.pack("<2f", 1, 2)]), one("FP32", fp32_contents=[1.0, 2.0]),
        one("BYTES", bytes_contents=[b"a", b""]), one("INT8", int_contents=[1, -2]), one("BOOL", bool_contents=[True, False]),
        one("UINT64", uint64_contents=[1, 2**64 - 1]), one("INT64", int64_contents=[1, -1]),
        infer(raw_input_contents=[bytes(8)], parameters={"times": {"int64_param": 2}, "priority": {"uint64_param": 1}}, id="7",
              outputs=[{"name": "fp32", "parameters": {"classification": {"int64_param": 1}}}]),
    ]  # fmt: skip
    name = encode(file.message("ModelReadyRequest"), {"name": "rows"})
    seeds = [bytes((method, flags)) + call for call in calls for method in (0, 1) for flags in (0, 0x24)]
    seeds += [
        bytes((0, 1)) + gzip.compress(calls[0]),
        bytes((1, 0x12)) + framed(calls[0]) + framed(calls[1]),
    ]
    seeds += [bytes((method, 0)) + name for method in range(2, len(PATHS))]
    answered = [fuzz_one(seed) for seed in seeds]
    assert sum(answered) >= len(calls), answered
    tokens = [b"\x0a", b"\x12", b"\x1a", b"\x2a", b"\x3a", b"\xff\xff\xff\xff\x0f", b"\x80" * 10, b"FP16", b"BYTES", b"every", b"\x0b", b"\x00"]  # fmt: skip
    return Harness("grpc", lambda data: (fuzz_one(data), None)[1], seeds, tokens)
