"""Fitted scikit-learn estimators, saved by skops, joblib or pickle."""

import threading
import warnings
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Union

from ..adapter import (
    Container,
    Cost,
    InvalidInput,
    Item,
    ItemError,
    LoadError,
    Outputs,
    Resources,
    Signature,
)
from ..loop import log
from ..tensor import DATATYPES, Tensor, from_numpy
from .sklearn_file import limit_jobs, read
from .sklearn_inputs import derive_inputs, known_categories
from .sklearn_outputs import labels, sendable

_FLOAT32_MAX = 3.4028234663852886e38
# Above this many columns, trying each with NaN would cost more than it tells.
_COLUMNS_TO_TRY = 64


class Extremes(NamedTuple):
    """The inputs that take NaN, those that take infinity, and the largest number that all others take."""

    nan: "set[str]"
    infinity: "set[str]"
    limit: float


class Adapter:
    """One estimator; the rows of all items are computed in one call and split again."""

    def load(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        """``options``: ``file``, ``loader`` (skops, joblib, pickle), ``signature`` (or None: derived
        from the estimator), ``threads``, ``trusted`` (whether code in the file may run)."""
        import numpy
        import threadpoolctl

        self._numpy = numpy
        path = files / str(options["file"])
        self._size = path.stat().st_size
        self._limits = threadpoolctl.threadpool_limits(int(options["threads"]))
        self._estimator = read(path, str(options["loader"]), bool(options["trusted"]))
        if not hasattr(self._estimator, "predict") and not hasattr(self._estimator, "transform"):
            raise LoadError(
                "%s holds a %s, which has neither predict nor transform; save a fitted estimator"
                % (path.name, type(self._estimator).__name__)
            )
        limit_jobs(self._estimator, int(options["threads"]))
        # Columns are put into the order of feature_names_in_ here, with or without their names.
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        warnings.filterwarnings("ignore", message="X has feature names, but")
        self._names = [str(name) for name in getattr(self._estimator, "feature_names_in_", ())]
        self._categories = known_categories(self._estimator)
        given = options["signature"]
        inputs = list(given["inputs"]) if given else derive_inputs(self._estimator)
        self._inputs = {spec["name"]: spec for spec in inputs}
        self._columns = self._order()
        self._pandas = _pandas() if self._names or self._has_text_columns() else None
        self._output_types: Dict[str, str] = {}
        if given and {spec["name"] for spec in given["outputs"]} == self._surely():
            outputs = []  # the first prediction will tell whether it answers
        else:
            outputs = self._describe_outputs(derived=not given)
        if given:
            self._check_outputs(given, outputs)
            self._signature = dict(given, outputs=list(given["outputs"]) or outputs)
        else:
            self._signature = {
                "inputs": inputs,
                "outputs": outputs,
                "parameters": [],
                "batched": True,
                "max_batch": None,
            }
        self._declared = {spec["name"]: spec["datatype"] for spec in self._signature["outputs"]}
        self._extremes: Optional[Extremes] = None
        self._turn = (
            threading.Lock()
        )  # one prediction at a time: the next batch is looked at while one computes
        self._try_gaps()

    def _order(self) -> List[str]:
        """The inputs in the order of the estimator's columns."""
        names = list(self._inputs)
        if len(names) > 1 and self._names and set(names) != set(self._names):
            raise LoadError(
                "the signature has the inputs %s; the estimator was fitted on the columns %s"
                % (", ".join(names), ", ".join(self._names))
            )
        return self._names if len(names) > 1 and self._names else names

    def _has_text_columns(self) -> bool:
        return len(self._inputs) > 1 and any(spec["datatype"] == "BYTES" for spec in self._inputs.values())

    def _describe_outputs(self, *, derived: bool) -> List[Dict[str, Any]]:
        """The outputs, learnt by computing the example."""
        try:
            rows = self._compute([_item_of(self._example_arrays())])
        except Exception as error:
            if not derived:
                log("the model cannot answer a record of zeros: %s" % error)
                return []
            raise LoadError(
                "the outputs cannot be learnt, because the model cannot answer a record of zeros (%s); "
                "write its signature into model.yaml" % error
            ) from error
        specs = []
        for name, array in rows.items():
            kind = "label" if name == "label" else "tensor"
            specs.append(
                {"name": name, "datatype": from_numpy(array).datatype, "shape": list(array.shape[1:]), "kind": kind,
                 "optional": False, "description": self._describe(name)}
            )  # fmt: skip
        return specs

    def _surely(self) -> "set[str]":
        """The names of its outputs, where they can be told without a prediction; else none."""
        if not hasattr(self._estimator, "predict"):
            return {"output"}
        if not labels(self._estimator):
            return {"prediction"}
        return set() if hasattr(self._estimator, "predict_proba") else {"label"}

    def _describe(self, name: str) -> str:
        classes = getattr(self._estimator, "classes_", None)
        if name != "probabilities" or classes is None:
            return ""
        text = ", ".join(str(label) for label in classes)
        return "in the order of the classes: " + (text if len(text) <= 500 else text[:500] + " …")

    def _check_outputs(self, given: Signature, outputs: Sequence[Dict[str, Any]]) -> None:
        known = {spec["name"] for spec in outputs}
        for spec in given["outputs"]:
            if known and spec["name"] not in known:
                raise LoadError(
                    "the signature has an output %r; the estimator gives %s"
                    % (spec["name"], ", ".join(sorted(known)))
                )

    def _tried(self) -> "Extremes":
        """What it takes that is no usual number, found out when the first call has one.

        Tried rather than read from the estimator's tags, which a pipeline with an imputer for some of
        its columns does not tell. Each try is a prediction: a model that is woken for a few calls is spared them.
        """
        with self._turn:
            if self._extremes is None:
                self._extremes = self._try_extremes()
            return self._extremes

    def _try_extremes(self) -> "Extremes":
        floats = [name for name, spec in self._inputs.items() if spec["datatype"].startswith("FP")]
        nan: "set[str]" = set()
        infinity: "set[str]" = set()
        if not floats:
            return Extremes(nan, infinity, float("inf"))
        if self._takes(floats, float("nan")):
            nan = set(floats)
        elif 1 < len(floats) <= _COLUMNS_TO_TRY:
            nan = {name for name in floats if self._takes([name], float("nan"))}
        if self._takes(floats, float("inf")):
            infinity = set(floats)
        takes_large = infinity or self._takes(floats, 1e39)
        return Extremes(nan, infinity, float("inf") if takes_large else _FLOAT32_MAX)

    def _try_gaps(self) -> None:
        """Columns of text of which a value may be missing, as NaN in a data frame: a call may leave them out."""
        texts = [
            name for name, spec in self._inputs.items() if spec["datatype"] == "BYTES" and not spec["shape"]
        ]
        if self._pandas is None or len(self._inputs) < 2 or len(texts) > _COLUMNS_TO_TRY:
            return
        gaps = {name for name in texts if self._takes_gap(name)}
        self._signature["inputs"] = [
            dict(spec, optional=True) if spec["name"] in gaps else spec
            for spec in self._signature["inputs"]
        ]

    def _takes_gap(self, name: str) -> bool:
        arrays = self._example_arrays()
        del arrays[name]
        return self._answers(arrays)

    def _takes(self, names: Sequence[str], value: float) -> bool:
        arrays = self._example_arrays()
        for name in names:
            if arrays[name].dtype.itemsize < 8 and abs(value) == 1e39:
                return True
            arrays[name] = self._numpy.full_like(arrays[name], value)
        return self._answers(arrays)

    def _answers(self, arrays: Dict[str, Any]) -> bool:
        try:
            with warnings.catch_warnings(), self._numpy.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                self._compute([_item_of(arrays)])
        except Exception:
            # Estimators of other packages raise what they like.
            return False
        return True

    def _example_arrays(self) -> Dict[str, Any]:
        """One row that the model can answer: zeros, and of each category the first."""
        arrays = {}
        for name, spec in self._inputs.items():
            shape = [1] + [1 if length < 0 else length for length in spec["shape"]]
            if spec["datatype"] == "BYTES":
                first = self._categories.get(name, (("a text",), False))[0][0]
                arrays[name] = self._numpy.full(shape, str(first).encode(), dtype=object)
            else:
                arrays[name] = self._numpy.zeros(shape, dtype=DATATYPES[spec["datatype"]][1])
        return arrays

    def signature(self) -> Signature:
        return self._signature

    def cost(self) -> Cost:
        return {"cost": "rows", "shape": "rows"}

    def example(self) -> Optional[Dict[str, Any]]:
        record = {}
        for name, array in self._example_arrays().items():
            value = array[0].tolist() if hasattr(array[0], "tolist") else array[0]
            record[name] = value.decode() if isinstance(value, bytes) else value
        return record

    def validate(self, item: Item) -> None:
        """NaN, infinity and unknown categories make scikit-learn refuse a whole batch: find them here."""
        numpy = self._numpy
        for name, tensor in item.inputs.items():
            field = "inputs." + name
            if tensor.datatype == "BYTES":
                self._validate_text(name, tensor)
            elif tensor.datatype.startswith("FP"):
                array = tensor.numpy()
                if not numpy.isfinite(array).all():
                    if name not in self._tried().nan and numpy.isnan(array).any():
                        raise InvalidInput(
                            field, "The input %r holds NaN, which this model cannot take." % name
                        )
                    if name not in self._tried().infinity and numpy.isinf(array).any():
                        raise InvalidInput(
                            field, "The input %r holds infinity, which this model cannot take." % name
                        )
                elif (
                    tensor.datatype == "FP64"
                    and array.size
                    and numpy.abs(array).max() > _FLOAT32_MAX
                    and self._tried().limit < float("inf")
                ):
                    raise InvalidInput(
                        field, "The input %r holds a number beyond ±3.4e38, the model's range." % name
                    )

    def _validate_text(self, name: str, tensor: Tensor) -> None:
        try:
            texts = [text.decode("utf-8") for text in tensor.values()]
        except UnicodeDecodeError:
            raise InvalidInput("inputs." + name, "The input %r is not UTF-8 text." % name) from None
        categories, only_these = self._categories.get(name, ((), False))
        if only_these:
            for text in texts:
                if text not in categories:
                    raise InvalidInput(
                        "inputs." + name,
                        "%.60r is not a value that the model knows for %r; it knows %s."
                        % (text, name, ", ".join(str(each) for each in categories[:20])),
                    )

    def predict(self, items: Sequence[Item]) -> Sequence[Union[Outputs, ItemError]]:
        counts = [_rows(item) for item in items]
        with self._turn:
            computed = self._compute(items)
        arrays = {
            name: array for name, array in computed.items() if not self._declared or name in self._declared
        }
        total = sum(counts)
        for name, array in arrays.items():
            if array.shape[0] != total:
                raise ItemError(
                    "The model answered %d rows of %r for %d records." % (array.shape[0], name, total)
                )
        results: List[Outputs] = []
        position = 0
        for count in counts:
            results.append(
                {name: from_numpy(array[position : position + count]) for name, array in arrays.items()}
            )
            position += count
        return results

    def _compute(self, items: Sequence[Item]) -> Dict[str, Any]:
        """Outputs by name, the rows of all items one after the other."""
        rows = self._matrix(items)
        estimator = self._estimator
        numpy = self._numpy
        if not hasattr(estimator, "predict"):
            output = estimator.transform(rows)
            output = output.toarray() if hasattr(output, "toarray") else numpy.asarray(output)
            return {"output": sendable(output, numpy)}
        answer = sendable(numpy.asarray(estimator.predict(rows)), numpy)
        if not labels(estimator):
            return {"prediction": answer}
        outputs = {"label": answer}
        if hasattr(estimator, "predict_proba"):
            probabilities = estimator.predict_proba(rows)
            # Several targets give a list, one array each, of which the shapes may differ.
            if not isinstance(probabilities, list):
                outputs["probabilities"] = numpy.asarray(probabilities).astype("float64", copy=False)
        return outputs

    def _matrix(self, items: Sequence[Item]) -> Any:
        """The rows of all items as the estimator was fitted: a matrix, a list of texts, a table."""
        numpy = self._numpy
        columns = {
            name: numpy.concatenate([_column(item, name, numpy) for item in items])
            if len(items) > 1
            else _column(items[0], name, numpy)
            for name in self._columns
        }
        if len(columns) == 1 and (len(self._names) != 1 or self._inputs[self._columns[0]]["shape"]):
            (column,) = columns.values()
            if self._pandas is not None and column.ndim == 2 and column.shape[1] == len(self._names):
                return self._pandas.DataFrame(column, columns=self._names)
            return column if column.ndim > 1 or column.dtype == object else column.reshape(-1, 1)
        if self._pandas is not None:
            return self._pandas.DataFrame(columns)
        return numpy.stack(list(columns.values()), axis=1)

    def resources(self) -> Resources:
        return {"memory_bytes": self._size * 3, "device": "cpu"}

    def container(self) -> Container:
        return {"image": "python", "system_packages": ["libgomp1"]}


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        return None
    return pandas


def _item_of(arrays: Mapping[str, Any]) -> Item:
    return Item({name: from_numpy(array) for name, array in arrays.items()})


def _rows(item: Item) -> int:
    """How many records a call has; where it gives nothing, one of which all is missing."""
    return next((tensor.shape[0] for tensor in item.inputs.values()), 1)


def _column(item: Item, name: str, numpy: Any) -> Any:
    tensor = item.inputs.get(name)
    if tensor is None:
        return numpy.full(_rows(item), numpy.nan, dtype=object)
    return _array(tensor, numpy)


def _array(tensor: Tensor, numpy: Any) -> Any:
    """As scikit-learn wants it: text as str."""
    array = tensor.numpy()
    if tensor.datatype != "BYTES":
        return array
    texts = numpy.empty(array.size, dtype=object)
    texts[:] = [text.decode("utf-8") for text in array.ravel().tolist()]
    return texts.reshape(array.shape)
