"""CatBoost models, saved in its binary form or as JSON."""

from importlib import import_module
from pathlib import Path
from typing import Any, List, Mapping, Sequence

from ..adapter import Item, LoadError
from .boosted import Boosted


class Adapter(Boosted):
    """One model. Columns of categories take texts as they are: CatBoost counts one that training has not met as such."""

    def open(self, path: Path, options: Mapping[str, Any]) -> None:
        """``options``, beside those of all: ``form`` (cbm or json), ``threshold``, ``texts`` (which columns are categories)."""
        catboost: Any = import_module("catboost")  # not this file

        self._catboost = catboost
        kind = catboost.CatBoostRegressor if options["task"] == "numbers" else catboost.CatBoostClassifier
        self._model = kind()
        try:
            self._model.load_model(str(path), format=options["form"])
        except catboost.CatBoostError as error:
            raise LoadError("CatBoost cannot load %s: %s" % (path.name, str(error)[:500])) from error
        self._threads = int(options["threads"])
        self._texts: List[int] = options["texts"]
        self.threshold = float(options["threshold"])

    def compute(self, matrix: Any) -> Any:
        data = matrix
        if self._texts:
            data = self._catboost.Pool(matrix, cat_features=self._texts)
        if self._task == "numbers":
            return self._model.predict(data, thread_count=self._threads)
        probabilities = self._model.predict(data, prediction_type="Probability", thread_count=self._threads)
        return probabilities[:, 1] if self._task == "binary" else probabilities

    def _matrix(self, items: Sequence[Item]) -> Any:
        if not self._texts:
            return super()._matrix(items)
        numpy = self._numpy
        columns = []
        for index, name in enumerate(self._columns):
            parts = [item.inputs[name] for item in items]
            if index in self._texts:
                values = [text.decode("utf-8", "replace") for part in parts for text in part.values()]
            else:
                values = [value for part in parts for value in part.values()]
            columns.append(values)
        matrix = numpy.empty((len(columns[0]), len(columns)), dtype=object)
        for index, values in enumerate(columns):
            matrix[:, index] = values
        return matrix
