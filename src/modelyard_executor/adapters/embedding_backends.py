"""What computes the hidden states of a sentence embedding model: PyTorch or ONNX Runtime.

A backend is called with ids, mask and token types, INT64 [texts, tokens], and gives FP32
[texts, tokens, dimension]; or [texts, dimension] when the graph pools by itself.
"""

from pathlib import Path
from typing import Any, Dict

from ..adapter import LoadError
from .onnx_session import Session
from .pretrained import load

_HIDDEN = ("last_hidden_state", "token_embeddings", "hidden_states")
_POOLED = ("sentence_embedding", "sentence_embeddings", "embedding", "embeddings")


class TorchBackend:
    """``AutoModel`` in evaluation mode, from safetensors only, without code of the model's own.

    ``precision`` is float32 or bfloat16.
    """

    def __init__(self, folder: Path, device: str, threads: int, precision: str) -> None:
        self._torch, self._model = load("AutoModel", folder, device, threads, precision)
        self._device = device
        config = self._model.config
        self._types = getattr(config, "type_vocab_size", 0) and config.model_type not in (
            "roberta",
            "xlm-roberta",
        )

    def __call__(self, ids: Any, mask: Any, types: Any) -> Any:
        torch = self._torch
        feeds = {"input_ids": ids}
        # Without padding, attention needs no mask, and faster kernels can be taken on a GPU.
        if not mask.all():
            feeds["attention_mask"] = mask
        if self._types:
            feeds["token_type_ids"] = types
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array).to(self._device) for name, array in feeds.items()}
            return self._model(**tensors)[0].float().cpu().numpy()


class OnnxBackend:
    """A graph as exported from transformers or sentence-transformers."""

    def __init__(self, path: Path, threads: int) -> None:
        self._session = Session(path, threads)
        self._inputs = {
            value.name: "int32" if value.type == "tensor(int32)" else "int64"
            for value in self._session.inputs()
        }
        unknown = sorted(set(self._inputs) - {"input_ids", "attention_mask", "token_type_ids"})
        if unknown or "input_ids" not in self._inputs:
            raise LoadError(
                "the graph %s has the inputs %s; supported: input_ids, attention_mask, token_type_ids"
                % (path.name, ", ".join(sorted(self._inputs)))
            )
        self._output = self._choose_output(path.name)

    @property
    def later(self) -> Dict[str, Any]:
        """What it will take beside what it takes now, as an adapter's resources say it."""
        return self._session.later

    def _choose_output(self, file: str) -> str:
        names = self._session.outputs()
        for name in (*_HIDDEN, *_POOLED):
            if name in names:
                return name
        if len(names) == 1:
            return names[0]
        raise LoadError(
            "the graph %s has the outputs %s; none is known as hidden states" % (file, ", ".join(names))
        )

    def __call__(self, ids: Any, mask: Any, types: Any) -> Any:
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        feeds = {name: given[name].astype(kind, copy=False) for name, kind in self._inputs.items()}
        hidden: Any = self._session.run([self._output], feeds)[0]
        if self._session.worth_packing:
            self._session.pack()
        return hidden.astype("float32", copy=False)
