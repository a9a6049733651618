"""The models as every peer computes them: ONNX Runtime, one thread, the same files.

Runs in the peers' environments: it needs numpy and onnxruntime, and tokenizers for texts.
"""

from pathlib import Path

import numpy as np
import onnxruntime


def session(path: Path) -> onnxruntime.InferenceSession:
    """As Modelyard's own adapter sets it: one thread, no spinning."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.inter_op_num_threads = 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


class Perceptron:
    """x FP32 [n, 64] → y FP32 [n, 10]."""

    def __init__(self, path: Path) -> None:
        self._session = session(path)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self._session.run(["y"], {"x": x})[0]


class Embedder:
    """Texts → FP32 [n, 384], as sentence-transformers computes it: padded to the longest, the mean over
    the tokens, length 1. ``folder`` has model.onnx and tokenizer.json."""

    MOST = 256  # tokens

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self._session = session(folder / "model.onnx")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(self.MOST)
        self._tokenizer.enable_padding()

    def __call__(self, texts: list[str]) -> np.ndarray:
        encoded = self._tokenizer.encode_batch(texts)
        ids = np.array([each.ids for each in encoded], dtype=np.int64)
        mask = np.array([each.attention_mask for each in encoded], dtype=np.int64)
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = self._session.run(["last_hidden_state"], feeds)[0]
        weights = mask[:, :, None].astype(np.float32)
        pooled = (hidden * weights).sum(1) / weights.sum(1)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


def load(task: str, model: str | Path):
    """The model of ``task``; raises ValueError for one that is not known."""
    if task == "mlp":
        return Perceptron(Path(model))
    if task == "texts":
        return Embedder(Path(model))
    raise ValueError(f"no such task: {task}")


def together(task: str, model, rows: list[list]) -> list[list]:
    """A batch of V2 JSON ``data`` lists, one row each, as lists of numbers."""
    if task == "mlp":
        return model(np.array(rows, dtype=np.float32)).tolist()
    return model([text for (text,) in rows]).tolist()


def v2_answer(task: str, data: list) -> dict:
    """The V2 JSON answer of one row."""
    output = {"name": "output", "datatype": "FP32", "shape": [1, len(data)], "data": data}
    return {"model_name": task, "outputs": [output]}
