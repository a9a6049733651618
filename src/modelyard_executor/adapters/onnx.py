"""ONNX models through ONNX Runtime."""

from pathlib import Path
from typing import Any, Mapping

from ..adapter import Container, InvalidInput, LoadError, Resources
from ..tensor import Tensor
from .graph import Arrays, Graph
from .onnx_session import Session

_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


class Adapter(Graph):
    """One session."""

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        """``options``: ``file`` (the graph, relative)."""
        path = files / str(options["file"])
        self._size = path.stat().st_size
        self._session = Session(path, int(options["threads"]))
        self._names = self._session.outputs()
        self._check_names()

    def _check_names(self) -> None:
        """The signature may come from model.yaml; it must be this graph's."""
        graph = {value.name: _DATATYPES.get(value.type, value.type) for value in self._session.inputs()}
        for spec in self._signature["inputs"]:
            if graph.get(spec["name"]) != spec["datatype"]:
                raise LoadError(
                    "the signature has an input %r of %s; the graph has %s"
                    % (spec["name"], spec["datatype"], graph)
                )

    def run(self, feeds: Arrays, parameters: Mapping[str, Any]) -> Arrays:
        try:
            return dict(zip(self._names, self._session.run(self._names, feeds)))
        except Exception as error:
            # Its word for values that the graph cannot take, such as an index that is not in a table.
            if type(error).__name__ != "InvalidArgument":
                raise
            field = "inputs" if len(feeds) > 1 else "inputs." + next(iter(feeds))
            raise InvalidInput(field, "The model cannot take this: %s" % str(error)[:500]) from None

    def done(self) -> None:
        if self._session.worth_packing:
            self._session.pack()

    def resources(self) -> Resources:
        return dict(super().resources(), **self._session.later)

    def array(self, tensor: Tensor) -> Any:
        """Text as str."""
        array = tensor.numpy()
        if tensor.datatype == "BYTES":
            numpy = self._numpy
            try:
                texts = [text.decode("utf-8") for text in array.ravel()]
            except UnicodeDecodeError:
                raise InvalidInput("inputs", "A text among the inputs is not UTF-8.") from None
            return numpy.array(texts, dtype=object).reshape(array.shape)
        return array

    def container(self) -> Container:
        return {"image": "onnx", "system_packages": []}
