"""scikit-learn estimators: skops files (nothing runs when they load), joblib files and pickles (it does)."""

from packaging.version import InvalidVersion, Version

from modelyard.analyze import detect as content
from modelyard.analyze import estimators
from modelyard.analyze.candidates import choose
from modelyard.analyze.footprint import estimate
from modelyard.analyze.objects import Global, attributes, class_of
from modelyard.analyze.pickle_opcodes import Unpickling
from modelyard.analyze.plain import plain
from modelyard.analyze.skops_file import SkopsFile
from modelyard.analyze.streams import open_stream
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.core.model import Analysis

NAME = "sklearn"
SUFFIXES = (".skops", ".joblib", ".pkl", ".pickle")
ACCEPTED = (
    "Accepted is a fitted scikit-learn estimator or pipeline, saved with skops.io.dump (.skops) or, with "
    "--trust-pickle, joblib.dump (.joblib) or pickle.dump (.pkl)"
)
# What scikit-learn models are made of; anything else needs a requirement of the model's own.
_KNOWN_ROOTS = frozenset(
    {"sklearn", "numpy", "scipy", "joblib", "builtins", "__builtin__", "copyreg", "copy_reg", "collections"}
    | {
        "functools",
        "operator",
        "_codecs",
        "datetime",
        "itertools",
        "types",
        "pandas",
        "math",
        "decimal",
        "re",
    }
    | {"pathlib", "typing", "fractions", "uuid", "random", "array"}
)
_OTHERS = {
    "torch": "a PyTorch object: save it with torch.export.save, export it to ONNX, or save its weights as safetensors",
    "xgboost": "an XGBoost model: save it with save_model('model.ubj')",
    "lightgbm": "a LightGBM model: save it with booster_.save_model('model.txt')",
    "catboost": "a CatBoost model: save it with save_model('model.cbm')",
    "tensorflow": "a TensorFlow object: save it with tf.saved_model.save",
    "keras": "a Keras object: save it with model.export(folder)",
    "transformers": "a transformers object: save it as a folder with save_pretrained",
    "sentence_transformers": "a sentence-transformers object: save it as a folder with save_pretrained",
    "statsmodels": "a statsmodels result: serve it as a Python function (model.py)",
    "spacy": "a spaCy pipeline: serve it as a Python function (model.py)",
}


def detect(files: Files) -> bool:
    """Whether there is a file named as one of scikit-learn's ways to save."""
    return any(path.lower().endswith(SUFFIXES) for path in files.paths)


def analyze(files: Files) -> Analysis:
    """Describe the estimator in ``files``. Raises RejectedContent."""
    path = choose(files, SUFFIXES, "model.skops")
    if path.lower().endswith(".skops"):
        return _skops(files, path)
    return _pickle(files, path)


def _skops(files: Files, path: str) -> Analysis:
    what = content.identify(content.head_of(files, path), files.size(path))
    if what not in (None, "a skops file", "a zip archive", "a zip of NumPy arrays (skops or .npz)"):
        content.refuse_unless(what, "a skops file", path)
    held = SkopsFile(files, path)
    _refuse_others(path, held.root, held.globals)
    return _describe(files, path, held.root, held.globals, "skops", "skops", {})


def _pickle(files: Files, path: str) -> Analysis:
    head = content.head_of(files, path)
    stream = open_stream(files, path) if files.size(path) else None
    if stream is None or not (stream.compression or content.is_pickle(head)):
        what = content.identify(head, files.size(path)) or "not a pickle"
        raise RejectedContent(
            f"{path} is named like a pickle, but it is {what}. {content.SERVED}.", field=path
        )
    walked = Unpickling(stream, path)
    _refuse_others(path, walked.root, walked.globals)
    joblib = path.lower().endswith(".joblib") or walked.raw_arrays or stream.compression != ""
    details = {"compression": stream.compression} if stream.compression else {}
    if not walked.complete:
        details["read"] = "the first part only: the pickle is too long to be read whole without loading it"
    return _describe(
        files, path, walked.root, walked.globals, "joblib" if joblib else "pickle", "pickle", details
    )


