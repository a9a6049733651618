"""LightGBM models in its text form (``Booster.save_model``): nothing runs when they load.

The header is read, and the last line, which holds the categories of a data frame's columns.
Source: https://github.com/microsoft/LightGBM, src/boosting/gbdt_model_text.cpp.
"""

import json
import re
from collections.abc import Mapping

import msgspec

from modelyard.analyze import boosted
from modelyard.analyze import detect as content
from modelyard.analyze.boosted import Boosted, Task
from modelyard.analyze.candidates import choose
from modelyard.analyze.footprint import estimate
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.core.model import Analysis
from modelyard.core.units import format_bytes

NAME = "lightgbm"
REQUIREMENTS = ("lightgbm>=4.3,<5", "numpy>=1.26,<3")
SUFFIXES = (".txt", ".lgb", ".lgbm", ".lightgbm", ".model")
_MARK = b"tree\nversion=v"
_HEADER = 64 * 1024 * 1024  # bytes: names of a million columns
_PIECE = 64 * 1024
_CATEGORIES = b"\npandas_categorical:"
_UNNAMED = re.compile(r"Column_\d+")
_CODES = re.compile(r"-?\d+(:-?\d+)*")


def detect(files: Files) -> bool:
    """Whether a file of the top folder begins as LightGBM writes its models."""
    return bool(found(files))


def analyze(files: Files) -> Analysis:
    """Describe the model. Raises RejectedContent."""
    held = found(files)
    path = held[0] if len(held) == 1 else choose(files, SUFFIXES, "model.txt")
    header = _header(files, path)
    model, warnings = _model(files, path, header)
    size = files.size(path)
    objective = header.get("objective", "")
    return msgspec.structs.replace(
        boosted.described(model, path, format="LightGBM", adapter=NAME, requirements=REQUIREMENTS),
        size_bytes=size,
        runtime={"LightGBM form": header.get("version", "")[:20] or "not told"},
        memory_bytes=estimate("boosted", size),
        details={
            "objective": objective[:100] or "not told",
            "trees": str(len(header.get("tree_sizes", "").split())),
            "LightGBM's form": header.get("version", "")[:20],
            "weights": format_bytes(size),
        },
        warnings=warnings,
    )


def found(files: Files) -> list[str]:
    """The paths of such models."""
    return [
        path
        for path in files.paths
        if path.lower().endswith(SUFFIXES)
        and "/" not in path
        and content.head_of(files, path).startswith(_MARK)
    ]


def _header(files: Files, path: str) -> dict[str, str]:
    """The lines ``name=value`` before the first tree."""
    taken = b""
    while (end := taken.find(b"\n\n")) < 0:
        piece = files.read(path, len(taken), _PIECE)
        if not piece or len(taken) > _HEADER:
            raise RejectedContent(f"{path} is truncated: its header has no end. Copy it again.", field=path)
        taken += piece
    try:
        lines = taken[:end].decode().split("\n")
    except UnicodeDecodeError as error:
        raise RejectedContent(
            f"{path} is corrupt: its header is not UTF-8. Copy it again.", field=path
        ) from error
    return {name: value for name, has, value in (line.partition("=") for line in lines) if has}


def _model(files: Files, path: str, header: Mapping[str, str]) -> tuple[Boosted, tuple[str, ...]]:
    names = tuple(header.get("feature_names", "").split(" "))
    infos = header.get("feature_infos", "").split(" ")
    columns = _number(header, "max_feature_idx", path) + 1
    if len(names) != columns or len(infos) != columns:
        raise RejectedContent(
            f"{path} is corrupt: it has {columns} columns, {len(names)} names and {len(infos)} ranges of them.",
            field=path,
        )
    coded = [name for name, info in zip(names, infos, strict=True) if _CODES.fullmatch(info)]
    texts = _pandas(files, path)
    task, width = _task(header, path)
    if not any(texts):
        unnamed = not coded and all(map(_UNNAMED.fullmatch, names))
        return Boosted(task, width, columns, "FP64", () if unnamed else names, {}, frozenset(coded)), ()
    warnings: tuple[str, ...] = ()
    categories: dict[str, tuple[str, ...]] = {}
    if len(texts) == len(coded):  # a data frame's categories are written in the order of its columns
        categories = {name: values for name, values in zip(coded, texts, strict=True) if values}
    else:
        warnings = (
            f"{path} was trained on {len(texts)} columns of categories, of which its trees use {len(coded)}: which is "
            "which is not recorded. Send the codes of the categories, from 0.",
        )
    model = Boosted(task, width, columns, "FP64", names, categories, frozenset(coded) - set(categories))
    return model, warnings


def _texts(values: object) -> tuple[str, ...]:
    """Categories that are texts; none for others, which a model takes as numbers."""
    texts = [each for each in values if isinstance(each, str)] if isinstance(values, list) else []
    return tuple(texts) if isinstance(values, list) and len(texts) == len(values) else ()  # pyright: ignore[reportUnknownArgumentType]


def _task(header: Mapping[str, str], path: str) -> tuple[Task, int]:
    objective = header.get("objective", "").split(" ")[0]
    classes = _number(header, "num_class", path)
    if objective == "binary":
        return "binary", 2
    if objective in ("multiclass", "multiclassova"):
        return "classes", classes
    return "numbers", max(1, classes)


def _number(header: Mapping[str, str], name: str, path: str) -> int:
    text = header.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise RejectedContent(f"{path} is corrupt: its {name} is {text[:40]!r}. Copy it again.", field=path)
    return int(text)


def _pandas(files: Files, path: str) -> list[tuple[str, ...]]:
    """The texts of each column of categories that the data frame had, from the last line."""
    size = files.size(path)
    taken, begin = b"", size
    while begin > 0 and size - begin < _HEADER:
        begin = max(0, begin - _PIECE)
        taken = files.read(path, begin, size - begin)
        if (found := taken.rfind(_CATEGORIES)) >= 0:
            try:
                value = json.loads(taken[found + len(_CATEGORIES) :])
            except (ValueError, RecursionError):
                break
            return [_texts(each) for each in value] if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType]
        if b"\nend of trees" in taken:
            break
    return []
