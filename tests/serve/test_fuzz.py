"""No JSON and no bytes make the node fail."""

import contextlib
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.models import mlp_pool
from support.node import NodeProcess


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("fuzz")
    with NodeProcess(root / "home").serve(mlp_pool(root / "mlp")) as node:
        yield node


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(
        st.sampled_from(["inputs", "name", "shape", "datatype", "data", "x", "records", "id", "outputs", "xs"]),
        children, max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


almost_right = st.one_of(
    st.fixed_dictionaries({"records": st.lists(json_values, min_size=1, max_size=2)}),
    st.fixed_dictionaries({"x": json_values | st.lists(json_values, min_size=64, max_size=64)}),
    st.fixed_dictionaries({"inputs": st.lists(st.fixed_dictionaries({
        "name": st.sampled_from(["x", "y", ""]),
        "shape": st.sampled_from([[1, 64], [-1, -64], [64]]) | st.lists(st.integers(), max_size=3),
        "datatype": st.sampled_from(["FP32", "FP16", "BYTES", "INT64", "F32", ""]),
        "data": st.sampled_from([[0] * 64, [[0] * 64], [[0]] * 64]) | st.lists(json_values, max_size=3),
    }), min_size=1, max_size=2)}),
)  # fmt: skip


paths = st.sampled_from(
    [
        "/v2/models/mlp/infer",
        "/models/mlp/predict",
        "/models/mlp/predict/batch",
        "/predict",
        "/v2/models/%00/infer",
    ]
)


@settings(max_examples=300)
@given(paths, json_values | almost_right)
def test_no_json_makes_the_node_fail(fuzzed: NodeProcess, path: str, value: object) -> None:
    status, answer = fuzzed.post(path, value)
    assert status in (200, 400, 404)
    assert status == 200 or answer["error"]


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_no_bytes_make_the_node_fail(fuzzed: NodeProcess, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", fuzzed.port), timeout=60) as client:
        client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while part := client.recv(65536):
                received += part
        assert received == b"" or received.startswith(b"HTTP/1.1 4")
    assert fuzzed.get("/health")[0] == 200
