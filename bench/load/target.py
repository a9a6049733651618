"""One request to repeat: where it goes and what it carries, as V2 JSON, V2 binary or V2 gRPC."""

import json
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Target:
    """``body`` None: a GET."""

    url: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


def v2_json(url: str, name: str, array: np.ndarray) -> Target:
    """An infer request with the data as a flat list of numbers."""
    tensor = {
        "name": name,
        "shape": list(array.shape),
        "datatype": "FP32",
        "data": [round(float(value), 3) for value in array.ravel()],
    }
    return Target(url, json.dumps({"inputs": [tensor]}).encode(), {"Content-Type": "application/json"})


def v2_binary(url: str, name: str, array: np.ndarray) -> Target:
    """The binary tensor data extension, both ways: a JSON head, then raw little-endian values.

    Source: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
    """
    raw = array.astype("<f4").tobytes()
    tensor = {
        "name": name,
        "shape": list(array.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(raw)},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return Target(
        url,
        head + raw,
        {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))},
    )


def v2_grpc(authority: str, model: str, name: str, array: np.ndarray) -> Target:
    """A ModelInfer call as it goes over HTTP/2: a five-byte prefix, then the message.

    Sources: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto
    and https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
    """
    shape = b"".join(_varint(length) for length in array.shape)
    tensor = _field(1, name.encode()) + _field(2, b"FP32") + _field(3, shape)
    message = _field(1, model.encode()) + _field(5, tensor) + _field(7, array.astype("<f4").tobytes())
    return Target(
        f"http://{authority}/inference.GRPCInferenceService/ModelInfer",
        b"\0" + len(message).to_bytes(4, "big") + message,
        {"content-type": "application/grpc", "te": "trailers"},
    )


def grpc_output(message: bytes) -> bytes:
    """``raw_output_contents[0]`` of a ModelInferResponse without its prefix; raises ValueError when none."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        if key & 7 == 0:
            _, at = _read_varint(message, at)
        elif key & 7 == 2:
            length, at = _read_varint(message, at)
            if key >> 3 == 6:
                return message[at : at + length]
            at += length
        else:
            raise ValueError(f"a field of wire type {key & 7} in a ModelInferResponse")
    raise ValueError("no raw output in the answer")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content
