"""The node's REST surface in this process: the real connection, router, protocols and checks, over a
backend that answers a call with its own inputs, so that what was decoded is encoded again."""

import asyncio
import json
import logging
import struct
from collections.abc import AsyncIterator, Coroutine, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec

from fuzz.engine import Harness
from fuzz.memory import Transport, the_loop
from modelyard.core.datatypes import DATATYPES
from modelyard.core.errors import ModelyardError
from modelyard.core.routes import ExecutorSpec, NodeStatus, Pool, RouteTable
from modelyard.core.signature import ParameterSpec, Signature, TensorSpec
from modelyard.serve.call import Answer, Call
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.edge.http2.frames import PREFACE
from modelyard.serve.edge.opening import Opening
from modelyard.serve.edge.shared import Shared
from modelyard.serve.http import Request, Response, error_response
from modelyard.serve.observe.metrics import NodeCollector
from modelyard.serve.protocols import Router
from modelyard.serve.protocols.internal import Internal
from modelyard.serve.served import Served

KEY = "k" * 43
MAX_BODY = 1_000_000
SIGNATURES = {
    # every datatype there is, each input optional, of any length
    "every": Signature(
        inputs=tuple(
            TensorSpec(name=name.lower(), datatype=name, shape=(-1,), optional=True) for name in DATATYPES
        ),
        batched=False,
        parameters=(ParameterSpec(name="times", type="int", default=1),),
    ),
    "rows": Signature(inputs=(TensorSpec(name="x", datatype="FP32", shape=(4,)),)),
    "text": Signature(
        inputs=(TensorSpec(name="text", datatype="BYTES", kind="text"),),
        outputs=(TensorSpec(name="text", datatype="BYTES", kind="text"),),
        batched=False,
        parameters=(ParameterSpec(name="note", type="string", default=""),),
    ),
    # a model of embeddings, as the OpenAI protocol wants one
    "embedder": Signature(
        inputs=(TensorSpec(name="text", datatype="BYTES", kind="text"),),
        outputs=(TensorSpec(name="embedding", datatype="FP32", shape=(4,), kind="embedding"),),
    ),
}


class _Residence:
    """Always there, and never for good."""

    async def wake(self, limit: float) -> None:
        pass

    async def sleep(self) -> None:
        pass


class _Echo:
    """A backend that answers with the inputs, or for ``embedder`` with four numbers a row."""

    ready = True

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self._embeds = any(spec.kind == "embedding" for spec in signature.outputs)

    def submit(self, call: Call) -> SimpleNamespace:
        future = asyncio.get_running_loop().create_future()
        future.set_result(self._answer(call))
        return SimpleNamespace(future=future, cancel=lambda: None)

    async def stream(self, call: Call) -> AsyncIterator[Answer]:
        for _ in range(2):
            yield self._answer(call)

    def _answer(self, call: Call) -> Answer:
        if not self._embeds:
            return call.inputs
        spec = self.signature.outputs[0]
        raw = struct.pack("<4f", 0.5, 1.0, float("nan"), -1.0) * call.rows
        tensor = call.inputs[0]._replace(name=spec.name, datatype="FP32", shape=(call.rows, 4), data=raw)
        return (tensor,)


