"""The other protocols of the node's REST surface, compressed bodies, and HTTP/2 below them all."""

import gzip
import json
import struct
import zlib
from typing import Any

import hpack
import zstandard

from fuzz.engine import Harness
from fuzz.rest import body_harness, edge
from modelyard.core.datatypes import DATATYPES
from modelyard.serve.edge.http2 import frames

_JSON = [
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b"null",
    b"true",
    b"-0",
    b"1e309",
    b'"\\ud800"',
    b"18446744073709551616",
]


def v2_binary_harness() -> Harness:
    """JSON up to the last brace and raw tensors behind it; or, by the first byte, another length told."""
    node = edge()

    def fuzz_one(data: bytes) -> None:
        if not data:
            return
        flags, body = data[0], data[1:]
        length = body.rfind(b"}") + 1 if flags & 0x80 else flags * 8
        headers = {
            b"content-type": b"application/octet-stream",
            b"inference-header-content-length": b"%d" % length,
        }
        if flags & 0x40:
            headers[b"inference-header-content-length"] = body[:8]
        node.request("POST", "/v2/models/every/infer", headers, body)

    seeds: list[bytes] = []
    raw = {"BYTES": struct.pack("<I", 1) + b"a" + struct.pack("<I", 0)}
    for name, kind in DATATYPES.items():
        data = raw.get(name, bytes(range(2 * kind.size)))
        tensor = {
            "name": name.lower(),
            "shape": [2],
            "datatype": name,
            "parameters": {"binary_data_size": len(data)},
        }
        wanted = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
        seeds.append(b"\x80" + json.dumps(wanted).encode() + data)
        assert node.request("POST", "/v2/models/every/infer", {b"inference-header-content-length": b"%d" % (len(seeds[-1]) - 1 - len(data))}, seeds[-1][1:]) == 200  # fmt: skip
    tokens = [
        *_JSON,
        b'"binary_data_size":',
        b'"binary_data":true',
        b'"binary_data_output":false',
        b"\xff\xff\xff\xff",
        b'"data":[1,2]',
    ]
    return Harness("v2_binary", fuzz_one, seeds, tokens)


def v1_harness() -> Harness:
    row = {"fp32": [1.0, 2.5], "int64": [1], "bytes": ["a"]}
    bodies: list[object] = [
        {"instances": [row, {"bool": [True]}]}, {"inputs": {"fp32": [[1.0]]}, "signature_name": "serving_default"},
        {"instances": ["one", {"b64": "aGVsbG8="}]}, {"instances": [[1, 2, 3, 4], [5, 6, 7, 8]]}, {"inputs": [[1, 2, 3, 4]]},
    ]  # fmt: skip
    paths = [
        "/v1/models/every:predict",
        "/v1/models/text:predict",
        "/v1/models/rows:predict",
        "/v1/models/rows/versions/1:predict",
    ]
    return body_harness("v1", paths, bodies, [*_JSON, b'{"b64":"', b'"instances":', b'"inputs":', b"===="])


def openai_harness() -> Harness:
    bodies: list[object] = [
        {"model": "embedder", "input": "a text"}, {"model": "embedder", "input": ["a", "b"], "encoding_format": "base64"},
        {"model": "embedder", "input": ["a"], "dimensions": 4, "user": "u"}, {"model": "rows", "input": [1, 2]},
    ]  # fmt: skip
    return body_harness(
        "openai",
        ["/v1/embeddings"],
        bodies,
        [*_JSON, b'"encoding_format":"float"', b'"dimensions":', b'"input":[]'],
    )


def invocations_harness() -> Harness:
    bodies: list[object] = [
        {"dataframe_split": {"columns": ["a", "b", "c", "d"], "data": [[1, 2, 3, 4.5]], "index": [0]}},
        {"dataframe_records": [{"x": [1, 2, 3, 4]}]}, {"instances": [[1, 2, 3, 4]]}, {"inputs": {"x": [[1, 2, 3, 4]]}, "params": {}},
    ]  # fmt: skip
    return body_harness(
        "invocations",
        ["/invocations", "/batch_predict", "/predict"],
        bodies,
        [*_JSON, b'"columns":', b'"data":', b'"params":{"a":1}'],
    )


def csv_harness() -> Harness:
    bodies: list[object] = [
        b"a,b,c,d\n1,2,3,4\n5,6,7,8\n",
        b"1,2,3,4\n",
        b'"a","b","c","d"\r\n1,2,3,"4"\r\n',
    ]
    return body_harness(
        "csv",
        ["/invocations"],
        bodies,
        [b'"', b",", b"\n", b"\r", b"\0", b"nan", b"1e400", b'""', b"x,", b"\xff"],
        content_type=b"text/csv",
    )


def generate_harness() -> Harness:
    bodies: list[object] = [
        {"text_input": "once", "parameters": {"note": "n"}},
        {"text": "once", "id": "1"},
        {"fp32": [1.0], "times": 2},
    ]
    paths = [
        "/v2/models/text/generate",
        "/v2/models/text/generate_stream",
        "/v2/models/every/generate_stream",
    ]
    return body_harness(
        "generate", paths, bodies, [*_JSON, b'"text_input":', b'"parameters":', b"\\n\\ndata:"]
    )


