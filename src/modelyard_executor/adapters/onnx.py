"""ONNX models through ONNX Runtime."""

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from ..adapter import Container, Cost, Item, ItemError, LoadError, Outputs, Resources, Signature
from ..tensor import DATATYPES, Tensor, from_numpy, split_rows
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


class Adapter:
    """One session; items of one inner shape are computed together along the first axis."""

    def load(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        """``options``: ``file`` (the graph, relative), ``signature`` (of the analysis), ``threads``."""
        import numpy

        path = files / str(options["file"])
        self._size = path.stat().st_size
        self._session = Session(path, int(options["threads"]))
        self._numpy = numpy
        self._names = self._session.outputs()
        self._signature: Signature = dict(options["signature"])
        self._check_names()
        if self._signature["batched"] and self._signature.get("max_batch") != 1:
            self._signature["batched"] = self._batches()

    def _check_names(self) -> None:
        """The signature may come from model.yaml; it must be this graph's."""
        graph = {value.name: _DATATYPES.get(value.type, value.type) for value in self._session.inputs()}
        for spec in self._signature["inputs"]:
            if graph.get(spec["name"]) != spec["datatype"]:
                raise LoadError(
                    "the signature has an input %r of %s; the graph has %s"
                    % (spec["name"], spec["datatype"], graph)
                )

    def _batches(self) -> bool:
        """Whether two records put together come out as two: shapes alone do not prove it.

        A graph that cannot be run on zeros (an index out of range, say) keeps what its shapes say;
        every answer's length is checked in ``predict`` all the same.
        """
        numpy = self._numpy
        feeds = {}
        for spec in self._signature["inputs"]:
            shape = [2] + [1 if length < 0 else length for length in spec["shape"]]
            if spec["datatype"] == "BYTES":
                feeds[spec["name"]] = numpy.full(shape, "", dtype=object)
            else:
                feeds[spec["name"]] = numpy.zeros(shape, dtype=DATATYPES[spec["datatype"]][1])
        try:
            outputs: Any = self._session.run(None, feeds)
        except Exception:
            return True
        return all(output.ndim > 0 and output.shape[0] == 2 for output in outputs)

    def signature(self) -> Signature:
        return self._signature

    def cost(self) -> Cost:
        """Rows; or the length (with several free axes: the elements) of the first input that varies.

        Items of different inner shapes cannot be one tensor and run one after the other: declared as
        padded, which has the node prefer equal lengths. Records that are never put together add up.
        """
        for spec in self._signature["inputs"]:
            free = list(spec["shape"]).count(-1)
            if free:
                alone = not self._signature["batched"] or self._signature.get("max_batch") == 1
                return {
                    "cost": "length" if free == 1 and spec["datatype"] != "BYTES" else "elements",
                    "of": spec["name"],
                    "shape": "ragged" if alone else "padded",
                }
        return {"cost": "rows", "shape": "rows"}

    def example(self) -> Optional[Dict[str, Any]]:
        return None

    def validate(self, item: Item) -> None:
        """The node has checked names, types and shapes; the graph has no other rule."""

    def predict(self, items: Sequence[Item]) -> Sequence[Union[Outputs, ItemError]]:
        try:
            return self._predict(items)
        finally:
            self._session.pack()

    def _predict(self, items: Sequence[Item]) -> Sequence[Union[Outputs, ItemError]]:
        if len(items) == 1 or not self._signature["batched"] or self._signature.get("max_batch") == 1:
            return [self._run_one(item) for item in items]
        groups: Dict[Tuple[Any, ...], List[int]] = {}
        for index, item in enumerate(items):
            key = tuple([(name, tensor.shape[1:]) for name, tensor in item.inputs.items()])
            groups.setdefault(key, []).append(index)
        if len(groups) == 1:
            return self._run_together(items)
        results: List[Any] = [None] * len(items)
        for indexes in groups.values():
            for index, outputs in zip(indexes, self._run_together([items[index] for index in indexes])):
                results[index] = outputs
        return results

    def _run_together(self, items: Sequence[Item]) -> List[Outputs]:
        """Items of one inner shape, one run; raises when the graph does not keep the rows apart."""
        if len(items) == 1:
            return [self._run_one(items[0])]
        first = next(iter(items[0].inputs))
        rows = [item.inputs[first].shape[0] for item in items]
        total = sum(rows)
        feeds = {}
        for name, tensor in items[0].inputs.items():
            # Rows lie one after the other in raw bytes too: joining those is one copy and one array.
            together = b"".join([item.inputs[name].data for item in items])
            feeds[name] = _array(Tensor(tensor.datatype, (total, *tensor.shape[1:]), together))
        results: List[Outputs] = [{} for _ in items]
        outputs: Any = self._session.run(self._names, feeds)
        for name, output in zip(self._names, outputs):
            if output.ndim == 0 or output.shape[0] != total:
                raise ItemError("output %r does not have one row per record" % name)
            split_rows(name, output, rows, results)
        return results

    def _run_one(self, item: Item) -> Any:
        feeds = {name: _array(tensor) for name, tensor in item.inputs.items()}
        return {
            name: from_numpy(output)
            for name, output in zip(self._names, self._session.run(self._names, feeds))
        }

    def resources(self) -> Resources:
        return {"memory_bytes": self._size * 2, "device": "cpu"}

    def container(self) -> Container:
        return {"image": "onnx", "system_packages": []}


def _array(tensor: Tensor) -> Any:
    """As ONNX Runtime wants it: text as str."""
    array = tensor.numpy()
    if tensor.datatype == "BYTES":
        import numpy

        return numpy.array(
            [text.decode("utf-8", "replace") for text in array.ravel()], dtype=object
        ).reshape(array.shape)
    return array
