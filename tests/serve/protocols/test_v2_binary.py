"""V2 with tensors as raw bytes: what goes in, what comes out, and what is refused."""

import json
import struct

import numpy as np
import pytest

from support.node import NodeProcess


def send(
    node: NodeProcess, path: str, head: dict | bytes, tail: bytes = b"", length: str | None = None
) -> tuple[int, dict, bytes]:
    """(status, JSON, bytes behind it)"""
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    headers = {
        "content-type": "application/octet-stream",
        "inference-header-content-length": str(len(text)) if length is None else length,
    }
    status, answered, body = node.call("POST", path, text + tail, headers)
    size = int(answered.get("inference-header-content-length", len(body)))
    return status, json.loads(body[:size]), body[size:]


def binary_input(name: str, datatype: str, shape: list[int], size: int) -> dict:
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}


X = np.random.default_rng(1).standard_normal((3, 64)).astype("<f4")
MLP = {"inputs": [binary_input("x", "FP32", [3, 64], X.nbytes)]}


def test_bytes_in_and_bytes_out_are_what_json_says(many: NodeProcess) -> None:
    plain = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [3, 64], "data": X.ravel().tolist()}]}
    wanted = many.post("/v2/models/mlp/infer", plain)[1]["outputs"][0]["data"]
    status, answer, tail = send(
        many, "/v2/models/mlp/infer", MLP | {"parameters": {"binary_data_output": True}}, X.tobytes()
    )
    assert status == 200
    assert answer["outputs"] == [
        {"name": "y", "shape": [3, 10], "datatype": "FP32", "parameters": {"binary_data_size": 120}}
    ]
    assert np.array_equal(np.frombuffer(tail, "<f4"), np.array(wanted, "<f4"))
    status, answer, tail = send(many, "/v2/models/mlp/infer", MLP, X.tobytes())
    assert (status, answer["outputs"][0]["data"], tail) == (200, wanted, b"")


def test_each_output_may_be_chosen_raw_or_as_json(many: NodeProcess) -> None:
    half = np.array([1.5, -2.0], "<f2")
    body = {
        "inputs": [
            binary_input("half", "FP16", [2], 4),
            {"name": "flag", "datatype": "BOOL", "shape": [], "data": [True]},
            binary_input("brain", "BF16", [2], 4),
            binary_input("blob", "BYTES", [], 7),
        ],
        "parameters": {"binary_data_output": True},
        "outputs": [
            {"name": "half", "parameters": {"binary_data": False}},
            {"name": "wide"},
            {"name": "blob"},
        ],
    }
    tail = half.tobytes() + struct.pack("<HH", 0x3F80, 0xC020) + struct.pack("<I3s", 3, b"abc")
    status, answer, data = send(many, "/v2/models/halves/infer", body, tail)
    assert status == 200, answer
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert outputs.keys() == {"half", "wide", "blob"}
    assert outputs["half"]["data"] == [3.0, -4.0]
    assert data == struct.pack("<ff", 1.0, -2.5) + struct.pack("<I3s", 3, b"cba")


def test_numbers_that_json_has_no_word_for_come_back_raw(many: NodeProcess) -> None:
    x = np.full((1, 64), np.nan, "<f4")
    body = {"inputs": [binary_input("x", "FP32", [1, 64], 256)], "parameters": {"binary_data_output": True}}
    status, _, tail = send(many, "/v2/models/mlp/infer", body, x.tobytes())
    assert status == 200 and np.isnan(np.frombuffer(tail, "<f4")).all()


def test_a_body_may_be_nothing_but_the_only_input(many: NodeProcess) -> None:
    status, answer, tail = send(many, "/v2/models/mlp/infer", b"", X.tobytes())
    assert (status, answer["outputs"][0]["shape"], len(tail)) == (200, [3, 10], 120)
    status, answer, tail = send(many, "/v2/models/embed/infer", b"", b"banana")
    assert (status, np.frombuffer(tail, "<f4").tolist()) == (200, [6.0, 3.0, 0.5, -1.0])
    assert send(many, "/v2/models/mlp/infer", b"", b"abc")[0] == 400
    assert send(many, "/v2/models/halves/infer", b"", b"abc")[0] == 400


@pytest.mark.parametrize(
    ("head", "tail", "length", "field"),
    [
        (MLP, X.tobytes()[:-1], None, "inputs[0].parameters.binary_data_size"),
        (MLP, X.tobytes() + b"1", None, "inputs"),
        (MLP, X.tobytes(), "99999999", "inference-header-content-length"),
        (MLP, X.tobytes(), "-1", "inference-header-content-length"),
        (MLP, X.tobytes(), "5", "body"),
        ({"inputs": [binary_input("x", "FP32", [2, 64], X.nbytes)]}, X.tobytes(), None, "inputs[0].shape"),
        ({"inputs": [binary_input("x", "FP32", [-3, -64], X.nbytes)]}, X.tobytes(), None, "inputs[0].shape"),
        ({"inputs": [binary_input("x", "FP32", [3, 64], -4)]}, X.tobytes(), None, "inputs[0].parameters.binary_data_size"),
        ({"inputs": [binary_input("x", "BOOL", [3], 3)]}, b"\x00\x01\x02", None, "inputs[0].shape"),
        ({"inputs": [binary_input("x", "BYTES", [1], 3)]}, b"\x00\x01\x02", None, "inputs[0].shape"),
        ({"inputs": [binary_input("x", "FP32", [1], 4) | {"data": [1.0]}]}, b"1234", None, "inputs[0].data"),
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1]}]}, b"", None, "inputs[0].data"),
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "parameters": {"shared_memory_region": "r"}}]}, b"", None, "inputs[0].parameters"),
        (MLP | {"parameters": {"binary_data_output": 1}}, X.tobytes(), None, "parameters.binary_data_output"),
        (MLP | {"outputs": [{"name": "y", "parameters": {"classification": 2}}]}, X.tobytes(), None, "outputs[0].parameters.classification"),
        (MLP | {"outputs": [{"name": "y", "parameters": {"colour": 2}}]}, X.tobytes(), None, "outputs[0].parameters.colour"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(
    many: NodeProcess, head: dict, tail: bytes, length: str | None, field: str
) -> None:
    status, answer, _ = send(many, "/v2/models/mlp/infer", head, tail, length)
    assert (status, answer["field"]) == (400, field), answer


def test_binary_inputs_without_the_header_are_told_so(many: NodeProcess) -> None:
    status, answer = many.post("/v2/models/mlp/infer", MLP)
    assert (status, answer["field"]) == (400, "inference-header-content-length")
