"""A hundred small models of three frameworks, generated: ONNX, scikit-learn, PyTorch; and their right answers."""

import sys
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from bench.models import exporter
from modelyard.core.routes import ExecutorSpec, Pool
from modelyard.core.signature import Signature, TensorSpec

WIDTH = 8
X = np.round(np.linspace(-1, 1, WIDTH), 3).astype("f4")
LARGE = 90  # MB: the ONNX models whose waking is timed
_TORCH = """
import numpy, torch
from pathlib import Path
torch.set_num_threads(1)
HERE = Path(__file__).parent
A = torch.from_numpy(numpy.load(HERE / "a.npy", mmap_mode="c"))
B = torch.from_numpy(numpy.load(HERE / "b.npy", mmap_mode="c"))

def predict(x):
    return {"y": float((torch.relu(torch.tensor(x) @ A) @ B)[0])}
"""


class Member(NamedTuple):
    """One model: its pool, and the answer to X."""

    pool: Pool
    kind: str
    answer: float


def zoo(folder: Path, count: int) -> list[Member]:
    """``count`` models, most of them ONNX; the same ones each time."""
    rng = np.random.default_rng(11)
    members: list[Member] = []
    for number in range(count):
        place = folder / f"m{number}"
        place.mkdir(parents=True)
        if number % 20 == 0:
            members.append(_onnx(place, rng, LARGE, "ONNX, 90 MB"))
        elif number % 10 == 5:
            members.append(_torch(place, rng))
        elif number % 6 == 4:
            members.append(_sklearn(place, rng))
        else:
            members.append(_onnx(place, rng, float(rng.lognormal(1.5, 0.9)), "ONNX"))
    return members


def _weights(rng: np.random.Generator, megabytes: float) -> tuple[np.ndarray, np.ndarray, float]:
    hidden = max(16, int(megabytes * 1e6 / 4 / (WIDTH + 1)))
    first = rng.standard_normal((WIDTH, hidden), dtype="f4")
    last = rng.standard_normal((hidden, 1), dtype="f4") / np.float32(np.sqrt(hidden))
    return first, last, float((np.maximum(X.astype("f8") @ first, 0) @ last)[0])


def _pool(
    folder: Path,
    python: str,
    adapter: str,
    options: dict[str, object],
    signature: Signature,
    *,
    trusted: bool = False,
) -> Pool:
    name = folder.name
    return Pool(
        deployment=f"{name}-1", endpoint=name, model=name, version=1, digest=f"{name:0>64}",
        executor=ExecutorSpec(
            python=python, adapter=adapter, files=str(folder), options=options, trusted=trusted),
        signature=signature,
    )  # fmt: skip


def _onnx(folder: Path, rng: np.random.Generator, megabytes: float, kind: str) -> Member:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    first, last, answer = _weights(rng, megabytes)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "a"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("MatMul", ["r", "b"], ["y"]),
        ],
        "zoo",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(first, "a"), numpy_helper.from_array(last, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, folder / "model.onnx")
    signature = Signature(
        inputs=(TensorSpec(name="x", datatype="FP32", shape=(WIDTH,)),),
        outputs=(TensorSpec(name="y", datatype="FP32", shape=(1,)),),
    )
    options = {"file": "model.onnx", "signature": msgspec.to_builtins(signature)}
    return Member(_pool(folder, sys.executable, "onnx", options, signature), kind, answer)


def _torch(folder: Path, rng: np.random.Generator) -> Member:
    first, last, answer = _weights(rng, 20)
    np.save(folder / "a.npy", first)
    np.save(folder / "b.npy", last)
    (folder / "model.py").write_text(_TORCH)
    signature = Signature(
        inputs=(TensorSpec(name="x", datatype="FP32", shape=(WIDTH,)),),
        outputs=(TensorSpec(name="y", datatype="FP64"),),
        batched=False,
    )
    options = {"file": "model.py", "entry": "predict", "signature": msgspec.to_builtins(signature)}
    return Member(_pool(folder, exporter.python(), "function", options, signature), "PyTorch", answer)


def _sklearn(folder: Path, rng: np.random.Generator) -> Member:
    import skops.io
    from sklearn.ensemble import RandomForestRegressor

    from modelyard.analyze import analyze
    from modelyard.store.files import FolderFiles

    rows = rng.standard_normal((400, WIDTH))
    forest = RandomForestRegressor(20, random_state=0).fit(rows, rows.sum(1))
    skops.io.dump(forest, folder / "model.skops")
    found = analyze(FolderFiles(folder))
    assert found.signature is not None
    pool = _pool(folder, sys.executable, found.adapter, found.options, found.signature, trusted=True)
    return Member(pool, "scikit-learn", float(forest.predict(X.reshape(1, -1).astype("f8"))[0]))
