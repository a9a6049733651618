"""One file per family of models; the file's name is the adapter's name."""

from importlib import import_module
from typing import cast

from ..adapter import Adapter, LoadError

NAMES = ("onnx", "sklearn", "sentence_embedding", "function")


def create(name: str) -> Adapter:
    """A new, unloaded adapter. Raises LoadError for a name that there is no file for."""
    if name not in NAMES:
        raise LoadError("there is no adapter %r; known: %s" % (name, ", ".join(NAMES)))
    return cast(Adapter, import_module("." + name, __name__).Adapter())
