"""What boosted trees of any library share: rows of all calls as one matrix, answers as labels or numbers."""

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from ..adapter import Container, Cost, InvalidInput, Item, ItemError, Outputs, Resources, Signature
from ..tensor import split_rows

_FLOAT32_MAX = 3.4028234663852886e38


class Boosted:
    """A subclass opens its library's model and computes a matrix; NaN in it is a value that is missing.

    ``options``: ``file``, ``task`` (see ``answer``), ``columns`` (their names, or none), ``categories`` (the texts
    of a column, in the order of their codes), ``labels`` (what the classes are called, or none), ``signature``,
    ``threads``.
    """

    threshold = 0.5  # of a probability, over which a label holds

    infinity = True  # whether the library takes it

    def load(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        import numpy

        self._numpy = numpy
        self._signature: Signature = dict(options["signature"])
        self._inputs = {spec["name"]: spec for spec in self._signature["inputs"]}
        self._columns: List[str] = list(options["columns"])
        self._codes = {
            name: {text: code for code, text in enumerate(texts)}
            for name, texts in options["categories"].items()
        }
        self._task = options["task"]
        labels = options.get("labels")
        text = bool(labels) and isinstance(labels[0], str)
        self._labels = numpy.array(labels, dtype=object if text else "int64") if labels else None
        self._dtype = "float32" if self._signature["outputs"][-1]["datatype"] == "FP32" else "float64"
        path = files / str(options["file"])
        self._size = path.stat().st_size
        self.open(path, options)

    def open(self, path: Path, options: Mapping[str, Any]) -> None:
        """Load the model. Raises LoadError."""
        raise NotImplementedError

    def compute(self, matrix: Any) -> Any:
        """What the trees say of each row: an array [rows] or [rows, n]; of tasks other than *numbers*, probabilities."""
        raise NotImplementedError

    def signature(self) -> Signature:
        return self._signature

    def cost(self) -> Cost:
        return {"cost": "rows", "shape": "rows"}

    def example(self) -> Optional[Dict[str, Any]]:
        return None

    def validate(self, item: Item) -> None:
        """Infinity makes a library refuse the whole batch: find it here. A gap (NaN) is a value that is missing."""
        if self.infinity:
            return
        numpy = self._numpy
        for name, tensor in item.inputs.items():
            if tensor.datatype.startswith("FP") and (numpy.abs(tensor.numpy()) > _FLOAT32_MAX).any():
                raise InvalidInput(
                    "inputs." + name,
                    "The input %r holds infinity or a number beyond ±3.4e38; leave a gap (null, NaN) for a value "
                    "that is missing." % name,
                )

    def predict(self, items: Sequence[Item]) -> Sequence[Union[Outputs, ItemError]]:
        matrix = self._matrix(items)
        answers = self.answer(self.compute(matrix))
        rows = [_rows(item) for item in items]
        results: List[Dict[str, Any]] = [{} for _ in items]
        for name, array in answers.items():
            if array.shape[0] != matrix.shape[0]:
                raise ItemError("The model answered %d rows for %d." % (array.shape[0], matrix.shape[0]))
            split_rows(name, array, rows, results)
        return results

    def answer(self, computed: Any) -> Dict[str, Any]:
        """Outputs by name. Tasks: *binary*, one probability; *labels*, one for each of several; *classes*, of one of
        several; *numbers*, as it is."""
        numpy = self._numpy
        computed = numpy.asarray(computed, dtype=self._dtype)
        if self._task == "numbers":
            wanted = self._signature["outputs"][0]["shape"]
            return {"prediction": computed.reshape(len(computed), *([-1] if wanted else []))}
        if self._task == "binary":
            computed = computed.reshape(-1)
            probabilities = numpy.stack([1 - computed, computed], axis=1)
            return {"label": self._named(computed > self.threshold), "probabilities": probabilities}
        if self._task == "labels":
            return {"label": (computed > self.threshold).astype("int64"), "probabilities": computed}
        return {"label": self._named(computed.argmax(axis=1)), "probabilities": computed}

    def _named(self, codes: Any) -> Any:
        codes = codes.astype("int64")
        return codes if self._labels is None else self._labels[codes]

    def _matrix(self, items: Sequence[Item]) -> Any:
        """[rows of all items, columns of the model]."""
        numpy = self._numpy
        if not self._columns:
            (name,) = self._inputs
            arrays = [item.inputs[name].numpy() for item in items]
            return arrays[0] if len(arrays) == 1 else numpy.concatenate(arrays)
        columns = []
        for name in self._columns:
            for item in items:
                tensor = item.inputs.get(name)
                codes = self._codes.get(name)
                if tensor is None:  # a category that is missing
                    columns.append([float("nan")] * _rows(item))
                elif codes is None:
                    columns.append(tensor.numpy())
                else:
                    texts = [text.decode("utf-8", "replace") for text in tensor.values()]
                    columns.append([codes.get(text, float("nan")) for text in texts])
        count = len(items)
        rows = [
            columns[index] if count == 1 else numpy.concatenate(columns[index : index + count])
            for index in range(0, len(columns), count)
        ]
        return numpy.stack([numpy.asarray(row, dtype=self._dtype) for row in rows], axis=1)

    def resources(self) -> Resources:
        return {"memory_bytes": self._size * 4, "device": "cpu"}

    def container(self) -> Container:
        return {"image": "python", "system_packages": ["libgomp1"]}


def _rows(item: Item) -> int:
    """How many records a call has; where it gives nothing, one of which all is missing."""
    return next((tensor.shape[0] for tensor in item.inputs.values()), 1)
