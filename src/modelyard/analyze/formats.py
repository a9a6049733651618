"""The formats that are known, and the rule that picks one for a set of files."""

from collections.abc import Sequence
from typing import Protocol

from modelyard.analyze import (
    catboost,
    command,
    esm2,
    families,
    function,
    gguf,
    lightgbm,
    onnx,
    perception,
    sklearn,
    tensorflow,
    tflite,
    torch_export,
    torchscript,
    transformers,
    transformers_task,
    xgboost,
)
from modelyard.analyze import detect as content
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.core.model import Analysis


class Format(Protocol):
    """What the module of a format offers. ``NAME`` is that of the adapter that serves it."""

    @property
    def NAME(self) -> str: ...

    def detect(self, files: Files) -> bool: ...

    def analyze(self, files: Files) -> Analysis: ...


# A folder is read as a whole before its single files: a model.py may load whatever lies beside it, and a
# transformers folder may hold ONNX files. Formats in one group exclude each other.
GROUPS: tuple[tuple[Format, ...], ...] = (
    (command,),
    (function,),
    families.families(),
    (esm2,),
    (perception.image, perception.audio),
    (transformers_task,),
    (transformers,),
    (tensorflow,),
    (gguf,),
    (onnx, sklearn, xgboost, lightgbm, catboost, torch_export, torchscript, tflite),
)


def pick(files: Files, adapter: str | None = None) -> Format:
    """The format of ``files``; ``adapter`` (from model.yaml) overrules what was detected.

    Raises RejectedContent that says what the files are when no format, or more than one, takes them.
    """
    if adapter is not None:
        chosen = next(form for group in GROUPS for form in group if adapter == form.NAME)
        # A family may need no files at all; what it misses it says itself.
        if not isinstance(chosen, families.Family) and not chosen.detect(files):
            raise RejectedContent(
                f"model.yaml asks for the adapter {adapter!r}, but there is no file for it here: "
                f"{_listed(files.paths)}.",
                field="model.yaml:adapter",
            )
        return chosen
    for group in GROUPS:
        found = [form for form in group if form.detect(files)]
        if len(found) == 1:
            return found[0]
        if found:
            suffixes = (*onnx.SUFFIXES, *sklearn.SUFFIXES)
            candidates = [path for path in files.paths if path.lower().endswith(suffixes)]
            candidates += [*xgboost.found(files), *lightgbm.found(files)]
            raise RejectedContent(
                f"There are models of several formats: {_listed(candidates or files.paths)}. Deploy one of them "
                f"alone, or say which in model.yaml (adapter: {' or '.join(form.NAME for form in found)}).",
                field=candidates[0] if candidates else None,
            )
    raise content.unsupported(files)


def _listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - 8} more" if len(paths) > 8 else ""
    return ", ".join(paths[:8]) + more