def _refuse_others(path: str, root: object, found: dict[str, Global]) -> None:
    """Raise RejectedContent unless the root is an estimator of scikit-learn."""
    kind = class_of(root)
    if kind is not None and kind.module.split(".", 1)[0] == "sklearn":
        return
    roots = [item.module.split(".", 1)[0] for item in ([kind] if kind else found.values())]
    told = next((_OTHERS[name] for name in roots if name in _OTHERS), None)
    if told is None:
        if kind is not None:
            told = f"an object of the class {kind.path[:200]}"
        else:
            told = {dict: "a bare dict", list: "a bare list", tuple: "a bare tuple"}.get(
                type(root), f"a bare {type(root).__name__}"
            )
            inside = ", ".join(sorted(found)[:4])
            told += f" (with {inside} inside)" if inside else ""
    raise RejectedContent(f"{path} is not a scikit-learn estimator but {told}. {ACCEPTED}.", field=path)


def _describe(
    files: Files,
    path: str,
    root: object,
    found: dict[str, Global],
    loader: str,
    form: str,
    details: dict[str, str],
) -> Analysis:
    kind = class_of(root)
    assert kind is not None  # _refuse_others has seen to it
    steps = estimators.steps_of(root)
    names, count = estimators.feature_names(steps), estimators.feature_count(steps)
    classes = estimators.classes_of(steps)
    version = _version(root) or _version(steps[-1])
    last = class_of(steps[-1])
    details = {"estimator": kind.name, **details}
    if last is not None and last is not kind:
        details["last step"] = last.name
    if version is not None:
        details["scikit-learn"] = str(version)
    if count is not None:
        details["features"] = str(count)
    if classes is not None and len(classes.shape) == 1:
        details["classes"] = str(classes.shape[0])
    signature = estimators.signature_of(steps)
    size = files.size(path)
    return Analysis(
        format=f"sklearn-{form}",
        adapter="sklearn",
        signature=signature,
        requirements=_requirements(version, loader, found, names is not None or "pandas" in _roots(found)),
        options={"file": path, "loader": loader, "signature": plain(signature)},
        size_bytes=size,
        runtime={"scikit-learn": f"=={version}"} if version is not None else {},
        memory_bytes=estimate("sklearn", size),
        executes="no" if loader == "skops" else "pickle",
        details=details,
        warnings=_warnings(path, version, found),
    )


def _version(estimator: object) -> Version | None:
    """The release of scikit-learn that saved it."""
    text = attributes(estimator).get("_sklearn_version")
    try:
        version = Version(text) if isinstance(text, str) and len(text) < 40 else None
    except InvalidVersion:
        return None
    return None if version is None or version.is_devrelease or version.local else version


def _requirements(
    version: Version | None, loader: str, found: dict[str, Global], pandas: bool
) -> tuple[str, ...]:
    lines = [f"scikit-learn=={version}" if version else "scikit-learn>=1.3,<2"]
    if version is not None and version < Version("1.4.2"):
        lines.append("numpy>=1.22,<2")  # built against NumPy 1, without saying so in its metadata
    elif any(item.module.startswith("numpy._core") for item in found.values()):
        lines.append("numpy>=2,<3")
    else:
        lines.append("numpy>=1.26,<3")
    if loader == "skops":
        lines.append("skops>=0.13,<1")
    else:
        lines.append("joblib>=1.2,<2")
    if pandas:
        lines.append("pandas>=2,<4")
    return tuple(lines)


def _roots(found: dict[str, Global]) -> set[str]:
    return {item.module.split(".", 1)[0] for item in found.values()}


def _warnings(path: str, version: Version | None, found: dict[str, Global]) -> tuple[str, ...]:
    warnings: list[str] = []
    foreign = sorted(root for root in _roots(found) - _KNOWN_ROOTS if root)
    if foreign:
        warnings.append(
            f"{path} also uses {', '.join(foreign[:8])}: name the packages under requirements in model.yaml."
        )
    if version is None:
        warnings.append(
            "The release of scikit-learn that saved the model is not recorded; another one may load it "
            "differently. Name it under requirements in model.yaml."
        )
    return tuple(warnings)
