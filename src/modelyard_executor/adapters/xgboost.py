"""XGBoost models, saved as JSON or UBJSON."""

from pathlib import Path
from typing import Any, List, Mapping, Optional

from ..adapter import LoadError
from .boosted import Boosted


class Adapter(Boosted):
    """One Booster. Where training stopped early, the rounds up to the best one count, as in XGBoost's estimators."""

    infinity = False

    def open(self, path: Path, options: Mapping[str, Any]) -> None:
        """``options``, beside those of all: ``objective``, ``booster``, ``best_iteration`` (or None), ``coded`` (which
        columns are codes of categories)."""
        import xgboost

        self._xgboost = xgboost
        xgboost.set_config(verbosity=1)
        self._booster = xgboost.Booster()
        try:
            self._booster.load_model(str(path))
        except xgboost.core.XGBoostError as error:
            raise LoadError("XGBoost cannot load %s: %s" % (path.name, str(error)[:500])) from error
        self._booster.set_param({"nthread": int(options["threads"]), "device": "cpu"})
        best = options["best_iteration"]
        self._rounds = (0, 0) if best is None else (0, best + 1)
        # This objective answers with labels alone; the probabilities behind them are made of its margins.
        self._margins = options["objective"] == "multi:softmax"
        self._types: Optional[List[str]] = None
        if options["coded"]:
            self._types = ["c" if index in options["coded"] else "q" for index in range(len(self._columns))]
        self._direct = self._types is None and options["booster"] != "gblinear"

    def compute(self, matrix: Any) -> Any:
        if self._direct:  # no copy of the matrix
            computed = self._booster.inplace_predict(
                matrix,
                iteration_range=self._rounds,
                predict_type="margin" if self._margins else "value",
                validate_features=False,
            )
        else:
            data = self._xgboost.DMatrix(
                matrix, feature_types=self._types, enable_categorical=self._types is not None
            )
            computed = self._booster.predict(
                data, output_margin=self._margins, iteration_range=self._rounds, validate_features=False
            )
        if self._margins:
            computed = self._numpy.exp(computed - computed.max(axis=1, keepdims=True))
            computed /= computed.sum(axis=1, keepdims=True)
        return computed
