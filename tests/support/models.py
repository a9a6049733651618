"""Small real models on disk, and the pools that serve them."""

import json
import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from modelyard.core.deployment import Leave, Resources, ServingOptions
from modelyard.core.routes import ExecutorSpec, Pool
from modelyard.core.signature import ParameterSpec, Signature, TensorSpec
from modelyard_executor.adapters.esm2_alphabet import VOCABULARY


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
    timeout: float = 60.0,  # more than any model here needs, on a busy machine too
    memory: int | None = None,
    replicas: int = 1,
    max_batch: int = 32,
    max_queue: int = 1024,
    entry: str = "predict",
    leave: Leave | None = None,
) -> Pool:
    """A pool of a ``model.py`` with ``code``. By default it may write beside ``folder``, where tests look for what
    it did."""
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
        leave=Leave(folders=(f"{folder.parent}:rw",)) if leave is None else leave,
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
        leave=Leave(folders=(f"{folder}:rw",)),  # where replicas agree on who has which of the speeds
        signature=signature,
    )


# layers, width, heads of published ESM-2s
ESM2_SIZES = {"8M": (6, 320, 20), "35M": (12, 480, 20), "150M": (30, 640, 20), "650M": (33, 1280, 20)}


def esm2_folder(path: Path, layers: int = 2, dims: int = 64, heads: int = 4, *, seed: int = 0) -> Path:
    """A folder as transformers saves an ESM-2 (EsmForMaskedLM), its weights drawn at random.

    The published sizes are in :data:`ESM2_SIZES`. Needs neither PyTorch nor transformers.
    """
    path.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    size = len(VOCABULARY)

    def linear(name: str, outputs: int, inputs: int) -> dict[str, np.ndarray]:
        return {
            f"{name}.weight": rng.standard_normal((outputs, inputs), dtype="f")
            / np.sqrt(inputs, dtype="f"),
            f"{name}.bias": rng.standard_normal(outputs, dtype="f") / 50,
        }

    def norm(name: str) -> dict[str, np.ndarray]:
        return {
            f"{name}.weight": 1 + rng.standard_normal(dims, dtype="f") / 10,
            f"{name}.bias": rng.standard_normal(dims, dtype="f") / 10,
        }

    weights = {"esm.embeddings.word_embeddings.weight": rng.standard_normal((size, dims), dtype="f")}
    for layer in range(layers):
        name = f"esm.encoder.layer.{layer}."
        for part in ("query", "key", "value"):
            weights |= linear(f"{name}attention.self.{part}", dims, dims)
        weights |= linear(f"{name}attention.output.dense", dims, dims)
        weights |= norm(f"{name}attention.LayerNorm") | norm(f"{name}LayerNorm")
        weights |= linear(f"{name}intermediate.dense", 4 * dims, dims)
        weights |= linear(f"{name}output.dense", dims, 4 * dims)
    weights |= norm("esm.encoder.emb_layer_norm_after")
    weights |= linear("esm.contact_head.regression", 1, layers * heads)
    weights |= linear("lm_head.dense", dims, dims) | norm("lm_head.layer_norm")
    weights["lm_head.bias"] = rng.standard_normal(size, dtype="f") / 50
    _save_safetensors(path / "model.safetensors", weights)
    config = {
        "architectures": ["EsmForMaskedLM"],
        "attention_probs_dropout_prob": 0.0,
        "emb_layer_norm_before": False,
        "hidden_dropout_prob": 0.0,
        "hidden_size": dims,
        "intermediate_size": 4 * dims,
        "layer_norm_eps": 1e-5,
        "mask_token_id": VOCABULARY.index("<mask>"),
        "max_position_embeddings": 1026,
        "model_type": "esm",
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "pad_token_id": VOCABULARY.index("<pad>"),
        "position_embedding_type": "rotary",
        "tie_word_embeddings": True,
        "token_dropout": True,
        "torch_dtype": "float32",
        "vocab_size": size,
    }
    (path / "config.json").write_text(json.dumps(config, indent=1))
    (path / "vocab.txt").write_text("\n".join(VOCABULARY))
    tokenizer = {
        "tokenizer_class": "EsmTokenizer",
        "cls_token": "<cls>",
        "eos_token": "<eos>",
        "mask_token": "<mask>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
    }
    (path / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    return path


def _save_safetensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    header, position = {}, 0
    for name, array in tensors.items():
        header[name] = {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": [position, position + array.nbytes],
        }
        position += array.nbytes
    told = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    with path.open("wb") as file:
        file.write(len(told).to_bytes(8, "little") + told)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array, dtype="<f4").tobytes())
