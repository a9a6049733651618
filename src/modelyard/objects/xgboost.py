"""XGBoost: its estimators and boosters, as UBJSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.core.errors import RejectedContent
from modelyard.objects.example import Example
from modelyard.objects.library import Given, Saved, is_of
from modelyard.objects.trees import matrix, of_booster, of_estimator

NAME = "XGBoost (estimators, Booster)"


def takes(model: object) -> bool:
    return is_of(model, "xgboost", "XGBModel", "Booster")


def save(model: Any, folder: Path, given: Given) -> Saved:
    if not is_of(model, "xgboost", "Booster"):
        from sklearn.exceptions import NotFittedError

        try:
            model.get_booster()
        except NotFittedError as error:
            raise RejectedContent(
                f"This {type(model).__name__} is not fitted; call fit before it is pushed.", field="model"
            ) from error
    model.save_model(folder / "model.ubj")
    example = given.example
    if example is None:
        return Saved()
    return Saved(lambda: _answers(model, example))


def _answers(model: Any, example: Example) -> Mapping[str, Any]:
    if is_of(model, "xgboost", "Booster"):
        import xgboost

        rows = matrix(example, getattr(model, "feature_names", None))
        computed = model.predict(xgboost.DMatrix(rows, feature_names=model.feature_names))
        objective = json.loads(model.save_config())["learner"]["objective"]["name"]
        return {"label": computed.astype("int64")} if objective == "multi:softmax" else of_booster(computed)
    return of_estimator(model, example)
