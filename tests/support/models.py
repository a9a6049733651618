"""Small real models on disk, and the pools that serve them."""

import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from modelyard.core.deployment import Resources, ServingOptions
from modelyard.core.routes import ExecutorSpec, Pool
from modelyard.core.signature import ParameterSpec, Signature, TensorSpec


def save_mlp(path: Path, *, seed: int = 0, sizes: tuple[int, int, int] = (64, 128, 10)) -> Path:
    """A multilayer perceptron x[n, in] → y[n, out] as ONNX."""
    rng = np.random.default_rng(seed)
    first, hidden, last = sizes
    weights = {
        "w1": rng.standard_normal((first, hidden)).astype("f") / 8,
        "b1": rng.standard_normal(hidden).astype("f"),
        "w2": rng.standard_normal((hidden, last)).astype("f") / 11,
        "b2": np.zeros(last, "f"),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", first])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", last])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def mlp_signature(sizes: tuple[int, int, int] = (64, 128, 10)) -> Signature:
    """The signature of :func:`save_mlp`."""
    return Signature(
        inputs=(TensorSpec(name="x", datatype="FP32", shape=(sizes[0],)),),
        outputs=(TensorSpec(name="y", datatype="FP32", shape=(sizes[2],)),),
    )


def mlp_pool(folder: Path, **changes: object) -> Pool:
    """A pool of the perceptron in ``folder``."""
    save_mlp(folder / "model.onnx")
    signature = mlp_signature()
    pool = Pool(
        deployment="mlp-1",
        endpoint="mlp",
        model="mlp",
        version=1,
        digest="0" * 64,
        executor=ExecutorSpec(
            python=sys.executable,
            adapter="onnx",
            files=str(folder),
            options={"file": "model.onnx", "signature": msgspec.to_builtins(signature)},
        ),
        signature=signature,
    )
    return msgspec.structs.replace(pool, **changes)


def function_pool(
    folder: Path,
    code: str,
    *,
    name: str = "function",
    inputs: tuple[TensorSpec, ...] = (TensorSpec(name="x", datatype="FP64"),),
    outputs: tuple[TensorSpec, ...] = (TensorSpec(name="output", datatype="BYTES", kind="json"),),
    parameters: tuple[ParameterSpec, ...] = (),
    timeout: float = 20.0,
    memory: int | None = None,
    replicas: int = 1,
    max_batch: int = 32,
    max_queue: int = 1024,
    entry: str = "predict",
) -> Pool:
    """A pool of a ``model.py`` with ``code``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(code)
    signature = Signature(inputs=inputs, outputs=outputs, parameters=parameters, batched=False)
    return Pool(
        deployment=f"{name}-1",
        endpoint=name,
        model=name,
        version=1,
        digest="0" * 64,
        executor=ExecutorSpec(
            python=sys.executable,
            adapter="function",
            files=str(folder),
            options={"file": "model.py", "entry": entry, "signature": msgspec.to_builtins(signature)},
        ),
        replicas=replicas,
        resources=Resources(memory=memory),
        serving=ServingOptions(max_batch=max_batch, max_queue=max_queue, timeout=timeout),
        signature=signature,
    )


def simulated_pool(
    folder: Path,
    *,
    name: str = "simulated",
    law: dict[str, float] | None = None,
    replicas: int = 1,
    serving: ServingOptions | None = None,
    **options: object,
) -> Pool:
    """A pool of devices that compute nothing and take ``law``'s time (see the adapter ``simulated``).

    ``law`` is {"fixed_ms", "per_padded_us", "per_square_us"}; ``options`` are the adapter's others, such
    as ``speeds=[1, 1, 3]``, ``memory=4096``, ``busy=True``, ``faults={"kill": "poison"}``. By default it
    takes ``text``, costs its length in bytes, padded, and answers ``length`` (INT64, one per row).
    """
    folder.mkdir(parents=True, exist_ok=True)
    signature = options.get("signature")
    if signature is None:
        text = TensorSpec(name="text", datatype="BYTES", kind="text")
        length = TensorSpec(name="length", datatype="INT64")
        signature = Signature(
            inputs=(text,), outputs=(text if options.get("output") == "echo" else length,)
        )
    assert isinstance(signature, Signature)
    told = {**options, "law": law or {}, "signature": msgspec.to_builtins(signature)}
    return Pool(
        deployment=f"{name}-1",
        endpoint=name,
        model=name,
        version=1,
        digest="0" * 64,
        executor=ExecutorSpec(python=sys.executable, adapter="simulated", files=str(folder), options=told),
        replicas=replicas,
        serving=serving or ServingOptions(),
        signature=signature,
    )
