"""Files of models: whatever the bytes, an analysis or RejectedContent."""

import io
import json
import pickle
import struct
import zlib
from collections.abc import Sequence

import numpy
from onnx import TensorProto, helper, numpy_helper

from fuzz.engine import Harness
from modelyard.analyze import analyze
from modelyard.core.errors import NotFound, RejectedContent
from modelyard_executor.adapters import onnx_skeleton
from support.gguf import gguf


class Files:
    """A model's files in memory."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self._contents = contents

    @property
    def paths(self) -> Sequence[str]:
        return sorted(self._contents)

    def size(self, path: str) -> int:
        return len(self._get(path))

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        content = self._get(path)
        return content[offset:] if length is None else content[offset : offset + length]

    def _get(self, path: str) -> bytes:
        if path not in self._contents:
            raise NotFound(f"There is no file {path!r}.")
        return self._contents[path]


def file_harness(
    name: str,
    path: str,
    seeds: Sequence[bytes],
    tokens: Sequence[bytes] = (),
    beside: dict[str, bytes] | None = None,
) -> Harness:
    """The bytes of one file of a model; ``beside`` are the others."""

    def fuzz_one(data: bytes) -> None:
        try:
            analyze(Files({**(beside or {}), path: data}))
        except RejectedContent as error:
            assert error.message.endswith((".", ").")), error.message

    analyze(Files({**(beside or {}), path: seeds[0]}))  # the first is a good one
    return Harness(name, fuzz_one, seeds, tokens)


def onnx_harness() -> Harness:
    weight = numpy_helper.from_array(numpy.ones((4, 3), "float32"), "w")
    outside = helper.make_tensor("o", TensorProto.FLOAT, [2], [1.0, 2.0])
    outside.data_location = TensorProto.EXTERNAL
    outside.ClearField("float_data")
    for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", "8")):
        entry = outside.external_data.add()
        entry.key, entry.value = key, value
    seeds: list[bytes] = []
    for initializers in ([weight], [weight, outside]):
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])], initializers,
        )  # fmt: skip
        seeds.append(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
        )
    tokens = [
        b"\x08",
        b"\x3a",
        b"\xff\xff\xff\xff\x0f",
        b"weights.bin",
        b"../",
        b"com.microsoft",
        b"\x80" * 10,
        b"offset",
    ]
    return file_harness("onnx", "m.onnx", seeds, tokens, {"weights.bin": bytes(8)})


def onnx_skeleton_harness() -> Harness:
    """What the executor reads of a graph before ONNX Runtime does."""
    weight = numpy_helper.from_array(numpy.ones((32, 16), "float32"), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 16])], [weight],
    )  # fmt: skip
    good = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()

    def fuzz_one(data: bytes) -> None:
        try:
            found = onnx_skeleton.read(data, b"model.onnx")
        except ValueError:
            return
        if found is not None:
            graph, left = found
            assert left > 0
            assert len(graph) <= len(data) + 16, (len(graph), len(data))

    found = onnx_skeleton.read(good, b"model.onnx")
    assert found is not None
    assert found[1] == 32 * 16 * 4
    tokens = [
        b"\x3a",
        b"\x2a",
        b"\x4a",
        b"\x6a",
        b"\x70\x01",
        b"\xff\xff\xff\xff\x0f",
        b"\x80" * 10,
        b"length",
        b"\x00",
    ]
    return Harness("onnx_skeleton", fuzz_one, [good], tokens)


def safetensors_harness() -> Harness:
    header = json.dumps({
        "__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
    }).encode()  # fmt: skip
    good = struct.pack("<Q", len(header)) + header + bytes(32)
    return file_harness(
        "safetensors",
        "model.safetensors",
        [good],
        [b'"dtype":', b"[-1]", b"18446744073709551615", b"F64", b"{", b"}", b"[[[["],
        _embedder(),
    )


def gguf_harness() -> Harness:
    good = gguf(
        {
            "general.architecture": "llama", "general.file_type": 3, "llama.context_length": 64, "llama.block_count": 1,
            "tokenizer.ggml.tokens": ["a", "b"], "tokenizer.chat_template": "{{ messages }}",
        },
        {"token_embd.weight": (8, 4)},
    )  # fmt: skip
    return file_harness(
        "gguf", "model.gguf", [good], [b"GGUF", struct.pack("<Q", 2**63), struct.pack("<I", 9), b"llama."]
    )


def xgboost_harness() -> Harness:
    from sklearn.datasets import load_iris
    from xgboost import XGBClassifier

    features, target = load_iris(return_X_y=True)
    model = XGBClassifier(n_estimators=1, max_depth=2, n_jobs=1).fit(features, target)
    seeds = [bytes(model.get_booster().save_raw(form)) for form in ("ubj", "json")]
    tokens = [
        b"[$d#L",
        b"[#L",
        b"[#U",
        b"{L",
        b"S",
        b"L" + b"\xff" * 8,
        b"L" + bytes(8),
        b"Z",
        b"]",
        b"}",
        b'"num_class":',
    ]
    return file_harness("xgboost", "model.ubj", seeds, tokens)


def lightgbm_harness() -> Harness:
    good = (
        b"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=1\nobjective=binary sigmoid:1\n"
        b"feature_names=age city\nfeature_infos=[0:1] 0:1:2\ntree_sizes=10\n\nTree=0\nnum_leaves=1\n\nend of trees\n\n"
        b'pandas_categorical:[["Bonn", "Ulm"]]\n'
    )
    tokens = [
        b"feature_names=",
        b"=-1",
        b"\n\n",
        b"none",
        b"multiclass",
        b"null",
        b"[[",
        b"\npandas_categorical:",
    ]
    return file_harness("lightgbm", "model.txt", [good], tokens)


def config_harness() -> Harness:
    beside = _embedder()
    seeds = [beside.pop("config.json"), b'{"architectures": ["BertModel"], "model_type": "bert"}']
    header = json.dumps({"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    beside["model.safetensors"] = struct.pack("<Q", len(header)) + header + bytes(24)
    return file_harness(
        "config_json",
        "config.json",
        seeds,
        [b"null", b"-1", b"1e999", b"[", b"{", b'"hidden_size":', b"true", b'"auto_map":{}'],
        beside,
    )


def pickle_harness() -> Harness:
    from sklearn.linear_model import LogisticRegression

    features = numpy.arange(24.0).reshape(12, 2)
    model = LogisticRegression().fit(features, numpy.array(["ham", "spam"] * 6))
    seeds = [pickle.dumps(model, protocol) for protocol in (4, 2, 5, 0)]
    seeds.append(zlib.compress(seeds[0]))
    tokens = [
        b"cos\nsystem\n",
        b"R",
        b"\x8c\x02os",
        b"\x93",
        b"(",
        b".",
        b"\x80\x04",
        b"\x8d" + b"\xff" * 8,
        b"b",
        b"\x94",
        b"h\x00",
        b"P1\n",
    ]
    return file_harness("pickle", "m.pkl", seeds, tokens)


def skops_harness() -> Harness:
    import skops.io
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(numpy.arange(24.0).reshape(12, 2), numpy.array(["ham", "spam"] * 6))
    stored = io.BytesIO()
    # Uncompressed, so that changing a byte changes what is in it.
    import zipfile

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(model))) as whole, zipfile.ZipFile(stored, "w") as plain:
        for member in whole.namelist():
            plain.writestr(member, whole.read(member))
    return file_harness(
        "skops",
        "m.skops",
        [skops.io.dumps(model), stored.getvalue()],
        [b"PK\x01\x02", b"PK\x05\x06", b"__module__", b"null", b'"__loader__": ', b"../"],
    )


def yaml_harness() -> Harness:
    seeds = [
        b"adapter: python-function\n",
        b"requirements: [numpy]\nsignature:\n  inputs:\n    - {name: x, datatype: INT64, shape: []}\n  batched: false\n",
        b"example: {x: 3}\nadapter: python-function\n",
    ]
    model = b"def predict(x: int): return x\n"
    good = []
    for seed in seeds:
        try:
            analyze(Files({"model.py": model, "model.yaml": seed}))
        except RejectedContent:
            continue
        good.append(seed)
    tokens = [
        b"&a ",
        b"*a",
        b"!!python/object:os.system",
        b"- ",
        b": ",
        b"{",
        b"[",
        b"\t",
        b"'",
        b"0x1F",
        b"---\n",
        b"|\n",
        b"<<: *a",
    ]
    return file_harness("model_yaml", "model.yaml", [*good, *seeds, b"{}"], tokens, {"model.py": model})


def function_harness() -> Harness:
    seeds = [
        b"def predict(text: str, times: int = 1):\n    return text * times\n",
        b"import numpy\nclass Model:\n    def load(self, files): pass\n    def predict(self, x: list[float], *, k: float = 0.5) -> dict: return x\n",
    ]
    tokens = [
        b"def ",
        b"class Model:",
        b": ",
        b"    ",
        b"->",
        b"list[",
        b"Annotated[",
        b"(",
        b")",
        b"=",
        b"*",
        b"'" * 3,
        b"\\",
        b"\0",
        b"async ",
    ]
    return file_harness("function", "model.py", seeds, tokens)


def requirements_harness() -> Harness:
    seeds = [b"numpy>=1.26\nonnx==1.17 ; python_version >= '3.9'\n# a word\n", b"a[b,c]~=1.0 # d\n", b""]
    tokens = [b"-r x\n", b"--index-url ", b"@ http://x", b";", b"==", b"\\\n", b"[", b"file:///", b"git+"]
    return file_harness(
        "requirements", "requirements.txt", seeds, tokens, {"model.py": b"def predict(x: int): return x\n"}
    )


def _embedder() -> dict[str, bytes]:
    """A sentence-transformers folder, but for its weights."""
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": 8,
        "max_position_embeddings": 512,
    }
    return {
        "config.json": json.dumps(config).encode(), "modules.json": json.dumps(modules).encode(),
        "1_Pooling/config.json": b'{"word_embedding_dimension": 8, "pooling_mode_mean_tokens": true}',
        "sentence_bert_config.json": b'{"max_seq_length": 256}', "tokenizer.json": b'{"version": "1.0"}',
    }  # fmt: skip
