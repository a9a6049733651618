"""scikit-learn: fitted estimators and pipelines, by skops; by joblib only where the caller trusts pickles."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.core.errors import InvalidInput, RejectedContent
from modelyard.objects.example import Example
from modelyard.objects.library import Given, Saved, is_of, refuse_main
from modelyard.objects.trees import matrix
from modelyard.package.pins import packages_of

NAME = "scikit-learn (estimators, pipelines)"
_HARMLESS = frozenset({"numpy.dtype"})  # what the adapter lets pass, too
_OWN = frozenset({"sklearn", "numpy", "scipy", "builtins"})
_DAY = (1980, 1, 1, 0, 0, 0)


def takes(model: object) -> bool:
    return is_of(model, "sklearn", "BaseEstimator")


def save(model: Any, folder: Path, given: Given) -> Saved:
    refuse_main(model)
    _check_fitted(model)
    example = given.example
    answers = None if example is None else lambda: _answers(model, example)
    try:
        from skops import io as skops
    except ImportError as error:
        if not given.trusted:
            raise InvalidInput(
                "scikit-learn's estimators are saved by skops, which runs nothing when it loads: pip install skops. Or say "
                "trust_pickle=True to have it saved as a pickle (joblib), which runs code when it loads.",
                field="model",
            ) from error
        return _joblib(model, folder, answers)
    why = ""
    try:
        data = skops.dumps(model)
        unknown = sorted(set(skops.get_untrusted_types(data=data)) - _HARMLESS)
        if any(name.startswith("__main__.") for name in unknown):
            raise RejectedContent(
                f"It uses {', '.join(name for name in unknown if name.startswith('__main__.'))}, defined in this script or "
                "notebook, where no other process finds it. Put it into a package that can be installed.",
                field="model",
            )
        if not unknown or given.trusted:
            (folder / "model.skops").write_bytes(_settled(data))
            roots = {name.partition(".")[0] for name in unknown} - _OWN
            return Saved(answers, requirements=packages_of(sorted(roots)), python=bool(roots))
        why = f"it uses types that skops does not know to be safe ({', '.join(unknown[:8])})"
    except (TypeError, NotImplementedError, AttributeError, zipfile.BadZipFile) as error:
        why = f"skops cannot save it ({str(error)[:200]})"
    if not given.trusted:
        raise RejectedContent(
            f"This {type(model).__name__} cannot be saved so that nothing runs when it loads: {why}. If you trust it, say "
            "trust_pickle=True, and because='…' for those who deploy it.",
            field="model",
        )
    return _joblib(model, folder, answers)


def _joblib(model: Any, folder: Path, answers: Any) -> Saved:
    import joblib

    joblib.dump(model, folder / "model.joblib")
    modules = {each.__module__.partition(".")[0] for each in _parts(model)}
    foreign = packages_of(sorted(modules - _OWN))
    return Saved(
        answers,
        requirements=foreign,
        python=True,
        notes=("a pickle: who loads it runs its code, and another Python may not load it",),
    )


def _parts(model: Any) -> list[type]:
    """The classes of an estimator and of those in it."""
    held = model.get_params(deep=True).values() if hasattr(model, "get_params") else ()
    return [type(model), *(type(each) for each in held)]


def _check_fitted(model: Any) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    if not hasattr(model, "predict") and not hasattr(model, "transform"):
        raise RejectedContent(
            f"A {type(model).__name__} has neither predict nor transform, so there is nothing to call.",
            field="model",
        )
    try:
        check_is_fitted(model)
    except NotFittedError as error:
        raise RejectedContent(
            f"This {type(model).__name__} is not fitted; call fit before it is pushed.", field="model"
        ) from error


def _settled(data: bytes) -> bytes:
    """A skops file without what differs between two writings of one object: addresses of memory as names, and the day."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        schema = json.loads(archive.read("schema.json"))
        numbers: dict[int, int] = {}
        files: dict[str, str] = {}
        _renumber(schema, numbers, files)
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as settled:
            for name, there in sorted((files.get(name, name), name) for name in archive.namelist()):
                content = (
                    json.dumps(schema, indent=2).encode() if there == "schema.json" else archive.read(there)
                )
                settled.writestr(zipfile.ZipInfo(name, _DAY), content)
    return written.getvalue()


def _renumber(node: Any, numbers: dict[int, int], files: dict[str, str]) -> None:
    if isinstance(node, list):
        for each in node:
            _renumber(each, numbers, files)
        return
    if not isinstance(node, dict):
        return
    if isinstance(node.get("__id__"), int):
        node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
    if isinstance(node.get("file"), str) and "__loader__" in node:
        suffix = node["file"].partition(".")[2]
        node["file"] = files.setdefault(node["file"], f"{len(files) + 1}.{suffix}")
    for each in node.values():
        _renumber(each, numbers, files)


def _answers(model: Any, example: Example) -> Mapping[str, Any]:
    """By the names that the adapter gives."""
    import numpy

    rows = matrix(example, getattr(model, "feature_names_in_", None))
    if not hasattr(model, "predict"):
        computed = model.transform(rows)
        return {"output": computed.toarray() if hasattr(computed, "toarray") else numpy.asarray(computed)}
    computed = numpy.asarray(model.predict(rows))
    answers: dict[str, Any] = {"prediction": computed, "label": computed}
    if hasattr(model, "predict_proba") and not isinstance(found := model.predict_proba(rows), list):
        answers["probabilities"] = found
    return answers
