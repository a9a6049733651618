"""One file per family of models, by the names in NAMES; other files here are what several of them share."""

from importlib import import_module
from typing import cast

from ..adapter import Adapter, LoadError

NAMES = ("onnx", "sklearn", "sentence_embedding", "transformers", "esm2", "function", "simulated")


def create(name: str) -> Adapter:
    """A new, unloaded adapter. Raises LoadError for a name that there is no file for."""
    if name not in NAMES:
        raise LoadError("there is no adapter %r; known: %s" % (name, ", ".join(NAMES)))
    return cast(Adapter, import_module("." + name, __name__).Adapter())
