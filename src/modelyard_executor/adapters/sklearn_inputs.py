"""What a fitted scikit-learn estimator takes, read from what fitting left in it."""

from typing import Any, Dict, Iterator, List, Tuple

from ..adapter import LoadError


def derive_inputs(estimator: Any) -> List[Dict[str, Any]]:
    """The inputs: one per column that has a name, ``features`` for a matrix, ``text`` for texts.

    Raises LoadError when the estimator does not tell.
    """
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None:
        texts = known_categories(estimator)
        documents = _document_columns(estimator)
        return [
            _spec(str(name), "BYTES", (), "text")
            if str(name) in documents
            else _spec(str(name), "BYTES", (), "label")
            if str(name) in texts
            else _spec(str(name), "FP64", (), "table")
            for name in names
        ]
    if _reads_text(first_step(estimator)):
        return [_spec("text", "BYTES", (), "text")]
    count = getattr(estimator, "n_features_in_", None)
    if count is not None:
        return [_spec("features", "FP64", (int(count),), "table")]
    raise LoadError(
        "a %s does not tell what it was fitted on; write its signature into model.yaml"
        % type(estimator).__name__
    )


def known_categories(estimator: Any) -> Dict[str, Tuple[List[Any], bool]]:
    """Columns of text that a fitted encoder knows: their values, and whether others are an error."""
    known: Dict[str, Tuple[List[Any], bool]] = {}
    for fitted, columns in _column_steps(estimator):
        for step in _steps(fitted):
            categories = getattr(step, "categories_", None)
            if categories is None or len(categories) != len(columns):
                continue
            for column, values in zip(columns, categories):
                texts = [value for value in values.tolist() if isinstance(value, str)]
                if texts:
                    known.setdefault(column, (texts, getattr(step, "handle_unknown", "error") == "error"))
    return known


def first_step(estimator: Any) -> Any:
    """The first thing that sees the data: into pipelines and searches."""
    best = getattr(estimator, "best_estimator_", None)
    if best is not None:
        return first_step(best)
    steps = list(_steps(estimator))
    return first_step(steps[0]) if steps and steps[0] is not estimator else estimator


def _steps(estimator: Any) -> Iterator[Any]:
    """A pipeline's steps; else the estimator itself."""
    if hasattr(estimator, "steps"):
        for _, step in estimator.steps:
            if step is not None and step != "passthrough":
                yield step
    else:
        yield estimator


def _column_steps(estimator: Any) -> Iterator[Tuple[Any, List[str]]]:
    """(fitted step, names of its columns) where a ColumnTransformer, or an encoder, comes first."""
    first = first_step(estimator)
    names = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
    if not hasattr(first, "transformers_"):
        yield first, names
        return
    for _, fitted, columns in first.transformers_:
        if isinstance(fitted, str):
            continue
        yield fitted, _column_names(columns, names)


def _column_names(columns: Any, names: List[str]) -> List[str]:
    if isinstance(columns, (str, int)):
        columns = [columns]
    elif isinstance(columns, slice):
        columns = names[columns]
    elif callable(columns):
        return []
    chosen = list(columns)
    if chosen and all(
        isinstance(column, bool) or type(column).__name__ in ("bool_", "bool") for column in chosen
    ):
        return [name for name, wanted in zip(names, chosen) if wanted]
    return [column if isinstance(column, str) else names[int(column)] for column in chosen if names]


def _document_columns(estimator: Any) -> "set[str]":
    """Columns of free text, which a vectorizer reads."""
    return {
        column
        for fitted, columns in _column_steps(estimator)
        if _reads_text(first_step(fitted))
        for column in columns
    }


def _reads_text(estimator: Any) -> bool:
    """Whether the estimator takes a list of texts (scikit-learn's tags say so, in either of their forms)."""
    if hasattr(estimator, "__sklearn_tags__"):
        try:
            tags = estimator.__sklearn_tags__().input_tags
        except AttributeError:
            return False
        return bool(getattr(tags, "string", False)) and not getattr(tags, "two_d_array", True)
    if hasattr(estimator, "_get_tags"):
        return "string" in estimator._get_tags().get("X_types", ())
    return False


def _spec(name: str, datatype: str, shape: Tuple[int, ...], kind: str) -> Dict[str, Any]:
    return {
        "name": name,
        "datatype": datatype,
        "shape": list(shape),
        "kind": kind,
        "optional": False,
        "description": "",
    }
