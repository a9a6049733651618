"""The modules of a sentence-transformers folder: which pooling, and whether embeddings are normalised."""

from typing import NamedTuple

from modelyard.analyze.small_json import number, read_json, read_object
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files

_MODES = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
}


class Sentence(NamedTuple):
    """What modules.json and the configurations beside it say; None where they do not."""

    pooling: str
    normalize: bool
    dimension: int | None
    max_length: int | None


def read_sentence(files: Files) -> Sentence | None:
    """Read the modules, or None when there is no modules.json. Raises RejectedContent for others than
    Transformer, Pooling and Normalize."""
    if "modules.json" not in files.paths:
        return None
    modules = read_json(files, "modules.json")
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise RejectedContent("modules.json should hold a list of modules.", field="modules.json")
    kinds: list[str] = []
    pooling, dimension = "mean", None
    for module in modules:
        kind = str(module.get("type", "")).rsplit(".", 1)[-1]
        path = str(module.get("path", ""))
        kinds.append(kind)
        if kind == "Transformer" and path not in ("", "."):
            raise RejectedContent(
                f"modules.json keeps the transformer in {path[:100]!r}; save the model with a present release of "
                "sentence-transformers (model.save_pretrained), which puts it at the top.",
                field="modules.json",
            )
        if kind == "Pooling":
            pooling, dimension = _pooling(files, f"{path}/config.json")
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise RejectedContent(
            f"modules.json lists {', '.join(kinds)[:300] or 'nothing'}; served today is Transformer, Pooling and "
            "optionally Normalize. Serve others as a Python function (model.py).",
            field="modules.json",
        )
    longest = None
    if "sentence_bert_config.json" in files.paths:
        longest = number(read_object(files, "sentence_bert_config.json"), "max_seq_length")
    return Sentence(pooling, kinds[-1] == "Normalize", dimension, longest)


def _pooling(files: Files, path: str) -> tuple[str, int | None]:
    """The one pooling mode, and the width that it is for."""
    if path not in files.paths:
        raise RejectedContent(f"modules.json names {path[:200]!r}, which is missing.", field=path[:200])
    held = read_object(files, path)
    chosen = [name for name, value in held.items() if name.startswith("pooling_mode_") and value is True]
    named = held.get("pooling_mode")
    if isinstance(named, str):
        chosen.append(named)
    modes = [name if name in _MODES.values() else _MODES.get(name) for name in chosen]
    if len(modes) != 1 or modes[0] is None:
        raise RejectedContent(
            f"{path} chooses the pooling {', '.join(chosen)[:200] or 'none'}; served today is one of mean, cls, max.",
            field=path,
        )
    return modes[0], number(held, "word_embedding_dimension")
