"""Sentence embeddings: a tokenizer and a transformer (PyTorch or ONNX), pooled to one vector a text.

The steps and constants are those of sentence-transformers (https://www.sbert.net): special tokens and
truncation to ``max_length`` by the tokenizer, padding to the longest text computed together, pooling
over the tokens that are not padding, L2 normalisation.
"""

import os
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from ..adapter import (
    Container,
    Cost,
    InvalidInput,
    Item,
    ItemError,
    LoadError,
    Outputs,
    Resources,
    Signature,
)
from ..loop import log
from ..tensor import from_numpy
from .embedding_backends import OnnxBackend, TorchBackend
from .padding import Padding
from .small_json import read_json
from .tokenizing import Tokenizer

_MODULES = ("Transformer", "Pooling", "Normalize")
_PARAMETERS = (
    ("normalize", "Scale each embedding to length 1."),
    ("truncate", "Cut a text that is longer than the model reads; false refuses it."),
)


class Adapter:
    """A batch is computed as it is given, in one run; it is cut, by length, only where that wins time."""

    def load(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        """``options``: ``backend`` (torch, onnx), ``file`` (weights or graph, relative), ``pooling``
        (mean, cls, max), ``normalize``, ``max_length`` (tokens), ``dimension``, ``signature``,
        ``threads``, ``precision`` (float32, or with torch bfloat16)."""
        threads = int(options["threads"])
        os.environ["RAYON_NUM_THREADS"] = str(threads)
        os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
        import numpy

        self._numpy = numpy
        path = files / str(options["file"])
        if not path.is_file():
            raise LoadError("there is no file %s among the model's files" % options["file"])
        self._size = path.stat().st_size
        self._pooling = str(options["pooling"])
        if self._pooling not in ("mean", "cls", "max"):
            raise LoadError("the pooling %r is not known; known: mean, cls, max" % self._pooling)
        self._normalize = bool(options["normalize"])
        self._max_length = int(options["max_length"])
        _check_modules(files)
        self._edit = _Preparation(files)
        self._tokenizer = Tokenizer([path.parent, files], self._max_length)
        precision = str(options.get("precision") or "float32")
        if options["backend"] == "torch":
            self._backend: Any = TorchBackend(path.parent, device, threads, precision)
        elif options["backend"] == "onnx":
            if precision != "float32":
                raise LoadError("an ONNX graph has the precision that it was exported with")
            self._backend = OnnxBackend(path, threads)
        else:
            raise LoadError("the backend %r is not known; known: torch, onnx" % options["backend"])
        self._dimension = self._run([self._tokens("warm up")]).shape[1]
        if self._dimension != int(options["dimension"]):
            raise LoadError(
                "the model gives embeddings of %d numbers; its files say %s"
                % (self._dimension, options["dimension"])
            )
        self._padding = Padding.measured(self._try, limit=self._max_length, device=device)
        self._signature = self._complete(options["signature"])

    def _complete(self, given: Optional[Mapping[str, Any]]) -> Signature:
        """The signature, with the parameters that are answered here."""
        signature: Signature = dict(
            given
            or {
                "inputs": [_spec("text", "BYTES", (), "text")],
                "outputs": [_spec("embedding", "FP32", (self._dimension,), "embedding")],
                "batched": True,
                "max_batch": None,
            }
        )
        if [spec["name"] for spec in signature["inputs"]] != ["text"]:
            raise LoadError("a sentence embedding model has one input, text; the signature has others")
        if [spec["name"] for spec in signature["outputs"]] != ["embedding"]:
            raise LoadError(
                "a sentence embedding model has one output, embedding; the signature has others"
            )
        parameters = {each["name"]: each for each in signature.get("parameters") or ()}
        defaults = {"normalize": self._normalize, "truncate": True}
        for name, description in _PARAMETERS:
            parameters.setdefault(
                name, {"name": name, "type": "bool", "default": defaults[name], "description": description}
            )
            # A call without the parameter gets what the signature promises.
            if parameters[name].get("default") is not None:
                defaults[name] = bool(parameters[name]["default"])
        self._defaults = defaults
        signature["parameters"] = list(parameters.values())
        return signature

    def signature(self) -> Signature:
        return self._signature

    def cost(self) -> Cost:
        return {"cost": "length", "of": "text", "shape": "padded"}

    def example(self) -> Optional[Dict[str, Any]]:
        return {"text": "The quick brown fox jumps over the lazy dog."}

    def validate(self, item: Item) -> None:
        """Raises InvalidInput for what is not UTF-8; the length is known when it is tokenized."""
        _texts(item)

    def prepare(self, items: Sequence[Item]) -> List[Union[List[Any], ItemError]]:
        """The tokens of each item's texts; InvalidInput for a text that is too long and not to be cut."""
        texts = [_texts(item) for item in items]
        encodings = iter(self._tokenizer.encode([self._edit(text) for group in texts for text in group]))
        return [self._checked(item, [next(encodings) for _ in group]) for item, group in zip(items, texts)]

    def _checked(self, item: Item, encodings: List[Any]) -> Union[List[Any], ItemError]:
        cut = sum(bool(encoding.overflowing) for encoding in encodings)
        if cut and not item.parameters.get("truncate", self._defaults["truncate"]):
            return InvalidInput(
                "inputs.text",
                "The text is longer than the %d tokens that the model reads; shorten it, or set truncate to "
                "true to have it cut." % self._max_length,
            )
        if cut:
            log("%d of %d texts were cut to %d tokens" % (cut, len(encodings), self._max_length))
        return encodings

    def predict(self, items: Sequence[Item]) -> Sequence[Union[Outputs, ItemError]]:
        missing = [item for item in items if item.prepared is None]
        if missing:
            for item, prepared in zip(missing, self.prepare(missing)):
                item.prepared = prepared
        groups = [() if isinstance(item.prepared, ItemError) else item.prepared for item in items]
        embeddings = self._embed([encoding for group in groups for encoding in group])
        results: List[Union[Outputs, ItemError]] = []
        position = 0
        for item, group in zip(items, groups):
            rows = slice(position, position + len(group))
            position = rows.stop
            results.append(
                {"embedding": from_numpy(self._scaled(embeddings[rows], item))} if group else item.prepared
            )
        return results

    def _tokens(self, text: str) -> Any:
        return self._tokenizer.encode([self._edit(text)])[0]

    def _try(self, rows: int, length: int) -> None:
        """Compute texts of ``length`` tokens, to see how long that takes."""
        numpy = self._numpy
        words = self._tokens("warm up").ids
        ids = numpy.full((rows, length), words[len(words) // 2], dtype="int64")
        self._backend(ids, numpy.ones_like(ids), numpy.zeros_like(ids))

    def _scaled(self, rows: Any, item: Item) -> Any:
        if not item.parameters.get("normalize", self._defaults["normalize"]):
            return rows
        lengths = self._numpy.linalg.norm(rows, axis=1, keepdims=True)
        return rows / self._numpy.maximum(lengths, 1e-12)

    def _embed(self, encodings: Sequence[Any]) -> Any:
        """Embeddings [texts, dimension] as FP32, not normalised."""
        runs = self._padding.runs([len(encoding.ids) for encoding in encodings])
        if len(runs) == 1:
            return self._run(encodings)
        result = self._numpy.empty((len(encodings), self._dimension), dtype="float32")
        for chosen in runs:
            result[chosen] = self._run([encodings[index] for index in chosen])
        return result

    def _run(self, encodings: Sequence[Any]) -> Any:
        """One computation: padded to the longest, pooled. Float32 [texts, dimension]."""
        ids, mask, types = self._tokenizer.arrays(encodings)
        hidden = self._backend(ids, mask, types)
        return hidden if hidden.ndim == 2 else self._pool(hidden, mask)

    def _pool(self, hidden: Any, mask: Any) -> Any:
        """[texts, tokens, dimension] to [texts, dimension]."""
        numpy = self._numpy
        if self._pooling == "cls":
            # With padding in front the first token is not at 0.
            return hidden[numpy.arange(len(hidden)), mask.argmax(axis=1)]
        weights = mask[:, :, None].astype("float32")
        if self._pooling == "max":
            return numpy.where(weights == 0, numpy.float32(-1e9), hidden).max(axis=1)
        return (hidden * weights).sum(axis=1) / numpy.maximum(weights.sum(axis=1), 1e-9)

    def resources(self) -> Resources:
        return {"memory_bytes": self._size * 2, "device": "cpu", **getattr(self._backend, "later", {})}

    def container(self) -> Container:
        return {"image": "python", "system_packages": []}


class _Preparation:
    """What sentence-transformers does to a text before tokenizing: the prompt that its files set."""

    def __init__(self, files: Path) -> None:
        config = read_json(files / "config_sentence_transformers.json")
        name = config.get("default_prompt_name")
        self._prompt = str((config.get("prompts") or {}).get(name, "")) if name else ""
        self._lower = bool(read_json(files / "sentence_bert_config.json").get("do_lower_case"))
        if self._prompt and read_json(files / "1_Pooling" / "config.json").get("include_prompt") is False:
            raise LoadError("the model leaves its prompt out of the pooling, which is not supported")

    def __call__(self, text: str) -> str:
        text = self._prompt + text
        return text.lower() if self._lower else text


def _check_modules(files: Path) -> None:
    """A module that is left out (a Dense layer) would change every number without a word."""
    modules = read_json(files / "modules.json")
    for module in modules if isinstance(modules, list) else ():
        kind = str(module.get("type", "")).split(".")[-1]
        if kind not in _MODULES:
            raise LoadError(
                "the model has a module %r, which is not supported; supported: %s"
                % (kind, ", ".join(_MODULES))
            )


def _texts(item: Item) -> List[str]:
    try:
        return [text.decode("utf-8") for text in item.inputs["text"].values()]
    except UnicodeDecodeError:
        raise InvalidInput("inputs.text", "The input 'text' is not UTF-8 text.") from None


def _spec(name: str, datatype: str, shape: Sequence[int], kind: str) -> Dict[str, Any]:
    return {
        "name": name,
        "datatype": datatype,
        "shape": list(shape),
        "kind": kind,
        "optional": False,
        "description": "",
    }
