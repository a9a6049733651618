"""The small perceptron (64 → 128 → 10) as ONNX: what a call costs besides its computing."""

import http.client
import importlib.util
import json
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from bench.load import target as targets
from bench.load.target import Target
from bench.peers.peer import Running
from modelyard.core.routes import Pool

TASK = "mlp"
X = np.round(0.1 * np.arange(64, dtype="f4"), 3).reshape(1, 64)


def pool(folder: Path, **changes: object) -> Pool:
    """Its pool, with the files under ``folder``."""
    from support.models import mlp_pool

    return mlp_pool(folder / "mlp", **changes)


def path(folder: Path) -> Path:
    """The file that every server loads."""
    from support.models import save_mlp

    return save_mlp(folder / "mlp" / "model.onnx")


def expected(file: Path) -> np.ndarray:
    """The right answer to X, [10], computed here."""
    import onnxruntime

    return onnxruntime.InferenceSession(str(file)).run(None, {"x": X})[0].ravel()


def json_target(base: str, path: str = "/v2/models/{task}/infer", body: str = "v2") -> Target:
    """X as JSON, in V2's frame or in the plainest (see :class:`Peer`)."""
    url = base + path.format(task=TASK)
    if body == "v2":
        return targets.v2_json(url, "x", X)
    rows = [[round(float(value), 3) for value in row] for row in X]
    return Target(url, json.dumps({body: rows}).encode(), {"Content-Type": "application/json"})


def binary_target(base: str) -> Target:
    return targets.v2_binary(f"{base}/v2/models/{TASK}/infer", "x", X)


def grpc_target(authority: str) -> Target:
    return targets.v2_grpc(authority, TASK, "x", X)


def health_target(base: str) -> Target:
    return Target(f"{base}/health")


def ask(target: Target) -> np.ndarray:
    """Send ``target`` once over HTTP/1.1 and read the output; ValueError for anything but an answer."""
    parts = urlsplit(target.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request("POST", parts.path, target.body, target.headers)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise ValueError(f"HTTP {response.status}: {body[:300]!r}")
    head = response.headers.get("Inference-Header-Content-Length")
    if head is not None:
        return np.frombuffer(body[int(head) :], "<f4")
    return output_of(json.loads(body))


def output_of(answer: object) -> np.ndarray:
    """The numbers of the output in whatever frame a server's own JSON puts them."""
    while isinstance(answer, dict):
        frame = answer
        answer = next((frame[key] for key in ("outputs", "data", "y", "output") if key in frame), None)
        if answer is None:
            raise ValueError(f"no output in the answer: {str(frame)[:300]}")
    while isinstance(answer, list) and answer and isinstance(answer[0], dict):
        return output_of(answer[0])
    return np.array(answer, "f4").ravel()


def ask_grpc(target: Target) -> np.ndarray:
    """Send the very bytes of ``target`` as one gRPC call. Raises ValueError for a status that is not OK."""
    import grpc

    parts = urlsplit(target.url)
    with grpc.insecure_channel(parts.netloc) as channel:
        method = channel.unary_unary(
            parts.path, request_serializer=lambda body: body, response_deserializer=lambda body: body
        )
        try:
            return np.frombuffer(targets.grpc_output(method(target.body[5:], timeout=10)), "<f4")
        except grpc.RpcError as error:
            raise ValueError(f"gRPC: {error}") from error


def can_ask_grpc() -> bool:
    """Whether this Python has grpcio, without which no gRPC answer can be checked."""
    return importlib.util.find_spec("grpc") is not None


def right(answer: np.ndarray, wanted: np.ndarray) -> bool:
    return answer.shape == wanted.shape and bool(np.allclose(answer, wanted, atol=1e-4))


def answers(file: Path, path: str, body: str = "v2"):
    """A question for :meth:`Peer.running`: whether the server's answer to X is right."""
    wanted = expected(file)

    def one(running: Running) -> bool:
        return right(ask(json_target(running.http, path, body)), wanted)

    return one
