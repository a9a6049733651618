"""One file per format of models, by the names in NAMES, and in ``families`` one per family of models that come
as a package; other files here are what several of them share. The platform reads NAMES as syntax."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import cast

from ..adapter import Adapter, LoadError

NAMES = (
    "onnx",
    "sklearn",
    "sentence_embedding",
    "transformers",
    "esm2",
    "image",
    "audio",
    "gguf",
    "xgboost",
    "lightgbm",
    "catboost",
    "torchscript",
    "torch_export",
    "tensorflow",
    "tflite",
    "function",
    "command",
)
_INNER = ("simulated",)  # no model's


def create(name: str) -> Adapter:
    """A new, unloaded adapter. Raises LoadError for a name that there is no file for."""
    families = [each.name for each in iter_modules([str(Path(__file__).with_name("families"))])]
    files = (*NAMES, *_INNER)
    if name not in files and name not in families:
        raise LoadError("there is no adapter %r; known: %s" % (name, ", ".join([*NAMES, *families])))
    place = "." + name if name in files else ".families." + name
    return cast(Adapter, import_module(place, __name__).Adapter())
