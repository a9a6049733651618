"""The libraries whose objects can be pushed. Adding one is adding a file, and its line here."""

from modelyard.core.errors import InvalidInput
from modelyard.objects import (
    catboost,
    function,
    keras,
    lightgbm,
    onnx,
    pytorch,
    sklearn,
    transformers,
    xgboost,
)
from modelyard.objects.library import Library, refuse_main

# A more special library first: what xgboost calls an estimator is one of scikit-learn's too, a model of transformers a
# module of torch.
LIBRARIES: tuple[Library, ...] = (
    xgboost,
    lightgbm,
    catboost,
    transformers,
    keras,
    pytorch,
    onnx,
    sklearn,
    function,
)


def library_of(model: object) -> Library:
    """Whose object ``model`` is. Raises InvalidInput that lists what there is."""
    for library in LIBRARIES:
        if library.takes(model):
            return library
    if isinstance(model, type):
        raise InvalidInput(f"{model.__name__} is a class; push an object of it, fitted.", field="model")
    refuse_main(model)
    kind = type(model)
    raise InvalidInput(
        f"A {kind.__module__}.{kind.__qualname__} cannot be pushed. These can: "
        f"{', '.join(library.NAME for library in LIBRARIES)}; and a file or folder, by its path.",
        field="model",
    )
