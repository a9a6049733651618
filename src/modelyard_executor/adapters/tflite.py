"""TensorFlow Lite models through LiteRT."""

from pathlib import Path
from typing import Any, List, Mapping, Optional, Tuple

from ..adapter import Container, LoadError
from .graph import Arrays, Graph


class Adapter(Graph):
    """One interpreter; its tensors are made anew when the shapes of a batch differ from those of the batch before."""

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        """``options``: ``file``; ``inputs`` and ``outputs``, the numbers of their tensors in the order of the signature."""
        from ai_edge_litert.interpreter import Interpreter

        path = files / str(options["file"])
        self._size = path.stat().st_size
        self._inputs = self._placed("inputs", options["inputs"])
        self._outputs = self._placed("outputs", options["outputs"])
        self._shapes: Optional[List[Tuple[int, ...]]] = None
        try:
            self._interpreter = Interpreter(model_path=str(path), num_threads=int(options["threads"]))
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise LoadError("LiteRT cannot load %s: %s" % (path.name, error)) from error
        given = [detail["index"] for detail in self._interpreter.get_input_details()]
        if sorted(given) != sorted(number for _, number in self._inputs):
            raise LoadError("LiteRT finds other inputs in %s than its analysis did." % path.name)

    def _placed(self, place: str, numbers: List[int]) -> List[Tuple[str, int]]:
        return [(spec["name"], number) for spec, number in zip(self._signature[place], numbers)]

    def run(self, feeds: Arrays, parameters: Mapping[str, Any]) -> Arrays:
        shapes = [feeds[name].shape for name, _ in self._inputs]
        if shapes != self._shapes:
            self._shapes = None  # until they are all made
            for (_, number), shape in zip(self._inputs, shapes):
                self._interpreter.resize_tensor_input(number, list(shape), strict=False)
            self._interpreter.allocate_tensors()
            self._shapes = shapes
        for name, number in self._inputs:
            self._interpreter.set_tensor(number, feeds[name])
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(number) for name, number in self._outputs}

    def container(self) -> Container:
        return {"image": "python", "system_packages": []}
