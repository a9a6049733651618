"""What every folder of the transformers library holds: config.json, a tokenizer, weights in safetensors."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import yaml

from modelyard.analyze import detect as content
from modelyard.analyze import safetensors
from modelyard.analyze.model_yaml import load_yaml
from modelyard.analyze.safetensors import read_sharded, read_weights
from modelyard.analyze.small_json import number, read_object
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files

TORCH = (
    "torch>=2.6,<3",
    "transformers>=4.46,<6",
    "safetensors>=0.4.3,<1",
    "tokenizers>=0.20,<1",
    "numpy>=1.26,<3",
)


class Weights(NamedTuple):
    """Weights in safetensors: the file or its index, how many numbers, bytes, as what."""

    file: str
    parameters: int
    size: int
    precision: str
    held: safetensors.Weights


def read_config(files: Files) -> Mapping[str, object]:
    """config.json. Raises RejectedContent when it is missing, or asks for code of the model's own."""
    if "config.json" not in files.paths:
        raise RejectedContent(
            "The folder has modules.json but no config.json at its top; save the model with a present release of "
            "sentence-transformers (model.save_pretrained).",
            field="config.json",
        )
    config = read_object(files, "config.json")
    if config.get("auto_map"):
        raise RejectedContent(
            "config.json asks for code from the model's repository (auto_map), which is not run here. Export the "
            "model to ONNX, or serve it as a Python function (model.py).",
            field="config.json",
        )
    return config


def architectures_of(config: Mapping[str, object]) -> list[str]:
    """The classes that config.json names."""
    listed = config.get("architectures")
    return [str(name) for name in listed] if isinstance(listed, list) else []


def check_tokenizer(files: Files) -> None:
    """Raises RejectedContent unless there is a fast tokenizer."""
    if "tokenizer.json" not in files.paths:
        raise RejectedContent(
            "The folder has no tokenizer.json, so text cannot be turned into tokens. Save the fast tokenizer into "
            "it: AutoTokenizer.from_pretrained(folder).save_pretrained(folder).",
            field="tokenizer.json",
        )
    read_object(files, "tokenizer.json", limit=256 * 1024 * 1024, whole=False)


def safetensors_of(files: Files) -> Weights | None:
    """The weights; None when there are none in safetensors. Raises RejectedContent for broken ones."""
    for file in ("model.safetensors", "model.safetensors.index.json"):
        if file in files.paths:
            found = read_weights(files, file) if file == "model.safetensors" else read_sharded(files, file)
            return Weights(file, found.parameters, found.size, found.precision, found)
    return None


def no_weights(files: Files) -> RejectedContent:
    """What is wrong with a folder that has no weights which can be read safely."""
    others = [path for path in files.paths if path.endswith((".bin", ".h5", ".msgpack", ".pt"))]
    if others:
        what = (
            content.identify(content.head_of(files, others[0]), files.size(others[0]))
            or "weights of another form"
        )
        return RejectedContent(
            f"The weights are in {others[0]} ({what}), which can run code when loaded. Convert them to safetensors: "
            "AutoModel.from_pretrained(folder).save_pretrained(folder, safe_serialization=True).",
            field=others[0],
        )
    return RejectedContent(
        "The folder has a config.json but no weights: model.safetensors or onnx/model.onnx is needed.",
        field="model.safetensors",
    )


def longest_text(files: Files, config: Mapping[str, object], told: int | None = None) -> int:
    """Tokens that one text may have: the least of what tokenizer, module (``told``) and position table allow."""
    model_type = str(config.get("model_type", ""))
    limits: list[int] = []
    positions = number(config, "max_position_embeddings") or number(config, "n_positions")
    if positions is not None:
        # These keep two places of the table for themselves (padding_idx + 1).
        offset = 2 if model_type in ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer") else 0
        limits.append(max(positions - offset, 1))
    if told:
        limits.append(told)
    elif "tokenizer_config.json" in files.paths:
        told = number(
            read_object(files, "tokenizer_config.json", limit=64 * 1024 * 1024), "model_max_length"
        )
        if told is not None and told < 1_000_000:  # transformers writes 1e30 for "no limit"
            limits.append(told)
    return min(limits) if limits else 512


def saved_by(config: Mapping[str, object]) -> dict[str, str]:
    """The release of transformers that wrote config.json, where it says so."""
    told = config.get("transformers_version")
    return {"transformers (saved by)": told[:40]} if isinstance(told, str) and told else {}


class _FrontMatter(msgspec.Struct):
    license: str | list[str] = ""


def licence_of(files: Files) -> str:
    """The licence in the front matter of README.md; a README that says none, or nothing valid, is no error."""
    if "README.md" not in files.paths:
        return ""
    text = files.read("README.md", 0, 64 * 1024).decode("utf-8", "replace")
    if not text.startswith("---\n") or "\n---" not in text[4:]:
        return ""
    try:
        front = msgspec.convert(load_yaml(text[4 : text.index("\n---", 4)], "README.md"), _FrontMatter)
    except (RejectedContent, yaml.YAMLError, msgspec.ValidationError):
        return ""
    return (front.license if isinstance(front.license, str) else ", ".join(front.license))[:200]
