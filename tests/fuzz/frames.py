"""The two ends of the wire between node and executor, and raw tensors of BYTES."""

import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from fuzz.engine import Harness
from modelyard.core.datatypes import DATATYPES
from modelyard.core.errors import ModelyardError
from modelyard.core.routes import ExecutorSpec
from modelyard.core.signature import Signature, TensorSpec
from modelyard.serve.codec import raw_size_fits, unpack
from modelyard.serve.pool.executor import ExecutorProcess
from modelyard.serve.pool.limits import MemoryLimit
from modelyard_executor import wire
from modelyard_executor.loop import serve
from modelyard_executor.tensor import split_bytes


def frame(header: object, body: bytes = b"") -> bytes:
    """One frame, whole."""
    return b"".join(wire.encode(header, [body] if body else []))


class _Anything:
    """An adapter that answers each item with its own inputs."""

    def validate(self, item: Any) -> None:
        for tensor in item.inputs.values():
            tensor.values()

    def predict(self, items: Sequence[Any]) -> list[Any]:
        return [item.inputs for item in items]


def wire_executor_harness() -> Harness:
    """What an executor is sent. It believes the node; what is not the protocol ends it with a sentence."""
    tensors = [["x", "FP32", [1, 2], 8], ["t", "BYTES", [1], 5]]
    body = struct.pack("<2f", 1, 2) + struct.pack("<I", 1) + b"a"
    item = {"inputs": tensors, "parameters": {"a": 1}}
    seeds = [
        frame({"type": "BATCH", "batch": 1, "items": [item]}, body) + frame({"type": "DRAIN"}),
        frame({"type": "PING"}) + frame({"type": "BATCH", "batch": 2, "items": [item, item]}, body * 2),
        frame({"type": "CANCEL", "batch": 1}),
    ]

    def fuzz_one(data: bytes) -> None:
        if _promises(data) > 1 << 20:
            return
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(0)
            ours.sendall(data)
            ours.shutdown(socket.SHUT_WR)
            try:
                serve(wire.Channel(theirs), _Anything())  # type: ignore[arg-type]
            except (EOFError, OSError, wire.WireError, ValueError, LookupError, TypeError, AttributeError):
                pass  # the process ends with this as its last words; the node starts another

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
    ]  # fmt: skip
    spec = ExecutorSpec(python="p", adapter="onnx", files="f")

    def fuzz_one(data: bytes) -> None:
        if not data:
            return
        events: list[object] = []
        process = ExecutorProcess(
            spec, threads=1, limit=MemoryLimit("fuzz", None), folder=Path("/nonexistent"),
            on_hello=events.append, on_failed=events.append, on_result=lambda *told: events.append(told),
            on_exit=events.append, on_output=events.append,
        )  # fmt: skip
        step = max(1, len(data) // (1 + data[0] % 5))
        for start in range(0, len(data), step):
            process.data_received(data[start : start + step])

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
