"""The two ends of the wire between node and executor, and raw tensors of BYTES."""

import contextlib
import json
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from fuzz.engine import Harness
from modelyard.core.datatypes import DATATYPES
from modelyard.core.errors import ModelyardError
from modelyard.core.signature import Signature, TensorSpec
from modelyard.serve.call import Result
from modelyard.serve.codec import raw_size_fits, unpack
from modelyard.serve.pool.channel import Channel, Events
from modelyard.serve.pool.frames import BatchResult
from modelyard_executor import wire
from modelyard_executor.loop import serve
from modelyard_executor.tensor import split_bytes


def frame(header: object, body: bytes = b"") -> bytes:
    """One frame, whole."""
    return b"".join(wire.encode(header, [body] if body else []))


def framed(flags: int, data: bytes) -> bytes:
    """``data`` as it is, or with the high bit of ``flags`` as a header up to the last brace and its body, so
    that what is inside of a frame is tried too."""
    if not flags & 0x80:
        return data
    end = data.rfind(b"}") + 1
    return wire.LENGTHS.pack(end, len(data) - end) + data


def _both(seeds: list[bytes], flags: list[bytes]) -> list[bytes]:
    """Each seed as bytes of the socket, and (of single frames) as the inside of a frame."""
    whole = [flag + seed for flag, seed in zip(flags, seeds, strict=True)]
    inner = [bytes([flag[0] | 0x80]) + flag[1:] + seed[8:] for flag, seed in zip(flags, seeds, strict=True)]
    return whole + inner


class _Anything:
    """An adapter that answers each item with its own inputs."""

    def validate(self, item: Any) -> None:
        for tensor in item.inputs.values():
            tensor.values()

    def predict(self, items: Sequence[Any]) -> list[Any]:
        return [item.inputs for item in items]

    def stream(self, item: Any) -> Iterator[Any]:
        yield item.inputs
        yield item.inputs


def wire_executor_harness() -> Harness:
    """What an executor is sent. It believes the node; what is not the protocol ends it with a sentence."""
    tensors = [["x", "FP32", [1, 2], 8], ["t", "BYTES", [1], 5]]
    body = struct.pack("<2f", 1, 2) + struct.pack("<I", 1) + b"a"
    item = {"inputs": tensors, "parameters": {"a": 1}}
    seeds = [
        frame({"type": "BATCH", "batch": 1, "items": [item]}, body) + frame({"type": "DRAIN"}),
        frame({"type": "PING"}) + frame({"type": "BATCH", "batch": 2, "items": [item, item]}, body * 2),
        frame({"type": "CANCEL", "batch": 1, "items": [0]}),
        frame({"type": "BATCH", "batch": 3, "items": [item | {"stream": True}, item]}, body * 2)
        + frame({"type": "CANCEL", "batch": 3, "items": [0]}),
        frame({"type": "BATCH", "batch": 4, "alike": 2, "inputs": tensors[:1]}, bytes(16)),
    ]
    seeds = _both(seeds, [bytes((number % 2,)) for number in range(len(seeds))])

    def fuzz_one(data: bytes) -> None:
        if not data:
            return
        version, data = 1 + data[0] % 2, framed(data[0], data[1:])
        if _promises(data) > 1 << 20:
            return
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(0)
            ours.sendall(data)
            ours.shutdown(socket.SHUT_WR)
            # The process ends with the exception as its last words; the node starts another.
            with contextlib.suppress(
                EOFError,
                OSError,
                wire.WireError,
                ValueError,
                LookupError,
                TypeError,
                AttributeError,
                RecursionError,
            ):
                serve(wire.Channel(theirs), _Anything(), version)  # type: ignore[arg-type]

    return Harness(
        "wire_executor",
        fuzz_one,
        seeds,
        [b"BATCH", b'"items":[', b'"BYTES"', b"null", b"-1", b"[]", b"PING"],
    )


def _promises(data: bytes) -> int:
    """Bytes that the frames of ``data`` say they bring: memory that an executor takes at its node's word."""
    position = promised = 0
    while position + wire.LENGTHS.size <= len(data):
        size = sum(wire.LENGTHS.unpack_from(data, position))
        promised, position = promised + size, position + wire.LENGTHS.size + size
    return promised


def nobody(*_: Any) -> None:
    """What happens is looked at elsewhere."""


