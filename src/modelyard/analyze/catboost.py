"""CatBoost models in its own two forms, binary (``.cbm``) and JSON: nothing runs when they load.

Binary: ``CBM1``, how long the core is (u32), the core as a FlatBuffer, and parts behind it. The numbers of fields are those of
https://github.com/catboost/catboost/tree/master/catboost/libs/model/flatbuffers (model.fbs, features.fbs).
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

import msgspec

from modelyard.analyze import boosted
from modelyard.analyze import detect as content
from modelyard.analyze.boosted import Boosted, Task
from modelyard.analyze.candidates import choose
from modelyard.analyze.flatbuffer import FlatBuffer, Table
from modelyard.analyze.footprint import estimate
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.core.model import Analysis
from modelyard.core.units import format_bytes

NAME = "catboost"
REQUIREMENTS = ("catboost>=1.2,<2", "numpy>=1.26,<3")
SUFFIXES = (".cbm", ".json", ".bin", ".model")
LARGEST_JSON: Final = 256 * 1024**2  # bytes; the binary form is read at any size
_MARK: Final = b"CBM1"
_JSON: Final = re.compile(rb'\s*\{\s*"(ctr_data|features_info)"\s*:\s*\{')
_INFO: Final = ("params", "class_params", "binclass_probability_threshold")
_LONGEST_INFO: Final = 4 * 1024**2
_TASKS: Final[Mapping[str, Task]] = {
    "Logloss": "binary", "CrossEntropy": "binary", "MultiClass": "classes", "MultiClassOneVsAll": "classes",
    "MultiLogloss": "labels", "MultiCrossEntropy": "labels",
}  # fmt: skip


class _Column(NamedTuple):
    place: int  # in a record
    name: str
    kind: str  # float, categorical, text or embedding


class _Feature(msgspec.Struct):
    flat_feature_index: int
    feature_id: str = ""


class _Features(msgspec.Struct):
    float_features: list[_Feature] = []
    categorical_features: list[_Feature] = []
    text_features: list[_Feature] = []
    embedding_features: list[_Feature] = []


class _Saved(msgspec.Struct):
    """The JSON form; what is not named here is passed over without being made."""

    features_info: _Features
    model_info: dict[str, msgspec.Raw]
    scale_and_bias: tuple[float, list[float] | float]
    oblivious_trees: list[msgspec.Raw] = []
    trees: list[msgspec.Raw] = []


class _Core(NamedTuple):
    """``dimensions``: how many numbers the trees give. ``info``: what training wrote down, decoded."""

    columns: tuple[_Column, ...]
    dimensions: int
    trees: int
    info: Mapping[str, Any]


def detect(files: Files) -> bool:
    """Whether a file of the top folder begins as CatBoost writes its models."""
    return bool(found(files))


def found(files: Files) -> list[str]:
    """The paths of such models."""
    return [
        path
        for path in files.paths
        if path.lower().endswith(SUFFIXES) and "/" not in path and _is_model(content.head_of(files, path))
    ]


def _is_model(head: bytes) -> bool:
    return head.startswith(_MARK) or _JSON.match(head) is not None


def analyze(files: Files) -> Analysis:
    """Describe the model. Raises RejectedContent."""
    held = found(files)
    path = held[0] if len(held) == 1 else choose(files, SUFFIXES, "model.cbm")
    binary = content.head_of(files, path).startswith(_MARK)
    try:
        core = _binary(files, path) if binary else _json(files, path)
        loss = str(core.info.get("params", {}).get("loss_function", {}).get("type", ""))
        model = _model(core, loss, path)
        threshold = float(core.info.get("binclass_probability_threshold", 0.5))
    except (
        ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError, OverflowError,
    ) as error:  # fmt: skip
        raise RejectedContent(
            f"{path} is not a CatBoost model that can be read ({str(error)[:100]}). Save it again with save_model.",
            field=path,
        ) from error
    if not 0 < threshold < 1:
        raise RejectedContent(
            f"{path} is corrupt: its threshold of probability is {threshold}.", field=path
        )
    size = files.size(path)
    described = boosted.described(model, path, format="CatBoost", adapter=NAME, requirements=REQUIREMENTS)
    details = {
        "objective": loss[:100] or "not told",
        "trees": str(core.trees) if core.trees else "",
        "form": "binary" if binary else "JSON",
        "weights": format_bytes(size),
    }
    return msgspec.structs.replace(
        described,
        options={**described.options, "threshold": threshold, "form": "cbm" if binary else "json"},
        size_bytes=size,
        memory_bytes=estimate("boosted", size),
        details={label: value for label, value in details.items() if value},
    )


def _binary(files: Files, path: str) -> _Core:
    size = files.size(path)
    length = int.from_bytes(files.read(path, 4, 4), "little")
    if size < 8 + length or length < 8:
        raise RejectedContent(
            f"{path} is truncated or corrupt: its core should have {length} bytes, and the file has {size}. Copy it again.",
            field=path,
        )
    root = FlatBuffer(files, path, "a CatBoost model", 8).root()
    version, trees = root.text(0), root.table(1)
    if version != "FlabuffersModel_v1" or trees is None:
        raise RejectedContent(
            f"{path} is of a form of CatBoost's that is not known ({version[:40]!r}).", field=path
        )
    columns: list[_Column] = []
    for field, kind in ((5, "float"), (4, "categorical"), (12, "text")):
        columns += [_column(each, field, kind) for each in trees.tables(field)]
    info = {}
    for entry in root.tables(2):
        key = entry.text(0)
        if key in _INFO:
            info[key] = json.loads(entry.text(1, _LONGEST_INFO))
    return _Core(tuple(columns), trees.number(0), trees.length(2), info)


def _column(feature: Table, field: int, kind: str) -> _Column:
    # HasNans comes first in a float feature.
    first = 1 if field == 5 else 0
    name = feature.text(4 if field == 5 else 2)
    return _Column(feature.number(first + 1, "<i", -1), name, kind)


def _json(files: Files, path: str) -> _Core:
    if files.size(path) > LARGEST_JSON:
        raise RejectedContent(
            f"{path} has {format_bytes(files.size(path))}; as JSON at most {format_bytes(LARGEST_JSON)} are read. "
            "Save it as model.cbm, which is smaller and loads faster.",
            field=path,
        )
    held = msgspec.json.decode(files.read(path), type=_Saved)
    features = held.features_info
    columns = [
        _Column(each.flat_feature_index, each.feature_id, kind)
        for group, kind in (
            (features.float_features, "float"),
            (features.categorical_features, "categorical"),
            (features.text_features, "text"),
            (features.embedding_features, "embedding"),
        )
        for each in group
    ]
    info = {name: msgspec.json.decode(held.model_info[name]) for name in _INFO if name in held.model_info}
    info = {name: json.loads(value) if isinstance(value, str) else value for name, value in info.items()}
    biases = held.scale_and_bias[1]
    return _Core(
        tuple(columns),
        len(biases) if isinstance(biases, list) else 1,
        len(held.oblivious_trees or held.trees),
        info,
    )


def _model(core: _Core, loss: str, path: str) -> Boosted:
    columns = sorted(core.columns)
    for column in columns:
        if column.kind not in ("float", "categorical"):
            raise RejectedContent(
                f"{path} has columns of {column.kind}s, which are not served. Train it on numbers and categories, or serve "
                "it as a Python function (model.py).",
                field=path,
            )
    if [column.place for column in columns] != list(range(len(columns))):
        raise RejectedContent(
            f"{path} is corrupt: the places of its columns are not 0, 1, 2, ….", field=path
        )
    texts = frozenset(index for index, column in enumerate(columns) if column.kind == "categorical")
    names: tuple[str, ...] = ()
    if texts or any(column.name and column.name != str(column.place) for column in columns):
        names = tuple(column.name or f"f{column.place}" for column in columns)
    task: Task = _TASKS.get(loss, "numbers")
    labels = _labels(core.info.get("class_params")) if task in ("binary", "classes") else ()
    width = max(1, core.dimensions)
    if task == "binary":
        width, labels = 2, labels if len(labels) == 2 else ()
    elif task == "classes" and labels:
        width = len(labels)
    return Boosted(
        task,
        width,
        len(columns),
        "FP64",
        names,
        {},
        frozenset(),
        frozenset(names[index] for index in texts),
        labels,
    )


def _labels(told: object) -> tuple[str, ...] | tuple[int, ...]:
    """What the classes are called; none where they are the numbers from 0."""
    names = cast("Mapping[str, object]", told).get("class_names", ()) if isinstance(told, Mapping) else ()
    if not isinstance(names, list):
        return ()
    if all(isinstance(name, int) and not isinstance(name, bool) and abs(name) < 1 << 63 for name in names):
        numbers = tuple(int(cast("int", name)) for name in names)
        return () if numbers == tuple(range(len(numbers))) else numbers
    return tuple(str(name) for name in cast("list[object]", names))
