"""XGBoost models in its own two forms, JSON and UBJSON: nothing runs when they load.

Source: https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html.
"""

import re
from typing import Annotated, Final

import msgspec
from packaging.version import Version

from modelyard.analyze import boosted
from modelyard.analyze import detect as content
from modelyard.analyze.boosted import Boosted, Task
from modelyard.analyze.candidates import choose
from modelyard.analyze.footprint import estimate
from modelyard.analyze.ubjson import Ubjson
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.core.model import Analysis
from modelyard.core.units import format_bytes

NAME = "xgboost"
SUFFIXES = (".ubj", ".json", ".xgb", ".model", ".bin")
LARGEST_JSON: Final = 256 * 1024**2  # bytes; UBJSON is read at any size
_JSON = re.compile(rb'\s*\{\s*"learner"\s*:\s*\{')
_UBJSON = b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner{"
_NOT_KEPT = frozenset({"trees", "tree_info", "iteration_indptr", "weight_drop", "weights", "cats"})
_OLDEST = Version("2.1.4")  # of xgboost-cpu, which is XGBoost without 300 MB for several GPUs


_Release = Annotated[int, msgspec.Meta(ge=0, le=100_000)]


class _Objective(msgspec.Struct):
    name: str


class _Trees(msgspec.Struct):
    gbtree_model_param: dict[str, str] = {}


class _Booster(msgspec.Struct):
    name: str = "gbtree"
    model: _Trees | None = None
    gbtree: "_Booster | None" = None  # of dart


class _Learner(msgspec.Struct):
    learner_model_param: dict[str, str]
    objective: _Objective
    gradient_booster: _Booster
    attributes: dict[str, str] = {}
    feature_names: list[str] = []
    feature_types: list[str] = []


class _Saved(msgspec.Struct):
    learner: _Learner
    version: tuple[_Release, _Release, _Release]


def detect(files: Files) -> bool:
    """Whether a file of the top folder begins as XGBoost writes its models."""
    return bool(found(files))


def analyze(files: Files) -> Analysis:
    """Describe the model. Raises RejectedContent."""
    held = found(files)
    path = held[0] if len(held) == 1 else choose(files, SUFFIXES, "model.ubj")
    saved = _read(files, path)
    learner, version = saved.learner, Version(".".join(map(str, saved.version)))
    analysis = boosted.described(
        _model(learner, path),
        path,
        format="XGBoost",
        adapter=NAME,
        # A model loads into later releases than its own, not into earlier ones.
        requirements=(f"xgboost-cpu>={max(version, _OLDEST)},<4", "numpy>=1.26,<3"),
    )
    size = files.size(path)
    return msgspec.structs.replace(
        analysis,
        options={
            **analysis.options,
            "objective": learner.objective.name,
            "booster": learner.gradient_booster.name,
            "best_iteration": _best(learner),
        },
        size_bytes=size,
        runtime={"XGBoost": f">={version}"},
        memory_bytes=estimate("boosted", size),
        details=_details(learner, version, size),
    )


def found(files: Files) -> list[str]:
    """The paths of such models."""
    return [
        path
        for path in files.paths
        if path.lower().endswith(SUFFIXES) and "/" not in path and _is_model(content.head_of(files, path))
    ]


def _is_model(head: bytes) -> bool:
    return head.startswith(_UBJSON) or _JSON.match(head) is not None


def _read(files: Files, path: str) -> _Saved:
    try:
        if content.head_of(files, path).startswith(_UBJSON):
            return msgspec.convert(Ubjson(files, path, "an XGBoost model").value(_NOT_KEPT), _Saved)
        if files.size(path) > LARGEST_JSON:
            raise RejectedContent(
                f"{path} has {format_bytes(files.size(path))}; as JSON at most {format_bytes(LARGEST_JSON)} are read. "
                "Save it as model.ubj, which is smaller and loads faster.",
                field=path,
            )
        return msgspec.json.decode(files.read(path), type=_Saved)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise RejectedContent(
            f"{path} is not an XGBoost model that can be read, or it is truncated: {str(error)[:200]}. Save it "
            "again with save_model.",
            field=path,
        ) from error


def _model(learner: _Learner, path: str) -> Boosted:
    numbers = {name: _number(learner.learner_model_param, name) for name in ("num_class", "num_target")}
    task, width = _task(learner.objective.name, numbers["num_class"], max(1, numbers["num_target"]))
    names = tuple(learner.feature_names)
    columns = _number(learner.learner_model_param, "num_feature")
    if names and len(names) != columns:
        raise RejectedContent(f"{path} has {columns} columns, but {len(names)} names of them.", field=path)
    types = learner.feature_types
    if "c" in types and not names:
        names = tuple(f"f{index}" for index in range(columns))  # which of them takes a code has to be told
    coded = frozenset(name for name, kind in zip(names, types, strict=False) if kind == "c")
    return Boosted(task, width, columns, "FP32", names, {}, coded)


def _task(objective: str, classes: int, targets: int) -> tuple[Task, int]:
    if objective == "binary:logistic":
        return ("binary", 2) if targets == 1 else ("labels", targets)
    if objective.startswith("multi:"):
        return "classes", classes
    return "numbers", targets


def _number(held: dict[str, str], name: str) -> int:
    text = held.get(name, "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _best(learner: _Learner) -> int | None:
    """The last round that counts, where training stopped early: XGBoost's own estimators go by it too."""
    text = learner.attributes.get("best_iteration", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _details(learner: _Learner, version: Version, size: int) -> dict[str, str]:
    booster = learner.gradient_booster.gbtree or learner.gradient_booster
    trees = booster.model.gbtree_model_param.get("num_trees", "") if booster.model else ""
    best = _best(learner)
    details = {
        "objective": learner.objective.name[:100],
        "booster": learner.gradient_booster.name[:100],
        "trees": trees[:20],
        "best round": "" if best is None else str(best),
        "XGBoost": str(version),
        "weights": format_bytes(size),
    }
    return {label: value for label, value in details.items() if value}
