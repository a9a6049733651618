"""Models of the transformers library that take text: classes of a text or of its tokens, masked words,
and generation (:mod:`.transformers_writer`)."""

import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Union

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
from ..tensor import Tensor, from_numpy, from_values
from .padding import Padding
from .pretrained import load
from .tokenizing import Tokenizer
from .transformers_heads import HEADS, Row, check_row
from .transformers_writer import WRITERS, Writer


class Adapter:
    """One model, one task. What encoders read is computed together, padded to the longest of a run."""

    def load(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        """``options``: ``task`` (text-classification, token-classification, fill-mask, text-generation,
        text2text-generation), ``max_length`` (tokens), ``signature``, ``threads``, ``precision`` (float32,
        or bfloat16)."""
        threads = int(options["threads"])
        os.environ["RAYON_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(threads)
        os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
        self._signature: Signature = dict(options["signature"])
        self._defaults = {
            each["name"]: each.get("default") for each in self._signature.get("parameters") or ()
        }
        self._limit = int(options["max_length"])
        self._size = sum(path.stat().st_size for path in files.glob("*.safetensors"))
        task = str(options["task"])
        if task not in HEADS and task not in WRITERS:
            raise LoadError("there is no task %r; known: %s" % (task, ", ".join([*HEADS, *WRITERS])))
        self._task = task
        self._device = device
        auto = HEADS[task].auto if task in HEADS else WRITERS[task]
        precision = str(options.get("precision") or "float32")
        self._torch, self._model = load(auto, files, device, threads, precision)
        self.streams = task in WRITERS
        self._input = self._signature["inputs"][0]["name"]
        if self.streams:
            self._writer = Writer(files, self._torch, self._model, device, self._limit, self._defaults)
            return
        self._tokenizer = Tokenizer([files], self._limit)
        self._head = HEADS[task](self._model.config, self._tokenizer)
        self._types = bool(getattr(self._model.config, "type_vocab_size", 0)) and (
            self._model.config.model_type not in ("roberta", "xlm-roberta")
        )
        self._padding = Padding.measured(self._try, limit=self._limit, device=device)

    def signature(self) -> Signature:
        return self._signature

    def cost(self) -> Cost:
        return {"cost": "length", "of": self._input, "shape": "padded"}

    def example(self) -> Optional[Dict[str, Any]]:
        if self.streams:
            return {self._input: "The sea is", "max_new_tokens": 4}
        return self._head.example

    def resources(self) -> Resources:
        return {"memory_bytes": self._size * 2, "device": self._device}

    def container(self) -> Container:
        return {"image": "python", "system_packages": []}

    def validate(self, item: Item) -> None:
        """Raises InvalidInput for what is not UTF-8, and for parameters that cannot be."""
        texts = self._texts(item)
        if self.streams:
            self._writer.check(item.parameters, texts)

    def prepare(self, items: Sequence[Item]) -> List[Any]:
        """The tokens of each item's texts, or the error of one that has no answer."""
        if self.streams:
            return [True] * len(items)
        groups = [[self._head.edit(text) for text in self._texts(item)] for item in items]
        encodings = iter(self._tokenizer.encode([text for group in groups for text in group]))
        return [self._checked(item, [next(encodings) for _ in group]) for item, group in zip(items, groups)]

    def _checked(self, item: Item, encodings: List[Any]) -> Union[List[Any], ItemError]:
        given = {**self._defaults, **item.parameters}
        try:
            for encoding in encodings:
                check_row(encoding, self._limit, bool(given.get("truncate")))
                self._head.check(encoding, given)
        except ItemError as error:
            return error
        return encodings

    def predict(self, items: Sequence[Item]) -> Sequence[Union[Outputs, ItemError]]:
        if self.streams:
            return self._write(items)
        missing = [item for item in items if item.prepared is None]
        for item, prepared in zip(missing, self.prepare(missing) if missing else ()):
            item.prepared = prepared
        groups = [() if isinstance(item.prepared, ItemError) else item.prepared for item in items]
        reduced = iter(self._compute([encoding for group in groups for encoding in group]))
        results: List[Union[Outputs, ItemError]] = []
        for item, group in zip(items, groups):
            if not group:
                results.append(item.prepared)
                continue
            given = {**self._defaults, **item.parameters}
            texts = [self._head.edit(text) for text in self._texts(item)]
            rows = [
                self._head.answer(next(reduced), text, encoding, given)
                for text, encoding in zip(texts, group)
            ]
            results.append(self._outputs(rows))
        return results

    def stream(self, item: Item) -> Iterator[Outputs]:
        """The text of one prompt as it is written; how it ended comes with the last piece."""
        texts = self._texts(item)
        if len(texts) != 1:
            raise InvalidInput("inputs", "A streamed call is of one record; this one has %d." % len(texts))
        for piece in self._writer.stream(texts[0], item.parameters):
            yield self._outputs([piece])

    def _write(self, items: Sequence[Item]) -> List[Union[Outputs, ItemError]]:
        prompts = [(text, item.parameters) for item in items for text in self._texts(item)]
        rows = iter(self._writer.write(prompts))
        results: List[Union[Outputs, ItemError]] = []
        for item in items:
            own = [next(rows) for _ in self._texts(item)]
            error = next((row for row in own if isinstance(row, ItemError)), None)
            results.append(error or self._outputs([row for row in own if not isinstance(row, ItemError)]))
        return results

    def _compute(self, encodings: Sequence[Any]) -> List[Any]:
        """What the head makes of each text's logits."""
        found: List[Any] = [None] * len(encodings)
        for chosen in self._padding.runs([len(encoding.ids) for encoding in encodings]):
            run = [encodings[index] for index in chosen]
            ids, mask, types = self._tokenizer.arrays(run)
            places = [self._tokenizer.place(len(encoding.ids), ids.shape[1]) for encoding in run]
            with self._torch.inference_mode():
                logits = self._logits(ids, mask, types)
                for index, reduced in zip(chosen, self._head.reduce(self._torch, logits, ids, places)):
                    found[index] = reduced
        return found

    def _logits(self, ids: Any, mask: Any, types: Any) -> Any:
        torch = self._torch
        feeds = {"input_ids": ids}
        if not mask.all():
            feeds["attention_mask"] = mask
        if self._types:
            feeds["token_type_ids"] = types
        tensors = {name: torch.from_numpy(array).to(self._device) for name, array in feeds.items()}
        return self._model(**tensors).logits.float()

    def _try(self, rows: int, length: int) -> None:
        """Compute texts of ``length`` tokens, to see how long that takes."""
        import numpy

        words = self._tokenizer.encode(["warm up"])[0].ids
        ids = numpy.full((rows, length), words[len(words) // 2], dtype="int64")
        with self._torch.inference_mode():
            self._logits(ids, numpy.ones_like(ids), numpy.zeros_like(ids))

    def _texts(self, item: Item) -> List[str]:
        try:
            return [text.decode("utf-8") for text in item.inputs[self._input].values()]
        except UnicodeDecodeError:
            raise InvalidInput(
                "inputs." + self._input, "The input %r is not UTF-8 text." % self._input
            ) from None

    def _outputs(self, rows: Sequence[Row]) -> Outputs:
        """The outputs that the signature has, one row a text."""
        import numpy

        outputs: Dict[str, Tensor] = {}
        for spec in self._signature["outputs"]:
            name = spec["name"]
            if name not in rows[0]:
                continue  # an optional one, in a piece that does not have it
            values = [row[name] for row in rows]
            if spec["shape"]:
                outputs[name] = from_numpy(numpy.stack(values).astype("float32", copy=False))
            else:
                outputs[name] = from_values(spec["datatype"], (len(rows),), values)
        return outputs
