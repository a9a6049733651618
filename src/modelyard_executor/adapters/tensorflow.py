"""TensorFlow SavedModels: one signature of one graph, in a session."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any, Mapping

from ..adapter import Container, InvalidInput, LoadError
from .graph import Arrays, Graph


class Adapter(Graph):
    """The graph as TensorFlow Serving runs it: of the folder's objects in Python nothing is made."""

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        """``options``: ``file`` (saved_model.pb), ``tags`` of the graph, ``inputs`` and ``outputs`` (the graph's name of
        each tensor by that of the signature)."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        tensorflow: Any = import_module("tensorflow")  # not this file

        folder = (files / str(options["file"])).parent
        self._size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        self._invalid = tensorflow.errors.InvalidArgumentError
        old = tensorflow.compat.v1
        old.logging.set_verbosity(old.logging.ERROR)
        threads = int(options["threads"])
        config = old.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1)
        self._session = old.Session(graph=tensorflow.Graph(), config=config)
        try:
            old.saved_model.load(self._session, list(options["tags"]), str(folder))
            self._names = list(options["outputs"])
            self._inputs = list(options["inputs"])
            self._call = self._session.make_callable(
                list(options["outputs"].values()), feed_list=list(options["inputs"].values())
            )
        except (tensorflow.errors.OpError, ValueError, RuntimeError, KeyError, OSError) as error:
            raise LoadError(
                "TensorFlow %s cannot load the SavedModel: %s" % (tensorflow.__version__, str(error)[:1000])
            ) from error

    def run(self, feeds: Arrays, parameters: Mapping[str, Any]) -> Arrays:
        numpy = self._numpy
        try:
            outputs = self._call(*[feeds[name] for name in self._inputs])
        except self._invalid as error:
            told = " ".join(error.message.replace("Graph execution error:", "").split())
            raise InvalidInput("inputs", "The graph cannot take this: %s" % told[:300]) from error
        return dict(zip(self._names, map(numpy.asarray, outputs)))

    def container(self) -> Container:
        return {"image": "python", "system_packages": []}