def wire_node_harness() -> Harness:
    """What a node is told by an executor: whatever it is, a result or the end of that executor."""
    signature = msgspec.to_builtins(Signature(inputs=(TensorSpec(name="x", datatype="FP32", shape=(2,)),)))
    hello = {
        "type": "HELLO", "version": 1, "adapter": "onnx", "signature": signature, "cost": {"cost": "rows", "shape": "rows"},
        "example": {"x": [1.0, 2.0]}, "resources": {}, "memory": 1, "pid": 1,
    }  # fmt: skip
    result = {
        "type": "RESULT", "batch": 1, "compute_us": 5,
        "items": [{"outputs": [["y", "FP32", [1, 2], 8]]}, {"error": {"code": "internal", "message": "m", "field": None}}],
    }  # fmt: skip
    seeds = [
        frame(hello), frame(result, bytes(8)), frame({"type": "FAILED", "code": "internal", "message": "m", "traceback": ""}),
        frame({"type": "PONG"}) + frame(result, bytes(8)),
        frame({"type": "STREAM", "batch": 1, "index": 0, "outputs": [["y", "FP32", [1], 4]]}, bytes(4)),
        frame({"type": "RESULT", "batch": 1, "compute_us": 5, "out_of_memory": True}),
        frame({"type": "PROGRESS", "batch": 1, "fraction": 0.5, "message": "half"}),
        frame({"type": "COMPUTED", "batch": 1}) + frame(result, bytes(8)),
        b"".join(wire.encode_raw(json.dumps(hello | {"example": {"x": 0}}).encode().replace(b'"x": 0', b'"x": ' + b"[" * 3000))),
        frame({"type": "RESULT", "batch": 1, "compute_us": 5, "alike": 2, "outputs": [["y", "FP32", [1], 4]]}, bytes(8)),
        frame(hello | {"version": 2, "depth": 2, "streams": True, "cost": {"cost": "length", "shape": "padded", "of": "x"}}),
    ]  # fmt: skip
    taken: set[int] = set()

    def fuzz_one(data: bytes) -> None:
        if len(data) < 2:
            return

        def result(message: BatchResult, results: list[Result]) -> None:
            assert message.out_of_memory or len(results) == 2, results
            taken.add(len(results))

        events = Events(nobody, nobody, result, nobody, nobody, nobody, nobody)
        channel = Channel(events, nobody)
        # As if a batch of two were on its way: one that is streamed, or none; by the second byte.
        channel._streams = bool(data[1] % 2)  # pyright: ignore[reportPrivateUsage]
        channel._flying.append((1, 2, frozenset({0} if data[1] % 2 else ()), None))  # pyright: ignore[reportPrivateUsage]
        if data[1] % 3 == 0:  # and another behind it
            channel._flying.append((2, 2, (), None))  # pyright: ignore[reportPrivateUsage]
        pieces, data = 1 + data[0] % 5, framed(data[0], data[2:])
        step = max(1, len(data) // pieces)
        for start in range(0, len(data), step):
            channel.data_received(data[start : start + step])

    seeds = _both(seeds, [bytes((number % 3, number % 2)) for number in range(len(seeds))])
    for seed in seeds:
        fuzz_one(seed)
    assert taken == {0, 2}, taken  # results come through, and so does want of memory
    return Harness(
        "wire_node",
        fuzz_one,
        seeds,
        [b"RESULT", b"HELLO", b'"outputs":', b"null", b"-1", b"[]", b'"error":', b"1e9"],
    )


def bytes_tensor_harness() -> Harness:
    """Raw tensors as a client or a model may send them: refused, or read whole."""
    names = sorted(DATATYPES)
    texts = b"".join(struct.pack("<I", len(text)) + text for text in (b"", b"a", "é".encode(), b"\xff"))

    def fuzz_one(data: bytes) -> None:
        if not data:
            return
        datatype, raw = names[data[0] % len(names)], data[1:]
        if datatype == "BYTES":
            try:
                count = len(split_bytes(raw))
            except ValueError:
                return
            assert raw_size_fits(datatype, (count,), raw)
        else:
            count = len(raw) // DATATYPES[datatype].size
        try:
            if raw_size_fits(datatype, (count,), raw):
                assert len(unpack(datatype, raw)) == count
        except ModelyardError as error:
            assert error.code == "invalid_input", error

    seeds = [bytes([index]) + bytes(range(16)) for index in range(len(names))]
    return Harness(
        "bytes_tensor",
        fuzz_one,
        [*seeds, bytes([names.index("BYTES")]) + texts],
        [b"\0\0\0\0", b"\1\0\0\0a", b"\xff\xff\xff\xff"],
    )
