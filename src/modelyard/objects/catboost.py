"""CatBoost: its models, in its own format."""

from pathlib import Path
from typing import Any

from modelyard.core.errors import RejectedContent
from modelyard.objects.example import Example
from modelyard.objects.library import Given, Saved, is_of
from modelyard.objects.trees import matrix

NAME = "CatBoost"


def takes(model: object) -> bool:
    return is_of(model, "catboost", "CatBoost")


def save(model: Any, folder: Path, given: Given) -> Saved:
    if not model.is_fitted():
        raise RejectedContent(
            f"This {type(model).__name__} is not fitted; call fit before it is pushed.", field="model"
        )
    model.save_model(str(folder / "model.cbm"), format="cbm")
    example = given.example
    return Saved() if example is None else Saved(lambda: _answers(model, example))


def _answers(model: Any, example: Example) -> dict[str, Any]:
    rows = matrix(example)
    computed = model.predict(rows)
    if not hasattr(model, "predict_proba"):
        return {"prediction": computed}
    labels = computed.reshape(len(computed)) if computed.size == len(computed) else computed
    return {"label": labels, "probabilities": model.predict_proba(rows)}
