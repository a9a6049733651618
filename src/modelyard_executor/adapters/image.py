"""Models of the transformers library that see: classes, embeddings, and objects of images."""

from importlib import import_module
from pathlib import Path
from typing import Any, List, Mapping, Sequence

from ..adapter import InvalidInput, LoadError
from .pictures import read_picture
from .pretrained import load
from .record_adapter import Record, RecordAdapter, alike

_AUTO = {
    "image-classification": "AutoModelForImageClassification",
    "image-embedding": "AutoModel",
    "object-detection": "AutoModelForObjectDetection",
}
_AT_ONCE = 16  # images of one computation; more only cost memory on a processor


class Adapter(RecordAdapter):
    """Images are prepared one by one, and computed with those that came out in the same size: no padding, so
    that an image's answer does not depend on who is beside it."""

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        """``options``: ``task``, ``signature``, ``threads``, ``precision`` (float32, or bfloat16)."""
        self._task = str(options["task"])
        if self._task not in _AUTO:
            raise LoadError("there is no task %r; known: %s" % (self._task, ", ".join(_AUTO)))
        precision = str(options.get("precision") or "float32")
        self._torch, self._model = load(
            _AUTO[self._task], files, device, int(options["threads"]), precision
        )
        transformers: Any = import_module("transformers")
        try:
            self._processor = transformers.AutoImageProcessor.from_pretrained(
                files, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, ImportError) as error:
            raise LoadError("transformers cannot load what prepares images: %s" % error) from error
        self._device = device
        self._type = getattr(self._torch, precision)
        self._labels = {int(key): str(name) for key, name in (self._model.config.id2label or {}).items()}

    def check(self, record: Record) -> None:
        if record.get("top_k") is not None and record["top_k"] < 1:
            raise InvalidInput("parameters.top_k", "It is 1 or more.")
        if record.get("threshold") is not None and not 0 <= record["threshold"] <= 1:
            raise InvalidInput("parameters.threshold", "It is from 0 to 1.")
        picture = read_picture(record["image"], "inputs.image")
        record["size"] = (picture.height, picture.width)
        try:
            prepared = record["prepared"] = dict(self._processor(images=picture, return_tensors="pt"))
        except ValueError as error:
            raise InvalidInput("inputs.image", "The image cannot be prepared: %s" % error) from None
        record["shapes"] = tuple((name, tuple(value.shape)) for name, value in prepared.items())

    def compute(self, records: Sequence[Record]) -> List[Record]:
        results: List[Record] = [{} for _ in records]
        for indexes in alike(records, ["shapes"]):
            for start in range(0, len(indexes), _AT_ONCE):
                chosen = indexes[start : start + _AT_ONCE]
                for index, answer in zip(chosen, self._together([records[each] for each in chosen])):
                    results[index] = answer
        return results

    def _together(self, records: Sequence[Record]) -> List[Record]:
        torch = self._torch
        names = records[0]["prepared"]
        stacked = {name: torch.cat([record["prepared"][name] for record in records]) for name in names}
        inputs = {
            name: value.to(self._device, self._type if value.is_floating_point() else None)
            for name, value in stacked.items()
        }
        with torch.inference_mode():
            if self._task == "image-embedding":
                found = self._model(pixel_values=inputs["pixel_values"])
            else:
                found = self._model(**inputs)
        if self._task == "image-classification":
            return [
                self._classes(row, record)
                for row, record in zip(found.logits.float().softmax(-1).cpu(), records)
            ]
        if self._task == "image-embedding":
            return [
                self._embedding(row, record) for row, record in zip(_vectors(found).float().cpu(), records)
            ]
        return self._objects(found, records)

    def _classes(self, scores: Any, record: Record) -> Record:
        return classes(scores, self._labels, record["top_k"])

    def _embedding(self, vector: Any, record: Record) -> Record:
        if record["normalize"]:
            vector = vector / vector.norm().clamp_min(1e-12)
        return {"embedding": vector}

    def _objects(self, found: Any, records: Sequence[Record]) -> List[Record]:
        sizes = self._torch.tensor([record["size"] for record in records])
        for name in ("logits", "pred_boxes"):
            setattr(found, name, getattr(found, name).float().cpu())
        told = self._processor.post_process_object_detection(found, threshold=0.0, target_sizes=sizes)
        answers: List[Record] = []
        for record, each in zip(records, told):
            objects = [
                {
                    "label": self._labels[int(label)],
                    "score": float(score),
                    "box": dict(zip(("xmin", "ymin", "xmax", "ymax"), map(float, box))),
                }
                for label, score, box in zip(each["labels"], each["scores"], each["boxes"])
                if float(score) >= record["threshold"]
            ]
            answers.append({"objects": sorted(objects, key=lambda one: -one["score"])})
        return answers


def _vectors(found: Any) -> Any:
    """A vector for each image: of the class token; of convolutions the mean over the picture."""
    hidden = found.last_hidden_state
    if hidden.dim() == 4:
        return found.pooler_output.flatten(1) if found.pooler_output is not None else hidden.mean((-2, -1))
    return hidden[:, 0]


def classes(scores: Any, labels: Mapping[int, str], top: int) -> Record:
    """The likeliest of the classes whose probabilities are ``scores`` (a tensor)."""
    values, indexes = scores.topk(min(int(top), len(scores)))
    told = [{"label": labels[int(each)], "score": float(value)} for value, each in zip(values, indexes)]
    return {"label": told[0]["label"], "score": told[0]["score"], "labels": told}
