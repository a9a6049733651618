"""What every format tells beside its signature: precision, runtime, operations, imports, GPU."""

import json
from collections.abc import Callable
from typing import Any

import numpy
import onnx
import pytest
from onnx import TensorProto, helper

from modelyard.analyze import analyze
from support.gguf import gguf

from .conftest import make_safetensors


def test_onnx_tells_precision_opset_and_the_cost_of_a_row(
    files_of, make_onnx: Callable[..., onnx.ModelProto]
) -> None:
    found = analyze(files_of({"m.onnx": make_onnx().SerializeToString()}))
    assert (found.precision, found.precisions) == ("float32", {"float32": 12})
    assert found.runtime == {"opset ai.onnx": "17", "ONNX Runtime": ">=1.12"}
    assert found.flops is not None
    assert (found.flops.value, found.flops.unit) == (2 * 4 * 3, "row")
    assert found.gpu == "no"


@pytest.mark.parametrize(
    ("nodes", "counted"),
    [
        ([helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Gemm", ["h", "v"], ["y"])], 2 * (4 * 3 + 3 * 5)),
        ([helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("LSTM", ["h", "v", "v"], ["y"])], None),
        ([helper.make_node("MatMul", ["x", "x"], ["y"])], None),
        ([helper.make_node("Relu", ["x"], ["y"])], None),
    ],
)  # fmt: skip
def test_operations_are_counted_where_shapes_tell_them(
    files_of, nodes: list[Any], counted: int | None
) -> None:
    weights = [onnx.numpy_helper.from_array(numpy.ones(shape, "float32"), name) for name, shape in (("w", (4, 3)), ("v", (3, 5)))]  # fmt: skip
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy")
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y], weights))
    flops = analyze(files_of({"m.onnx": model.SerializeToString()})).flops
    assert (flops.value if flops else None) == counted


