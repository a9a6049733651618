"""Keras: exported as a SavedModel, which is what is served of it."""

from pathlib import Path
from typing import Any

from modelyard.core.errors import RejectedContent
from modelyard.objects.example import Example, array
from modelyard.objects.library import Given, Saved, is_of

NAME = "Keras"


def takes(model: object) -> bool:
    return is_of(model, "keras", "Model")


def save(model: Any, folder: Path, given: Given) -> Saved:
    if not model.built:
        raise RejectedContent(
            "This Keras model has no shapes yet; call it on the example once, or build it.", field="model"
        )
    try:
        model.export(str(folder), format="tf_saved_model", verbose=False)
    except (ValueError, TypeError, ImportError) as error:
        raise RejectedContent(
            f"Keras cannot export this model as a SavedModel: {str(error)[:400]}", field="model"
        ) from error
    for extra in ("fingerprint.pb",):  # of the day on which it was written
        (folder / extra).unlink(missing_ok=True)
    example = given.example
    notes = ("a SavedModel is not written as the same bytes twice; pushed again it is a new version",)
    return Saved(None if example is None else lambda: _answers(model, example), notes=notes)


def _answers(model: Any, example: Example) -> dict[str, Any]:
    import numpy

    if example.named is not None:
        given: Any = {
            name: numpy.array([array(each) for each in rows]) for name, rows in example.named.items()
        }
    else:
        columns = [numpy.array([array(each) for each in rows]) for rows in example.placed]
        given = columns[0] if len(columns) == 1 else columns
    computed = model.predict(given, verbose=0)
    return dict(computed) if isinstance(computed, dict) else {"output_0": computed}
