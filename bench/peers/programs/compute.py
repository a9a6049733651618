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


def load(task: str, model: str | Path):
    """The model of ``task``; raises ValueError for one that is not known."""
    if task == "mlp":
        return Perceptron(Path(model))
    raise ValueError(f"no such task: {task}")