def test_a_graph_of_tokens_is_counted_by_token(files_of) -> None:
    table, weight = (onnx.numpy_helper.from_array(numpy.ones(shape, "float32"), name) for name, shape in (("t", (100, 8)), ("w", (8, 8))))  # fmt: skip
    nodes = [
        helper.make_node("Gather", ["t", "input_ids"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["q"]),
        helper.make_node("MatMul", ["q", "q"], ["y"]),  # attention: of its own results
    ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", "s"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "s", 8])
    model = helper.make_model(helper.make_graph(nodes, "g", [ids], [y], [table, weight]))
    flops = analyze(files_of({"m.onnx": model.SerializeToString()})).flops
    assert flops is not None
    assert (flops.value, flops.unit) == (2 * 8 * 8, "token")


def test_an_embedder_tells_its_context_and_the_cost_of_a_token(
    files_of, embedder: dict[str, bytes]
) -> None:
    weights = {
        "embeddings.word_embeddings.weight": ("F32", [100, 8], 3200),
        "embeddings.position_embeddings.weight": ("F32", [512, 8], 16384),
        "encoder.layer.0.dense.weight": ("F16", [8, 8], 128),
        "encoder.layer.0.dense.bias": ("F16", [8], 16),
    }
    found = analyze(files_of({**embedder, "model.safetensors": make_safetensors(weights)}))
    assert found.context_length == 256
    assert found.precision == "float32"
    assert found.precisions == {"float32": 100 * 8 + 512 * 8, "float16": 72}
    assert found.flops is not None
    assert (found.flops.value, found.flops.unit) == (2 * 72, "token")
    assert (found.gpu, found.gpu_because) == ("can", "torch computes on either")


def test_experts_that_are_not_asked_cost_nothing(files_of) -> None:
    values = {
        "general.architecture": "llama", "llama.context_length": 2048, "llama.block_count": 1, "llama.embedding_length": 8,
        "llama.attention.head_count": 2, "llama.expert_count": 8, "llama.expert_used_count": 2,
    }  # fmt: skip
    tensors = {
        "token_embd.weight": (8, 100),
        "blk.0.ffn_up_exps.weight": (8, 16, 8),
        "blk.0.attn_q.weight": (8, 8),
    }
    found = analyze(files_of({"m.gguf": gguf(values, tensors)}))
    assert found.flops is not None
    # The table of words writes them, too: there is no output.weight.
    assert found.flops.value == 2 * (800 + 8 * 16 * 8 * 2 // 8 + 64)
    assert found.runtime == {"GGUF": "3", "llama.cpp with": "llama"}
    assert (found.context_length, found.precisions) == (2048, {"F32": 800 + 1024 + 64})


def test_a_function_tells_its_imports_and_what_is_not_listed(files_of) -> None:
    code = b"import os\nimport numpy as np\nimport helper\nfrom PIL import Image\n\ndef predict(x: int):\n    import sklearn.svm\n"
    files = {"model.py": code, "helper.py": b"", "requirements.txt": b"numpy>=1.26\npillow\n"}
    found = analyze(files_of(files))
    assert found.imports == ("numpy", "pillow", "scikit-learn")
    assert found.warnings == (
        "model.py imports scikit-learn, which requirements.txt does not list. Unless one of the listed packages brings "
        "it, loading will fail.",
    )
    listed = analyze(files_of({**files, "requirements.txt": b"numpy\nPillow\nscikit-learn\n"}))
    assert listed.warnings == ()


@pytest.mark.parametrize(
    ("body", "requirements", "need", "why"),
    [
        ("model.cuda()", "torch", "needs", "line 3"),
        ("device = 'cuda:0'", "torch", "needs", "line 3"),
        (
            "device = 'cuda' if torch.cuda.is_available() else 'cpu'",
            "torch",
            "can",
            "where it is available",
        ),
        ("pass", "torch", "can", "torch computes on either"),
        ("pass", "flash-attn>=2\ntorch", "needs", "flash-attn>=2 runs on CUDA alone"),
        ("pass", "cupy-cuda12x", "needs", "runs on CUDA alone"),
        ("pass", "numpy", "no", ""),
    ],
)
def test_whether_it_needs_a_gpu_is_read(
    files_of, body: str, requirements: str, need: str, why: str
) -> None:
    code = f"import torch\ndef predict(x: int):\n    {body}\n"
    found = analyze(files_of({"model.py": code.encode(), "requirements.txt": requirements.encode()}))
    assert found.gpu == need
    assert why in found.gpu_because


def test_a_sklearn_model_tells_the_release_it_needs(files_of, skops_bytes: bytes) -> None:
    import sklearn

    assert analyze(files_of({"m.skops": skops_bytes})).runtime == {
        "scikit-learn": f"=={sklearn.__version__}"
    }


def test_a_large_model_should_have_one(files_of) -> None:
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 64, "transformers_version": "4.50.0",
    }  # fmt: skip
    weights = {"model.embed_tokens.weight": ("F4", [40_000, 50_000], 1_000_000_000)}
    text = json.dumps({name: {"dtype": kind, "shape": shape, "data_offsets": [0, size]} for name, (kind, shape, size) in weights.items()}).encode()  # fmt: skip
    files = Holes(
        files_of({"config.json": json.dumps(config).encode(), "tokenizer.json": b"{}", "model.safetensors": len(text).to_bytes(8, "little") + text}),
        "model.safetensors", 8 + len(text) + 1_000_000_000,
    )  # fmt: skip
    found = analyze(files)
    assert (found.gpu, found.gpu_because) == ("should", "2B weights are slow on a processor")
    assert found.runtime == {"transformers (saved by)": "4.50.0"}


class Holes:
    """Files of which one is longer than what there is of it."""

    def __init__(self, files: Any, path: str, size: int) -> None:
        self._files, self._path, self._size = files, path, size
        self.paths = files.paths

    def size(self, path: str) -> int:
        return self._size if path == self._path else self._files.size(path)

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        data = self._files.read(path, offset, length)
        return data + bytes((length or 0) - len(data)) if path == self._path else data