class _Faults(logging.Handler):
    """What the node logs as a fault of its own."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self.seen.append(f"{record.getMessage()} ({error!r})")


class Edge:
    """A node without executors or sockets; one for all inputs of a process."""

    def __init__(self) -> None:
        self.loop = the_loop()
        self.collector = NodeCollector(list)
        self.plane = Dataplane(self.collector)
        self.plane.table = RouteTable(default="rows")
        for name, signature in SIGNATURES.items():
            self.plane._routes[name] = self._served(name, signature)  # pyright: ignore[reportPrivateUsage]
        internal = Internal(
            KEY, self._status, self._apply, lambda deployment: __import__("pathlib").Path("/nonexistent")
        )
        self.router = Router(self.plane, internal, lambda only: b"", max_body=MAX_BODY)
        self.faults = _Faults()
        self.shared = self.loop.run_until_complete(self._shared())
        self.said = b""  # the body of the last answer

    def _served(self, name: str, signature: Signature) -> Served:
        spec = Pool(
            deployment=f"{name}-1", endpoint=name, model=name, version=1, digest="0" * 64,
            executor=ExecutorSpec(python="", adapter="echo", files=""), signature=signature,
        )  # fmt: skip
        served = Served(
            SimpleNamespace(spec=spec, signature=signature, residence=_Residence()),
            self.collector.endpoint(name),
        )  # type: ignore[arg-type]
        served.backend = _Echo(signature)  # type: ignore[assignment]
        return served

    async def _shared(self) -> Shared:
        return Shared(self.router, MAX_BODY, self.router.admit, 1000)

    @staticmethod
    def _status() -> NodeStatus:
        return NodeStatus(pid=1, generation=0, started=0.0)

    @staticmethod
    async def _apply(table: RouteTable) -> None:
        msgspec.json.encode(table)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What ``work`` gives. The log is heard meanwhile and not longer: other tests have it too."""
        log = logging.getLogger("modelyard")
        log.addHandler(self.faults)
        log.propagate = False
        try:
            return self.loop.run_until_complete(work)
        finally:
            log.propagate = True
            log.removeHandler(self.faults)

    def request(
        self, method: str, path: str, headers: dict[bytes, bytes], body: bytes, query: str = ""
    ) -> int:
        """The status of a request that the parser has taken apart already."""
        return self.run(self._request(Request(method, path, query, headers, "r", body)))

    async def _request(self, request: Request) -> int:
        try:
            self.router.admit(request)
            response = await self.router(request)
            await _whole(response)
        except ModelyardError as error:
            response = error_response(error, request.id)
            if error.code == "internal":
                raise AssertionError(f"an internal error: {error.message}") from error
        _printable(response)
        self.said = response.body
        return response.status

    def speak(self, data: bytes, pieces: int) -> bytes:
        """What a connection answers to ``data``, sent in ``pieces``."""
        return self.run(self._speak(data, pieces))

    async def _speak(self, data: bytes, pieces: int) -> bytes:
        transport = Transport()
        transport.protocol = Opening(self.shared)
        transport.protocol.connection_made(transport)
        step = max(1, -(-len(data) // pieces))
        for start in range(0, len(data), step):
            if not transport.is_closing():
                transport.protocol.data_received(data[start : start + step])
            await asyncio.sleep(0)
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(tasks)
        transport.protocol.connection_lost(None)
        self.raise_faults()
        return bytes(transport.written)

    def raise_faults(self) -> None:
        """Raise what the node has logged as a fault of its own."""
        if self.faults.seen:
            told, self.faults.seen = self.faults.seen, []
            raise AssertionError(told[0])


async def _whole(response: Response) -> None:
    """Take every piece of a stream."""
    if response.stream is not None:
        pieces = [piece async for piece in response.stream]
        assert all(isinstance(piece, bytes) for piece in pieces)


def _printable(response: Response) -> None:
    """No value of a header can be mistaken for the next line."""
    for name, value in response.headers:
        assert b"\r" not in name + value and b"\n" not in name + value, (name, value)
    assert response.status < 500 or response.status == 503, response.body[:200]


_EDGE: list[Edge] = []


def edge() -> Edge:
    """The one of this process."""
    if not _EDGE:
        _EDGE.append(Edge())
    return _EDGE[0]


def body_harness(
    name: str,
    paths: Sequence[str],
    bodies: Sequence[object],
    tokens: Sequence[bytes] = (),
    *,
    content_type: bytes = b"application/json",
    method: str = "POST",
    headers: dict[bytes, bytes] | None = None,
) -> Harness:
    """Bodies of requests; the first byte of an input says which of ``paths`` it is sent to."""
    node = edge()
    fixed = {b"content-type": content_type, **(headers or {})}
    encoded = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies]

    def fuzz_one(data: bytes) -> None:
        if data:
            node.request(method, paths[data[0] % len(paths)], fixed, data[1:])

    seeds = [bytes([index]) + body for body in encoded for index in range(len(paths))]
    # What all seeds have in common is not worth a harness: one of them at least is answered.
    answers = {node.request(method, paths[seed[0]], fixed, seed[1:]) for seed in seeds}
    assert answers & {200, 204}, (name, answers, node.said)
    return Harness(name, fuzz_one, seeds, tokens)


def target_harness() -> Harness:
    """Methods, paths and queries, past the parser."""
    node = edge()

    def fuzz_one(data: bytes) -> None:
        method, _, rest = data.decode("latin-1").partition(" ")
        path, _, query = rest.partition("?")
        node.request(method, path, {}, b"", query)

    seeds = [
        b"GET /v2/models/rows", b"GET /v2/models/rows/versions/1/ready", b"GET /ready", b"GET /metrics",
        b"GET /models", b"HEAD /health", b"GET /node/logs/x?tail=3", b"POST /v2/repository/index",
        b"GET /v2/models/rows/stats", b"GET /v2/models/rows/config", b"GET /v1/models/rows", b"GET /v1/models",
        b"POST /v1/models/rows:predict", b"GET /ping", b"OPTIONS *", b"GET /v2/models/%72ows/ready?a=%20&b",
    ]  # fmt: skip
    tokens = [
        b"%2f",
        b"%00",
        b"%",
        b"..",
        b"//",
        b"/v2/",
        b"/v1/",
        b":predict",
        b"models",
        b"versions",
        b"?",
        b" ",
    ]
    return Harness("target", fuzz_one, seeds, tokens)


def headers_harness() -> Harness:
    """Headers that say something of the call: options, trace context, keys, types, encodings."""
    node = edge()
    body = json.dumps({"x": [0.0, 1.0, 2.0, 3.0]}).encode()

    def fuzz_one(data: bytes) -> None:
        headers = {b"content-type": b"application/json"}
        for line in data.split(b"\n"):
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip()
        node.request("POST", "/models/rows/predict", headers, body)

    seeds = [
        b"modelyard-timeout: 2.5\nmodelyard-priority: 1\nmodelyard-client: a\ncache-control: no-cache",
        b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\ntracestate: a=1,b=2",
        b"modelyard-hops: 3\nauthorization: Bearer " + KEY.encode(),
        b"content-type: application/json; charset=utf-8\naccept: application/json, text/csv;q=0.5",
        b"host: localhost:8701\norigin: http://localhost",
        b"content-encoding: identity\naccept-encoding: gzip, zstd;q=0.5, *;q=0",
        b"inference-header-content-length: 26\ntriton-request-timeout: 5\nendpoint-load-metrics-format: text",
    ]
    tokens = [
        b"nan",
        b"inf",
        b"-1",
        b"1e400",
        b"\xff",
        b"gzip",
        b"zstd",
        b"text/csv",
        b"00-",
        b"q=",
        b"[::1]",
        b"Bearer ",
    ]
    return Harness("headers", fuzz_one, seeds, tokens)


def http1_harness() -> Harness:
    """Bytes of a connection, the first of them saying in how many pieces they come."""
    node = edge()

    def fuzz_one(data: bytes) -> None:
        written = node.speak(data[1:], 1 + (data[0] if data else 0) % 7)
        if data[1:].startswith(PREFACE):
            return  # another harness's
        assert written == b"" or written.startswith(b"HTTP/1.1 "), written[:60]
        assert b"HTTP/1.1 500" not in written, written

    infer = json.dumps(
        {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
    ).encode()
    post = b"POST /v2/models/rows/infer HTTP/1.1\r\nHost: localhost\r\ncontent-type: application/json\r\n"
    seeds = [
        b"\0GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\1" + post + b"content-length: %d\r\n\r\n" % len(infer) + infer,
        b"\2" + post + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(infer), infer),
        b"\3" + b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3,
        b"\4" + post + b"Expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(infer) + infer,
        b"\5GET /ready HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"\6GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
        b"\0PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    ]  # fmt: skip
    tokens = [
        b"\r\n", b"\n", b"\r\n\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"chunked", b"Connection: close\r\n",
        b"HTTP/1.1", b"HTTP/1.0", b"0\r\n\r\n", b"\t", b" ", b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\n", b"ffffffffffffffff\r\n",
    ]  # fmt: skip
    return Harness("http1", fuzz_one, seeds, tokens)


def v2_json_harness() -> Harness:
    inputs = [
        {"name": name.lower(), "shape": [2], "datatype": name, "data": data}
        for name, data in _values().items()
    ]
    bodies: list[object] = [{"inputs": [one]} for one in inputs]
    bodies += [
        {"inputs": inputs, "id": "a", "parameters": {"times": 2}, "outputs": [{"name": "fp32"}]},
        {"inputs": [{"name": "fp32", "shape": [2, 0], "datatype": "FP32", "data": [[], []]}]},
    ]
    tokens = [
        b"[", b"]", b"{", b"}", b",", b":", b'"', b"null", b"true", b"-0", b"1e309", b"1e-400", b"NaN", b"[[[[", b'"\\ud800"', b'"\\u0000"',
        b'"shape":', b'"datatype":"BF16"', b'"data":', b'"name":', b"18446744073709551616", b"-9223372036854775809", b"65504", b"3.5e38",
        b'"parameters":{"binary_data":true}', b'"priority":1', b'"timeout":1000',
    ]  # fmt: skip
    return body_harness(
        "v2_json", ["/v2/models/every/infer", "/v2/models/every/versions/1/infer"], bodies, tokens
    )


def native_harness() -> Harness:
    record = {name.lower(): data for name, data in _values().items()}
    bodies: list[object] = [record, {"records": [record, {"bool": [True]}, {"times": 2, "fp64": [1]}]}]
    bodies += [
        {"fp32s": [[1.0], [2.5, 1]], "times": 2},
        {"text": "one", "note": "two"},
        {"texts": ["a", "b"]},
    ]
    paths = [
        "/models/every/predict",
        "/models/every/predict/batch",
        "/models/text/predict",
        "/models/text/predict/batch",
    ]
    tokens = [
        b'"records":[',
        b'"texts":',
        b"{}",
        b"[",
        b"]",
        b"null",
        b"1e999",
        b'"\\ud800"',
        b"-1",
        b'"x":',
        b"[[",
        b"true",
    ]
    return body_harness("native", paths, bodies, tokens)


def table_harness() -> Harness:
    signature = msgspec.to_builtins(SIGNATURES["every"])
    pool = Pool(
        deployment="d", endpoint="e", model="m", version=1, digest="0" * 64,
        executor=ExecutorSpec(python="p", adapter="onnx", files="f", options={"a": [1, None]}), signature=SIGNATURES["text"],
    )  # fmt: skip
    route = {"endpoint": "e", "deployment": "d", "weight": 0.5, "signature": signature}
    remote = {
        "endpoint": "r",
        "remotes": [{"url": "http://h:1", "model": "m"}],
        "retry": {"attempts": 2, "hedge": 0.1},
    }
    bodies: list[object] = [
        {"generation": 2, "pools": [msgspec.to_builtins(pool)], "routes": [route, remote], "keys": ["a"]},
        {},
    ]
    headers = {b"authorization": b"Bearer " + KEY.encode()}
    return body_harness(
        "table",
        ["/node/routes"],
        bodies,
        [b"null", b"-1", b"1e400", b"[]", b"{}", b'"":'],
        method="PUT",
        headers=headers,
    )


def _values() -> dict[str, list[object]]:
    """Two JSON values of each datatype."""
    examples: dict[str, list[object]] = {
        "float": [1.5, -2],
        "int": [1, 100],
        "bool": [True, False],
        "bytes": ["é", ""],
    }
    return {name: examples[kind.family] for name, kind in DATATYPES.items()}
