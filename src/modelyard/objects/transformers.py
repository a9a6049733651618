"""transformers: a model and its tokenizer, by ``save_pretrained`` as safetensors; also a pipeline."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.core.errors import InvalidInput
from modelyard.objects.example import Example
from modelyard.objects.library import Given, Saved, is_of

NAME = "transformers (models with their tokenizer or processor, pipelines)"


def takes(model: object) -> bool:
    return is_of(model, "transformers", "PreTrainedModel", "Pipeline")


def save(model: Any, folder: Path, given: Given) -> Saved:
    processor: Any = given.processor
    if is_of(model, "transformers", "Pipeline"):
        processor = processor or model.tokenizer or model.image_processor or model.feature_extractor
        model = model.model
    if processor is None:
        raise InvalidInput(
            "A model of transformers is served with what prepares its input; give processor=tokenizer (an image processor, "
            "a feature extractor).",
            field="processor",
        )
    model.save_pretrained(folder, safe_serialization=True)
    processor.save_pretrained(folder)
    _forget(folder)
    example = given.example
    if example is None or not hasattr(processor, "vocab_size"):
        return Saved()
    ending = type(model).__name__
    if ending.endswith("ForSequenceClassification"):
        return Saved(lambda: _classes(model, processor, example))
    return Saved()


def _forget(folder: Path) -> None:
    """What tells where it was loaded from on this machine."""
    for name in ("config.json", "tokenizer_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        held = json.loads(path.read_text("utf-8"))
        told = {key: each for key, each in held.items() if key not in ("_name_or_path", "name_or_path")}
        if told != held:
            path.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _classes(model: Any, tokenizer: Any, example: Example) -> Mapping[str, Any]:
    """The likeliest class of each text."""
    import torch

    texts = next(iter(example.named.values())) if example.named else example.placed[0]
    labels: list[str] = []
    training = model.training
    model.eval()
    try:
        for text in texts:
            encoded = tokenizer(text, return_tensors="pt", truncation=True)
            with torch.no_grad():
                logits = model(**encoded).logits[0]
            labels.append(str(model.config.id2label[int(logits.argmax())]))
    finally:
        model.train(training)
    return {"label": labels}
