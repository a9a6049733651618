"""LightGBM: its estimators and boosters, as text."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.core.errors import RejectedContent
from modelyard.objects.example import Example
from modelyard.objects.library import Given, Saved, is_of
from modelyard.objects.trees import matrix, of_booster, of_estimator

NAME = "LightGBM (estimators, Booster)"


def takes(model: object) -> bool:
    return is_of(model, "lightgbm", "LGBMModel", "Booster")


def save(model: Any, folder: Path, given: Given) -> Saved:
    booster = model
    if not is_of(model, "lightgbm", "Booster"):
        if not model.__sklearn_is_fitted__():
            raise RejectedContent(
                f"This {type(model).__name__} is not fitted; call fit before it is pushed.", field="model"
            )
        classes = getattr(model, "classes_", None)
        if classes is not None and list(classes) != list(range(len(classes))):
            raise RejectedContent(
                f"LightGBM's text does not keep the names of classes ({', '.join(map(str, classes[:8]))}), and would "
                "answer with numbers from 0. Fit it on the numbers 0, 1, 2 …, or convert it to ONNX.",
                field="model",
            )
        booster = model.booster_
    booster.save_model(folder / "model.txt")
    example = given.example
    return Saved() if example is None else Saved(lambda: _answers(model, example))


def _answers(model: Any, example: Example) -> Mapping[str, Any]:
    if not is_of(model, "lightgbm", "Booster"):
        return of_estimator(model, example)
    return of_booster(model.predict(matrix(example)))
