"""A large ONNX model answers before its weights are packed, and the same after."""

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from executor.process import ExecutorProcess, signature, spec
from modelyard_executor.adapter import LoadError
from modelyard_executor.adapters import onnx_session
from modelyard_executor.adapters.onnx_session import Session
from modelyard_executor.adapters.onnx_skeleton import skeleton


def save(path: Path, *, hidden: int = 20_000, raw: bool = True, outside: bool = False) -> Path:
    """y = relu(x @ a) @ b, of 64 · hidden · 2 numbers."""
    chance = np.random.default_rng(0)
    tensors = []
    for name, shape in (("a", (64, hidden)), ("b", (hidden, 64)), ("c", (64,))):
        values = (chance.standard_normal(shape) / shape[0] ** 0.5).astype("f")
        if raw:
            tensors.append(numpy_helper.from_array(values, name))
        else:
            tensors.append(helper.make_tensor(name, TensorProto.FLOAT, shape, values.ravel()))
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "a"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("MatMul", ["r", "b"], ["m"]),
            helper.make_node("Add", ["m", "c"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 64])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    path.parent.mkdir(exist_ok=True)
    onnx.save_model(model, path, save_as_external_data=outside, location="weights.bin", size_threshold=1024)
    return path


def plainly(path: Path, x: np.ndarray) -> np.ndarray:
    import onnxruntime

    answer = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": x})
    return np.asarray(answer[0])


X = np.random.default_rng(1).standard_normal((3, 64)).astype("f")


def test_the_graph_without_its_weights_is_small_and_right(tmp_path: Path) -> None:
    path = save(tmp_path / "m" / "model.onnx")
    found = skeleton(path)
    assert found is not None
    graph, left = found
    assert left == 2 * 64 * 20_000 * 4
    assert len(graph) < 2000
    loaded = onnx.load_model_from_string(graph)
    assert [tensor.data_location for tensor in loaded.graph.initializer] == [1, 1, 0]  # the bias stays


@pytest.mark.parametrize("outside", [False, True])
def test_it_answers_first_and_is_packed_then(tmp_path: Path, outside: bool) -> None:
    path = save(tmp_path / "m" / "model.onnx", outside=outside)
    session = Session(path, 1)
    first = session.run(None, {"x": X})[0]
    mapped = session._session
    session.pack()
    session.pack()  # once
    session.packed()
    assert session._session is not mapped
    then = session.run(None, {"x": X})[0]
    wanted = plainly(path, X)
    assert np.abs(first - wanted).max() <= 1e-4
    assert np.abs(then - wanted).max() <= 1e-6


def test_it_is_packed_when_it_has_computed_for_as_long_as_that_takes(tmp_path: Path) -> None:
    session = Session(save(tmp_path / "m" / "model.onnx"), 1)
    later = session.later
    assert later["later_bytes"] == 2 * 64 * 20_000 * 4
    assert later["later_after"] == later["later_bytes"] * onnx_session.PACKING
    assert not session.worth_packing
    session._computed = later["later_after"]
    assert session.worth_packing
    session.pack()
    session.packed()
    assert not session.worth_packing


def test_what_the_runtime_does_once_can_be_done_before_any_model(tmp_path: Path) -> None:
    onnx_session.warm()
    onnx_session.warm()
    path = save(tmp_path / "m" / "model.onnx")
    assert np.abs(Session(path, 1).run(None, {"x": X})[0] - plainly(path, X)).max() <= 1e-4


@pytest.mark.parametrize("how", ["small", "not raw"])
def test_any_other_is_loaded_whole(tmp_path: Path, how: str) -> None:
    small = how == "small"
    path = save(tmp_path / "m" / "model.onnx", hidden=50 if small else 20_000, raw=small)
    session = Session(path, 1)
    loaded = session._session
    session.pack()
    session.packed()
    assert session._session is loaded
    assert not session.worth_packing
    assert session.later == {}
    assert np.abs(session.run(None, {"x": X})[0] - plainly(path, X)).max() <= 1e-6


@pytest.mark.parametrize("data", [b"", b"\x08", b"\x3a\xff\xff\xff\xff\x0f", b"\x80" * 40, b"\x0b"])
def test_rubbish_has_no_graph_and_is_told_by_the_runtime(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    assert skeleton(path) is None
    with pytest.raises(LoadError, match=r"cannot load model\.onnx"):
        Session(path, 1)


def test_a_graph_that_cannot_be_mapped_is_loaded_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "m" / "model.onnx")
    monkeypatch.setattr(onnx_session, "skeleton", lambda path: (b"no graph", 10**9))
    assert np.abs(Session(path, 1).run(None, {"x": X})[0] - plainly(path, X)).max() <= 1e-6


def test_a_kernel_that_wants_its_weights_packed_gets_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refuses:
        def run(self, names: object, feeds: object) -> None:
            raise RuntimeError("pack it, please")

    session = Session(save(tmp_path / "m" / "model.onnx"), 1)
    monkeypatch.setattr(session, "_session", Refuses())
    assert session.run(None, {"x": X})[0].shape == (3, 64)
    with pytest.raises(Exception, match="x"):  # the caller's own fault is told once
        session.run(None, {"x": X[:, :5]})


def test_in_an_executor_every_answer_is_right_while_it_packs(tmp_path: Path) -> None:
    path = save(tmp_path / "m" / "model.onnx")
    wanted = plainly(path, X)
    described = signature([spec("x", "FP32", (64,))], [spec("y", "FP32", (64,))], batched=True)
    with ExecutorProcess(tmp_path) as executor:
        hello = executor.start("onnx", path.parent, {"file": "model.onnx", "signature": described})
        assert hello["type"] == "HELLO", hello
        end = time.monotonic() + 1
        while time.monotonic() < end:
            assert np.abs(executor.batch({"x": X})[0]["y"] - wanted).max() <= 1e-4
        executor.channel.send({"type": "DRAIN"})
        assert executor.wait() == 0