def repository_harness() -> Harness:
    paths = ["/v2/repository/index", "/v2/repository/models/rows/load", "/v2/repository/models/rows/unload"]
    return body_harness(
        "repository", paths, [{"ready": True}, {}, b"", {"parameters": {"config": "{}"}}], _JSON
    )


def compression_harness() -> Harness:
    """Bodies by the encoding that the first byte says; what they stand for is bounded."""
    node = edge()
    names = (b"gzip", b"deflate", b"zstd", b"gzip, zstd", b"x-gzip,deflate", b"identity")

    def fuzz_one(data: bytes) -> None:
        if data:
            headers = {b"content-type": b"application/json", b"content-encoding": names[data[0] % len(names)], b"accept-encoding": b"gzip"}  # fmt: skip
            node.request("POST", "/models/rows/predict", headers, data[1:])

    plain = json.dumps({"x": [0.0, 1.0, 2.0, 3.0]}).encode()
    bare = zlib.compressobj(wbits=-15)
    streamed = zstandard.ZstdCompressor().compressobj()
    seeds = [
        b"\0" + gzip.compress(plain), b"\0" + gzip.compress(plain[:9]) + gzip.compress(plain[9:]), b"\1" + zlib.compress(plain),
        b"\1" + bare.compress(plain) + bare.flush(), b"\2" + zstandard.compress(plain), b"\2" + streamed.compress(plain) + streamed.flush(),
        b"\3" + zstandard.compress(gzip.compress(plain)), b"\0" + gzip.compress(bytes(2_000_000)), b"\2" + zstandard.compress(bytes(2_000_000)),
    ]  # fmt: skip
    return Harness(
        "compression",
        fuzz_one,
        seeds,
        [b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x78\x9c", bytes(8), b"\xff" * 8],
    )


def http2_harness() -> Harness:
    """Frames of a connection, behind its preface. An input is either bytes as they are, or (first byte over
    127) records of kind, flags, stream and length, of which whole frames are made."""
    node = edge()

    def fuzz_one(data: bytes) -> None:
        if not data:
            return
        sent = _frames(data[1:]) if data[0] & 0x80 else data[1:]
        written = node.speak(frames.PREFACE + sent, 1 + data[0] % 5)
        position = 0
        while position + 9 <= len(written):
            length = int.from_bytes(written[position : position + 3], "big")
            if written[position + 3] in (3, 7):  # RST_STREAM, GOAWAY: never by a fault of ours
                at = position + 9 + (4 if written[position + 3] == 7 else 0)
                assert int.from_bytes(written[at : at + 4], "big") != 2, written[position:]
            position += 9 + length
        assert position == len(written), "a frame that is cut off"

    def head(path: str, **more: str) -> bytes:
        fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "localhost"),
            *more.items(),
        ]
        return hpack.Encoder().encode(fields)  # no table: each block can be read by itself

    body = json.dumps({"x": [0.0, 1.0, 2.0, 3.0]}).encode()
    settings = _record(4, 0, 0, struct.pack(">HI", 4, 100) + struct.pack(">HI", 5, 16384))
    seeds: list[Any] = [
        settings + _record(1, 4, 1, head("/models/rows/predict")) + _record(0, 1, 1, body),
        settings + _record(1, 5, 1, head("/health")) + _record(1, 5, 3, head("/v2")) + _record(3, 0, 1, struct.pack(">I", 8)),
        _record(1, 0, 1, head("/models/rows/predict")[:9]) + _record(9, 4, 1, head("/ready")) + _record(8, 0, 0, struct.pack(">I", 100)),
        _record(1, 0x2C, 1, b"\2" + bytes(5) + head("/models/rows/predict") + bytes(2)) + _record(0, 9, 1, b"\1" + body + b"\0"),
        _record(6, 0, 0, bytes(8)) + _record(7, 0, 0, bytes(8)) + _record(2, 0, 1, bytes(5)) + _record(8, 0, 1, bytes(4)),
        _record(1, 4, 1, head("/models/rows/predict", **{"content-length": "5", "te": "trailers"})) + _record(0, 0, 1, body) + _record(1, 5, 1, head("/x")),
    ]  # fmt: skip
    seeds = [seed if seed.startswith(settings) else settings + seed for seed in seeds]
    records = [b"\x80" + seed for seed in seeds]
    raw = [b"\0" + _frames(seed) for seed in seeds]
    tokens = [
        _record(4, 1, 0, b""),
        _record(0, 1, 1, b"{}"),
        b"\x82",
        b"\x3f\xe1\x1f",
        b"\x40",
        b"\xff\xff\xff\xff\x0f",
        b"\x00\x01a\x01b",
        b"\x10",
        b"\x8f" + b"\xff" * 15,
    ]
    return Harness("http2", fuzz_one, records + raw, tokens)


def _record(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return bytes((kind, flags, stream)) + struct.pack(">H", len(payload)) + payload


def _frames(data: bytes) -> bytes:
    """Records as frames with lengths that are right."""
    made = bytearray()
    position = 0
    while position + 5 <= len(data):
        kind, flags, stream = data[position : position + 3]
        length = min(int.from_bytes(data[position + 3 : position + 5], "big"), 16384)
        payload = data[position + 5 : position + 5 + length]
        made += len(payload).to_bytes(3, "big") + bytes((kind, flags)) + struct.pack(">I", stream) + payload
        position += 5 + length
    return bytes(made)
