"""What remotes answer: the HTTP parser of our client, and the bodies of V2 and OpenAI servers."""

import asyncio
import base64
import json
import struct
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fuzz.engine import Harness
from fuzz.memory import Transport, the_loop
from modelyard.core.errors import ModelyardError
from modelyard.core.signature import Signature, TensorSpec
from modelyard.serve.answers import checked_answer
from modelyard.serve.call import Call, RawTensor
from modelyard.serve.remote.answers import Refused
from modelyard.serve.remote.exchange import Broken, Connection, Reply, Unreached
from modelyard.serve.remote.openai import OpenAI
from modelyard.serve.remote.v2 import V2

_TEXT = RawTensor("text", "BYTES", (2,), b"\1\0\0\0a\1\0\0\0b")
_CALL = Call((_TEXT,), {}, 2, 1.0)


def remote_http_harness() -> Harness:
    """Bytes of an answer; the first says in how many pieces they come, and whether it is streamed."""
    loop = the_loop()

    async def exchange(flags: int, data: bytes) -> None:
        connection = Connection(1_000_000)
        connection.connection_made(Transport())
        work = loop.create_task(_streamed(connection) if flags & 8 else connection.exchange(b"GET"))
        await asyncio.sleep(0)
        step = max(1, -(-len(data) // (1 + flags % 5)))
        for start in range(0, len(data), step):
            connection.data_received(data[start : start + step])
            await asyncio.sleep(0)
        connection.connection_lost(None if flags & 16 else ConnectionResetError(104, "reset"))
        try:
            await work
        except (Broken, Unreached):
            return

    async def _streamed(connection: Connection) -> Reply:
        reply = await connection.open_stream(b"GET")
        async for piece in connection.pieces():
            assert isinstance(piece, bytes)
        return reply

    def fuzz_one(data: bytes) -> None:
        if data:
            loop.run_until_complete(exchange(data[0], data[1:]))

    answers = [
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\ndata:\r\n2\r\n\n\n\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    ]
    seeds = [bytes([flags]) + answer for answer in answers for flags in (0, 10, 17, 28)]
    tokens = [b"\r\n", b"\r\n\r\n", b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n", b"HTTP/1.1 ", b"0\r\n\r\n", b"connection: close\r\n"]  # fmt: skip
    return Harness("remote_http", fuzz_one, seeds, tokens)


class _Scripted:
    """Stands where the client stands, and has the answer already."""

    def __init__(self) -> None:
        self.reply = Reply(200, {}, b"")

    def head(self, method: str, target: str, headers: Mapping[str, str] | None = None) -> bytes:
        return b""

    async def exchange(self, head: bytes, body: bytes, deadline: float) -> Reply:
        return self.reply


def _remote_harness(name: str, kind: Any, bodies: list[bytes], tokens: list[bytes]) -> Harness:
    """The first byte of an input says what is asked, and the status; a line is a header, if there is one."""
    loop = the_loop()
    client = _Scripted()
    remote = kind(client, "m", "http://h:1", {})

    def fuzz_one(data: bytes) -> None:
        if not data:
            return
        flags = data[0]
        line, _, body = data[1:].partition(b"\n")
        header, _, value = line.partition(b":")
        status = (200, 200, 200, 400, 429, 500, 503, 302)[flags & 7]
        client.reply = Reply(status, {header: value}, body)
        asked = (remote.infer(_CALL, 0.0), remote.learn(0.0), remote.check(0.0))
        chosen = asked[(flags >> 3) % 3]
        for other in asked:
            if other is not chosen:
                other.close()
        try:
            answer = loop.run_until_complete(chosen)
        except Refused as refused:
            assert refused.error.message
            refused.error.body("r")
        except ModelyardError as error:
            assert error.code != "internal", error.message
        else:
            if (flags >> 3) % 3 == 0:
                checked_answer({}, answer)

    seeds = [bytes([flags]) + body for body in bodies for flags in (0, 4, 8, 16)]
    return Harness(name, fuzz_one, seeds, tokens)


def remote_v2_harness() -> Harness:
    binary = json.dumps({"outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}]}).encode()  # fmt: skip
    bodies: list[object] = [
        {"outputs": [{"name": "y", "datatype": "FP32", "shape": [2, 1], "data": [[1.0], [None]]}]},
        {"outputs": [{"name": "y", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]}]},
        {"name": "m", "versions": ["1"], "platform": "p", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}], "outputs": []},
        {"name": "triton", "extensions": ["binary_tensor_data"]},
        {"error": "no", "code": "overloaded", "field": "inputs"},
        {"detail": [{"loc": ["body"], "msg": "wrong"}]},
    ]  # fmt: skip
    encoded = [b"\n" + json.dumps(body).encode() for body in bodies]
    encoded.append(
        b"inference-header-content-length:%d\n" % len(binary) + binary + struct.pack("<2f", 1, 2)
    )
    encoded.append(b"retry-after:1\n{}")
    tokens = [b"null", b"-1", b"1e999", b"[", b"]", b'"FP16"', b'"BYTES"', b'"binary_data_size":', b"18446744073709551616", b'"shape":', b"inf", b"nan"]  # fmt: skip
    return _remote_harness("remote_v2", V2, encoded, tokens)


def remote_openai_harness() -> Harness:
    packed = base64.b64encode(struct.pack("<2f", 1, 2)).decode()
    rows: list[list[Any]] = [[[0.5, 1], [1, 2]], [packed, packed]]
    bodies: list[object] = [
        {"data": [{"index": index, "embedding": row} for index, row in enumerate(pair)], "usage": {"prompt_tokens": 3}}
        for pair in rows
    ]  # fmt: skip
    bodies += [{"data": [{"id": "m"}]}, {"error": {"message": "no", "type": "x"}}]
    tokens = [
        b"null",
        b"-1",
        b"1e999",
        b"[",
        b"]",
        b'"index":',
        b'"embedding":',
        b"====",
        b'"' + packed.encode() + b'"',
    ]
    return _remote_harness(
        "remote_openai", OpenAI, [b"\n" + json.dumps(body).encode() for body in bodies], tokens
    )


class _Streaming(_Scripted):
    """The same for an answer in pieces."""

    pieces: tuple[bytes, ...] = ()

    @asynccontextmanager
    async def stream(
        self, head: bytes, body: bytes, deadline: float, *, until: float | None = None
    ) -> AsyncGenerator[Any, None]:
        async def coming() -> AsyncGenerator[bytes, None]:
            for piece in self.pieces:
                yield piece

        yield self.reply, coming()


def remote_stream_harness() -> Harness:
    """The events of a streamed answer; the first byte says the status, and in how many pieces they come."""
    loop = the_loop()
    client = _Streaming()
    remote = V2(client, "m", "http://h:1", {})  # type: ignore[arg-type]
    outputs = (
        TensorSpec(name="text", datatype="BYTES", kind="text"),
        TensorSpec(name="scores", datatype="FP32", shape=(-1, 2)),
        TensorSpec(name="count", datatype="INT64"),
        TensorSpec(name="more", datatype="BYTES", kind="json"),
    )
    call = _CALL._replace(inputs=(RawTensor("text", "BYTES", (1,), b"\1\0\0\0a"),), rows=1)
    signatures = [Signature(inputs=outputs[:1], outputs=outputs, batched=each) for each in (True, False)]
    expected = [
        {spec.name: (spec.datatype, signature.batch_shape(spec)) for spec in outputs}
        for signature in signatures
    ]

    async def read(batched: int) -> None:
        async for answer in remote.stream(call, 0.0):
            result = checked_answer(expected[batched], answer)
            # What is missing is the caller's to judge; what is there fits.
            assert not isinstance(result, ModelyardError) or len(answer) < len(outputs), result

    def fuzz_one(data: bytes) -> None:
        if not data:
            return
        flags, body = data[0], data[1:]
        step = max(1, -(-len(body) // (1 + (flags >> 2) % 5)))
        client.pieces = tuple(body[start : start + step] for start in range(0, len(body), step))
        client.reply = Reply((200, 200, 200, 503)[flags & 3], {}, b"")
        remote._learned = signatures[flags >> 7]
        try:
            loop.run_until_complete(read(flags >> 7))
        except Refused as refused:
            assert refused.error.message
            refused.error.body("r")
        except Broken:
            return

    whole = {"model_name": "m", "text": "a", "scores": [[0.5, 1]], "count": 3, "more": {"b": [None]}}
    bodies = [
        b"data: %b\n\n" % json.dumps(whole).encode() * 2,
        b'data: {"text": "a"}\r\n\r\n: comment\n\ndata: {"error": "no more", "code": "internal"}\n\n',
        b'event: x\ndata: {"scores":\ndata: []}\n\n',
        b"data: [DONE]\n\n",
    ]
    seeds = [bytes([flags]) + body for body in bodies for flags in (0, 3, 12, 130)]
    tokens = [b"data: ", b"\n\n", b"\r\n", b"null", b"1e999", b"[", b"]", b"18446744073709551616", b'"\\ud800"', b"NaN"]  # fmt: skip
    return Harness("remote_stream", fuzz_one, seeds, tokens)
