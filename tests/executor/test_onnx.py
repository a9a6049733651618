"""The ONNX adapter declares what a call costs by the axes that its graph leaves free."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from executor.process import ExecutorProcess, signature, spec


def save(folder: Path, axes: list[Any]) -> None:
    """y = x + x over the given axes."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "twice",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, axes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, axes)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, folder / "model.onnx")


@pytest.mark.parametrize(
    ("shape", "batched", "cost"),
    [
        ((4,), True, {"cost": "rows", "shape": "rows"}),
        ((-1,), True, {"cost": "length", "of": "x", "shape": "padded"}),
        ((-1, 3, -1), True, {"cost": "elements", "of": "x", "shape": "padded"}),
        ((-1,), False, {"cost": "length", "of": "x", "shape": "ragged"}),
    ],
)
def test_a_free_axis_is_what_a_call_costs(
    tmp_path: Path, shape: tuple[int, ...], batched: bool, cost: dict[str, str]
) -> None:
    axes = [f"n{axis}" if length < 0 else length for axis, length in enumerate(shape)]
    save(tmp_path, ["batch", *axes] if batched else axes)
    told = signature([spec("x", "FP32", shape)], [spec("y", "FP32", shape)], batched=batched)
    with ExecutorProcess(tmp_path) as process:
        hello = process.start("onnx", tmp_path, {"file": "model.onnx", "signature": told})
        assert hello["cost"] == cost, hello


def test_calls_of_different_lengths_are_answered_in_one_batch(tmp_path: Path) -> None:
    save(tmp_path, ["batch", "n"])
    told = signature([spec("x", "FP32", (-1,))], [spec("y", "FP32", (-1,))], batched=True)
    with ExecutorProcess(tmp_path) as process:
        process.start("onnx", tmp_path, {"file": "model.onnx", "signature": told})
        calls = [np.full((rows, length), rows, "float32") for rows, length in ((1, 3), (2, 5), (3, 3))]
        answers = process.batch(*[{"x": call} for call in calls])
        for call, answer in zip(calls, answers, strict=True):
            assert (answer["y"] == 2 * call).all()


@pytest.mark.parametrize(
    ("copies", "batched", "most", "shape"), [(1, True, 1, [4]), (2, False, None, [-1, 4])]
)
def test_rows_that_do_not_stay_apart_are_computed_alone(
    tmp_path: Path, copies: int, batched: bool, most: int | None, shape: list[int]
) -> None:
    """The mean over all rows, once or twice: the graph's shapes promise more than it keeps."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Concat", ["m"] * copies, ["y"], axis=0),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in "xy"]
    graph = helper.make_graph(nodes, "mean", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 9
    onnx.save(model, tmp_path / "model.onnx")
    told = signature([spec("x", "FP32", (4,))], [spec("y", "FP32", (4,))], batched=True)
    with ExecutorProcess(tmp_path) as process:
        hello = process.start("onnx", tmp_path, {"file": "model.onnx", "signature": told})
        found = hello["signature"]
        assert (found["batched"], found["max_batch"], found["inputs"][0]["shape"]) == (batched, most, shape)
        one, two = (np.full((1, 4), value, "float32") for value in (1, 5))
        for answer, call in zip(process.batch({"x": one}, {"x": two}), (one, two), strict=True):
            assert (answer["y"] == np.repeat(call, copies, axis=0)).all()


def test_what_the_graph_cannot_take_is_the_callers_error_and_nobody_elses(tmp_path: Path) -> None:
    """Rows of a table by their numbers, and text that is passed on."""
    table = helper.make_tensor("table", TensorProto.FLOAT, [3, 2], range(6))
    ends = [
        helper.make_tensor_value_info("i", TensorProto.INT64, ["N", "L"]),
        helper.make_tensor_value_info("s", TensorProto.STRING, ["N"]),
        helper.make_tensor_value_info("e", TensorProto.FLOAT, ["N", "L", 2]),
        helper.make_tensor_value_info("t", TensorProto.STRING, ["N"]),
    ]
    nodes = [helper.make_node("Gather", ["table", "i"], ["e"]), helper.make_node("Identity", ["s"], ["t"])]
    graph = helper.make_graph(nodes, "gather", ends[:2], ends[2:], [table])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 9
    onnx.save(model, tmp_path / "model.onnx")
    told = signature(
        [spec("i", "INT64", (-1,)), spec("s", "BYTES", ())],
        [spec("e", "FP32", (-1, 2)), spec("t", "BYTES", ())],
        batched=True,
    )
    with ExecutorProcess(tmp_path) as process:
        process.start("onnx", tmp_path, {"file": "model.onnx", "signature": told})
        calls = [
            {"i": np.array([[index]]), "s": np.array([text], dtype=object)}
            for index, text in ((0, b"a"), (7, b"b"), (2, b"\xff"), (1, b"d"))
        ]
        good, wrong, no_text, last = process.batch(*calls)
    assert (good["e"].tolist(), last["t"].tolist()) == ([[[0.0, 1.0]]], [b"d"])
    assert (wrong["code"], wrong["field"]) == ("invalid_input", "inputs")
    assert "idx=7" in wrong["message"]
    assert (no_text["code"], no_text["field"]) == ("invalid_input", "inputs")
