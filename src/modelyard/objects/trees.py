"""What estimators answer, by the names that our adapters give to it."""

from collections.abc import Mapping
from typing import Any

from modelyard.objects.example import Example


def matrix(example: Example, names: Any = None) -> Any:
    """The example as an estimator takes it: a data frame as it is, records as one where pandas is there, else a matrix."""
    import numpy

    if hasattr(example.native, "dtype") or hasattr(example.native, "columns"):
        return example.native
    if example.named is not None:
        columns = [str(name) for name in names] if names is not None and len(names) else list(example.named)
        if names is not None and len(names):
            import pandas

            return pandas.DataFrame({name: example.named[name] for name in columns})
        return numpy.array([[example.named[name][row] for name in columns] for row in range(example.rows)])
    rows = example.placed[0]
    return list(rows) if isinstance(rows[0], str) else numpy.array(rows)


def of_estimator(model: Any, example: Example) -> Mapping[str, Any]:
    """``label`` and ``probabilities`` of what classifies, ``prediction`` of what does not."""
    rows = matrix(example, getattr(model, "feature_names_in_", None))
    computed = model.predict(rows)
    if not hasattr(model, "classes_"):
        return {"prediction": computed}
    answers = {"label": computed}
    if hasattr(model, "predict_proba"):
        answers["probabilities"] = model.predict_proba(rows)
    return answers


def of_booster(computed: Any) -> dict[str, Any]:
    """What a booster says of rows, by all names that our adapters may give it: a number, or probabilities."""
    import numpy

    if computed.ndim > 1:
        return {"prediction": computed, "probabilities": computed}
    return {"prediction": computed, "probabilities": numpy.stack([1 - computed, computed], axis=1)}
