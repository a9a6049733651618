"""Files in memory, and small real models to analyze."""

import io
import json
import struct
from collections.abc import Callable, Sequence

import numpy
import onnx
import pytest
from onnx import TensorProto, helper

from modelyard.core.errors import NotFound


class MemoryFiles:
    """Files from a dictionary; counts the bytes that were read."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self._contents = contents
        self.bytes_read = 0

    @property
    def paths(self) -> Sequence[str]:
        return sorted(self._contents)

    def size(self, path: str) -> int:
        return len(self._get(path))

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        content = self._get(path)
        data = content[offset:] if length is None else content[offset : offset + length]
        self.bytes_read += len(data)
        return data

    def _get(self, path: str) -> bytes:
        if path not in self._contents:
            raise NotFound(f"There is no file {path!r}.")
        return self._contents[path]


@pytest.fixture
def files_of() -> Callable[[dict[str, bytes]], MemoryFiles]:
    return MemoryFiles


def make_onnx(
    inputs: dict[str, list[object]] | None = None,
    outputs: dict[str, list[object]] | None = None,
    element: int = TensorProto.FLOAT,
    domain: str = "",
) -> onnx.ModelProto:
    """y = x @ w, with the given shapes written into the graph."""
    inputs = {"x": ["batch", 4]} if inputs is None else inputs
    outputs = {"y": ["batch", 3]} if outputs is None else outputs
    weight = onnx.numpy_helper.from_array(numpy.ones((4, 3), "float32"), "w")
    node = helper.make_node(
        "MatMul", [next(iter(inputs), "w"), "w"], [next(iter(outputs), "y")], domain=domain
    )
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(name, element, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="test")


@pytest.fixture(name="make_onnx")
def make_onnx_fixture() -> Callable[..., onnx.ModelProto]:
    return make_onnx


@pytest.fixture(scope="session")
def onnx_bytes() -> bytes:
    return make_onnx().SerializeToString()


def make_safetensors(tensors: dict[str, tuple[str, list[int], int]]) -> bytes:
    """A file of zeros: name -> (type, shape, bytes)."""
    header: dict[str, object] = {}
    position = 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position + size]}
        position += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(position)


@pytest.fixture(scope="session")
def safetensors_bytes() -> bytes:
    return make_safetensors({"a": ("F32", [2, 3], 24), "b": ("F16", [4], 8)})


@pytest.fixture
def embedder(safetensors_bytes: bytes) -> dict[str, bytes]:
    """A sentence-transformers folder (with two small tensors for weights)."""
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    config = {
        "architectures": ["BertModel"], "model_type": "bert", "hidden_size": 8, "max_position_embeddings": 512,
    }  # fmt: skip
    return {
        "config.json": json.dumps(config).encode(),
        "modules.json": json.dumps(modules).encode(),
        "1_Pooling/config.json": b'{"word_embedding_dimension": 8, "pooling_mode_mean_tokens": true}',
        "sentence_bert_config.json": b'{"max_seq_length": 256}',
        "tokenizer.json": b'{"version": "1.0"}',
        "model.safetensors": safetensors_bytes,
        "README.md": b"---\nlicense: apache-2.0\n---\n# Model\n",
    }


@pytest.fixture(scope="session")
def classifier() -> object:
    from sklearn.linear_model import LogisticRegression

    features = numpy.arange(24.0).reshape(12, 2)
    return LogisticRegression().fit(features, numpy.array(["ham", "spam"] * 6))


@pytest.fixture(scope="session")
def skops_bytes(classifier: object) -> bytes:
    import skops.io

    return skops.io.dumps(classifier)


@pytest.fixture(scope="session")
def joblib_bytes(classifier: object) -> bytes:
    import joblib

    file = io.BytesIO()
    joblib.dump(classifier, file)
    return file.getvalue()
