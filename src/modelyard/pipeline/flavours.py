"""MLflow's flavours of a model: which we serve, and what of their files. Adding one is adding its line.

Of several the first here is taken. Where each keeps its files: the ``save_model`` of MLflow's modules.
"""

import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from modelyard.core.errors import InvalidInput, RejectedContent
from modelyard.core.manifest import check_path

Lay = Callable[[Mapping[str, Any], Path, Path], bool]
_KERAS: Final = (
    "It is a Keras model that only Keras, with the code of its layers, can load. Log it with "
    "mlflow.keras.log_model(…, save_exported_model=True, signature=…), or push it: modelyard.push(model, …)."
)
_INSTEAD: Final = {
    "lightgbm": " Log its booster: mlflow.lightgbm.log_model(model.booster_, …).",
    "xgboost": " Log it with model_format='ubj'.",
    "pytorch": " Or log it with serialization_format='pt2', which tells its shapes.",
}


class Laid(NamedTuple):
    """The flavour that was taken. ``pickled``: its file is a pickle; ``instead``: what to do when it is not served."""

    name: str
    pickled: bool
    instead: str = ""


def lay(told: Mapping[str, Any], fetched: Path, folder: Path) -> Laid:
    """Copy what we serve of the flavours of an MLmodel. Raises RejectedContent that names them and says what to do."""
    flavours: dict[str, Any] = {name: each or {} for name, each in told.items()}
    for name, copy in _FLAVOURS.items():
        if name in flavours:
            return Laid(name, copy(flavours[name], fetched, folder), _INSTEAD.get(name, ""))
    loader = str(flavours.get("python_function", {}).get("loader_module", ""))
    own = ", ".join(name for name in flavours if name != "python_function")
    what = own or (f"python_function ({loader})" if loader else ", ".join(flavours) or "none")
    raise RejectedContent(
        f"It has the flavour {what[:200]}, which is code that MLflow runs; served are {', '.join(_FLAVOURS)}. Make it a folder "
        "with a model.py, or push a function: modelyard.push(function, …)."
    )


def inside(fetched: Path, path: str) -> Path:
    """What the MLmodel names. Raises RejectedContent for a path that leaves its folder, or is not there."""
    try:
        check_path(path)
    except InvalidInput as error:
        raise RejectedContent(f"Its MLmodel names {path[:100]!r}, which can be no path.") from error
    if not (fetched / path).exists():
        raise RejectedContent(f"Its MLmodel names {path[:100]!r}, which is not among its files.")
    return fetched / path


def _file(key: str, name: str | None = None) -> Lay:
    """A flavour that is one file or folder, which its ``key`` names."""

    def copy(flavour: Mapping[str, Any], fetched: Path, folder: Path) -> bool:
        path = inside(fetched, str(flavour.get(key, "")))
        if path.is_dir():
            shutil.copytree(path, folder, dirs_exist_ok=True)
            return False
        shutil.copyfile(path, folder / (name or path.name))
        return path.suffix in (".pkl", ".pickle", ".joblib")

    return copy


def _transformers(flavour: Mapping[str, Any], fetched: Path, folder: Path) -> bool:
    if "model_binary" not in flavour:
        raise RejectedContent(
            "Its transformers flavour holds no weights, only the name of a model of the hub: "
            f"{str(flavour.get('source_model_name', 'not told'))[:100]}. Push that (modelyard models push hf://…), or log it "
            "with save_pretrained=True."
        )
    shutil.copytree(inside(fetched, str(flavour["model_binary"])), folder, dirs_exist_ok=True)
    for component in (fetched / "components").glob("*"):
        if component.is_dir() and not component.is_symlink():
            shutil.copytree(component, folder, dirs_exist_ok=True)
    return False


def _pytorch(flavour: Mapping[str, Any], fetched: Path, folder: Path) -> bool:
    place = inside(fetched, str(flavour.get("model_data", "data")))
    if (place / "model.pt2").is_file():
        shutil.copyfile(place / "model.pt2", folder / "model.pt2")
        return False
    for name in ("model.pth", "model.pt"):
        if (place / name).is_file() and _is_script(place / name):
            shutil.copyfile(place / name, folder / "model.pt")
            return False
    raise RejectedContent(
        "Its flavour pytorch is a module as a pickle, which needs the code of its class. Log it with torch.export "
        "(serialization_format='pt2'), or push the module: modelyard.push(module, …)."
    )


def _is_script(path: Path) -> bool:
    """Whether it is TorchScript, which brings its code, and no pickle of a module."""
    try:
        with zipfile.ZipFile(path) as held:
            return any("/code/" in name for name in held.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def _tensorflow(flavour: Mapping[str, Any], fetched: Path, folder: Path) -> bool:
    if "saved_model_dir" not in flavour:  # model_type: keras
        raise RejectedContent(f"Its flavour is tensorflow. {_KERAS}")
    return _file("saved_model_dir")(flavour, fetched, folder)


def _keras(flavour: Mapping[str, Any], fetched: Path, folder: Path) -> bool:
    if not flavour.get("save_exported_model"):
        raise RejectedContent(f"Its flavour is keras. {_KERAS}")
    place = inside(fetched, str(flavour.get("data", "data")))
    exported = place / "model"
    shutil.copytree(exported if exported.is_dir() else place, folder, dirs_exist_ok=True)
    return False


_FLAVOURS: Final[Mapping[str, Lay]] = {
    "onnx": _file("data"),
    "xgboost": _file("data"),
    "lightgbm": _file("data"),
    "catboost": _file("data", "model.cbm"),
    "transformers": _transformers,
    "tensorflow": _tensorflow,
    "keras": _keras,
    "sklearn": _file("pickled_model"),
    "pytorch": _pytorch,
}
